"""English sentences of the lower parts in Russian: every form, whatever stands in its places."""

import re
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import translation
from django.utils.html import escape
from hypothesis import given
from hypothesis import strategies as st

from chains.words.compiled import read
from chains.words.forms import Form
from chains.words.prose import prose

COMPILED = read(Path(settings.LOCALE_PATHS[0], "ru", "LC_MESSAGES", "prose.mo"))
FORMS = [text for entry in COMPILED.entries for text in (entry.text, entry.plural) if text]
SURE = [form for form in FORMS if Form.of(form).is_sure and Form.of(form).places]
HOSTILE = "<img src=x onerror=alert(1)> %s %(x)s {0} {1:name} \u202e«»\u2066 &amp; ' \" \\"


@pytest.fixture(autouse=True)
def in_russian():
    with translation.override("ru"):
        yield


def said(kind: str, draw) -> str:
    figures = {"number": "1,234", "count": "3", "size": "1.5 GiB", "time": "30d"}
    return figures.get(kind) or draw


# What no literal of a form can be taken for.
names = st.text(alphabet="ΩΨΔαβγ<>%&_/-0123456789\u202e", min_size=1, max_size=12).map(
    lambda text: f"Ω{text}Ω"
)


@given(st.sampled_from(SURE), st.lists(names, min_size=8, max_size=8))
def test_every_form_is_translated_and_its_places_stay(written, drawn):
    form = Form.of(written)
    filling = {place.number: said(place.kind, drawn[place.number]) for place in form.places}
    text = form.filled(filling, lambda place, what: what)
    with translation.override("ru"):
        found = prose(text)
    assert found != text
    for place in form.places:
        if place.kind in {"", "name"}:
            assert filling[place.number] in found


@given(st.text(max_size=300))
def test_what_nobody_wrote_stays(text):
    with translation.override("ru"):
        assert isinstance(prose(text), str)
    with translation.override("en"):
        assert prose(text) == text


@given(st.sampled_from(FORMS))
def test_in_english_nothing_changes(text):
    with translation.override("en"):
        assert prose(text) == text


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("1 layer", "1 слой"),
        ("3 layers", "3 слоя"),
        ("11 layers", "11 слоёв"),
        ("21 layers", "21 слой"),
        ("everything older than 3d", "всё, что старше 3 дн."),
        ("at most 5 layers", "не больше: 5 слоёв"),
        ("1.49 GiB on disk", "1,49 ГиБ на диске"),
        ("1,024 layers", "1\xa0024 слоя"),
        (
            "The file can not be opened: Permission denied. Check the storage and the worker's rights.",
            "Файл не открывается: нет доступа. Проверьте хранилище и права рабочего процесса.",
        ),
        (
            "qemu-img convert failed (exit code 1): the storage domain is full; free some space and try again",
            "qemu-img convert: ошибка (код возврата 1): домен хранения заполнен; освободите место и попробуйте снова",
        ),
        (
            "The chain is as it was. The chain is not safe to merge.",
            "Цепочка осталась прежней. Сливать эту цепочку небезопасно.",
        ),
        (
            "a b.img: The file does not exist: it was removed.",
            "a b.img: Файла нет: он удалён.",
        ),
        ("Cancelled. The chain is as it was.", "Отменено. Цепочка осталась прежней."),
        ("no such sentence was ever written", "no such sentence was ever written"),
    ],
)
def test_sentences(english, russian):
    assert prose(english) == russian


def test_a_hostile_name_comes_through_as_it_is_and_is_escaped_afterwards():
    text = f"The backing file “{HOSTILE}” is a device of the host, not a volume of this domain. No tool will be started on this chain."
    found = prose(text)
    assert found.startswith("Базовый файл «")
    assert HOSTILE in found
    assert "<img" not in escape(found)


def test_a_name_that_reads_like_a_word_of_ours_stays():
    text = "removed is gone; the old layers are kept."
    assert prose(text) == "removed исчез; старые слои сохранены."
    assert prose("none of 3 layers", sure=True) == "none of 3 layers"


@pytest.mark.parametrize(
    "text",
    [
        "The backing file “" + "” can not be looked up: " * 780,
        "A. " * 6_000,
        ": " * 9_000,
        "{0} gave no answer within 3 seconds. " * 500,
        ", ".join(["3 layers"] * 2_000),
        "\n".join(["The chain is as it was."] * 800),
        "(" * 19_000,
    ],
)
def test_no_text_takes_long(text):
    begun = time.perf_counter()
    prose(text)
    assert time.perf_counter() - begun < 1.0


def test_numbers_of_a_translation_are_those_of_the_text():
    places = re.compile(r"\{(\d+)(?::\w+)?\}")
    for entry in COMPILED.entries:
        for text in entry.translations:
            assert set(places.findall(text)) == set(places.findall(entry.text)), entry.text
