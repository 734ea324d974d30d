"""No text of the pages is left out of the Russian catalogues, and every translation fits its text."""

import re
from pathlib import Path

import polib
import pytest
from django.template.base import Lexer, TokenType

from project.translations import catalogues
from project.translations.messages import of_python, of_scripts, of_templates
from project.translations.prose import of_source, sentences

ROOT = Path(__file__).resolve().parent.parent.parent
WANTED = catalogues.wanted(ROOT)
DOMAINS = tuple(WANTED)


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_text_is_in_the_catalogue_and_translated(domain):
    """When this fails: `python -m project.translations`, translate what it names, run it again."""
    catalogue = catalogues.load(ROOT, "ru", domain)
    known = {(entry.msgctxt, entry.msgid) for entry in catalogue}
    wanted = {(message.context, message.text): message.where for message in WANTED[domain]}
    assert len(wanted) > 40
    assert [f"{wanted[key]}: {key[1]!r}" for key in wanted if key not in known] == []
    assert known - set(wanted) == set(), "no source says this any more"
    plurals = {(m.context, m.text): m.plural for m in WANTED[domain] if m.plural}
    assert {
        key: entry.msgid_plural
        for entry in catalogue
        if (key := (entry.msgctxt, entry.msgid)) in plurals
    } == plurals
    assert list(catalogues.wrong(catalogue, "ru")) == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_what_is_compiled_is_what_was_translated(domain):
    file = catalogues.path_of(ROOT, "ru", domain)
    assert file.with_suffix(".mo").read_bytes() == catalogues.compiled(polib.pofile(str(file)))


# What stands in the pages as it is in every language.
NAMES = {"Strata", "CSV", "JSON", "SVG", "PNG", "DOT", "KiB", "GiB", "ID", "Sat", "Mon-Fri"}
_TAG = re.compile(
    r"<(script|style|code|kbd|pre)\b.*?</\1>|<!--.*?-->|<[^>]*>|\s[\w-]+=\"[^\"]*\"", re.DOTALL
)
_READ_OUT = re.compile(
    r'\b(?:aria-label|aria-description|title|alt|placeholder|data-confirm[\w-]*)="([^"]*)"'
)


def unmarked(source: str) -> list[str]:
    """Words of a template that stand outside of every translation."""
    kept, inside = [], False
    for token in Lexer(source).tokenize():
        word = token.contents.split()[0] if token.token_type is TokenType.BLOCK else ""
        if word.startswith(("blocktrans", "endblocktrans", "comment", "endcomment")):
            inside = not word.startswith("end")
        elif token.token_type is TokenType.TEXT and not inside:
            kept.append(token.contents)
        elif token.token_type is not TokenType.COMMENT:
            kept.append("\x00")  # so that what a tag makes does not join the words around it
    text = "".join(kept)
    texts = [*_READ_OUT.findall(text), _TAG.sub(" ", text)]
    words = [
        word
        for part in texts
        for word in re.findall(r"[A-Za-z][A-Za-z’'-]+", re.sub(r"&\w+;", " ", part))
    ]
    return [word for word in words if word not in NAMES]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "templates").rglob("*.html")), ids=lambda path: path.name
)
def test_no_word_of_a_template_stands_outside_of_a_translation(path):
    assert unmarked(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>Hello {{ name }}</p>", ["Hello"]),
        ("{% load i18n %}<p>{% translate 'Hello' %}</p>", []),
        (
            "{% load i18n %}{% blocktranslate count n=2 %}{{ n }} disk{% plural %}{{ n }} disks{% endblocktranslate %}",
            [],
        ),
        ('<input placeholder="Find a disk">', ["Find", "disk"]),
        ('<p class="card">{{ n }} disk{{ n|pluralize }}</p>', ["disk"]),
        ("<code>manage.py scan</code> &nbsp;", []),
    ],
)
def test_what_stands_outside_is_found(source, words):
    assert unmarked(source) == words


def test_pages_write_sizes_in_the_language():
    """`core.units` writes English; what makes pages asks `words.numbers`."""
    sources = [
        *(ROOT / "chains" / "web").glob("*.py"),
        *(ROOT / "chains" / "templatetags").glob("*.py"),
    ]
    found = [path.name for path in sources if "chains.core.units import" in path.read_text()]
    assert found == []


def in_scripts() -> list[str]:
    """Literals of the scripts that read like sentences, outside of `gettext`."""
    found = []
    for path in sorted((ROOT / "static" / "js").glob("*.js")):
        source = re.sub(r"^\s*(//|\*|/\*).*$", "", path.read_text(), flags=re.MULTILINE)
        source = re.sub(r"n?gettext\(\s*\"[^\"]*\"(\s*,\s*\"[^\"]*\")?", "", source)
        for literal in re.findall(r"\"([^\"\n]*)\"|`([^`]*)`", source):
            text = re.sub(r"\$\{[^}]*\}", "", "".join(literal))
            if re.search(r"\b[A-Z][a-z]+ [a-z]+|[A-Za-z]+ [a-z]+ [a-z]+", text):
                found.append(f"{path.name}: {text}")
    return found


# Starts of titles that the server writes, class names, and what CSS understands.
NOT_SAID = {
    "states.js: Undo of a merge of ", "states.js: Merge of ", "states.js: Scan of ",
    "states.js: Block map of ", "states.js: Check of ",
}  # fmt: skip


def test_no_sentence_of_a_script_stands_outside_of_a_translation():
    assert set(in_scripts()) - NOT_SAID == set()


def test_each_way_of_marking_is_found():
    templates = {message.text for message in of_templates(ROOT)}
    assert {"Domains", "the command line", "ascending", "Batch %(number)s"} <= templates
    assert any(message.plural == "%(count)s layers" for message in of_templates(ROOT))
    assert any(message.context == "when" for message in of_templates(ROOT))
    assert {"Saved.", "KiB", "needs attention"} <= {message.text for message in of_python(ROOT)}
    assert {"Live", "%(count)s disk chosen"} <= {message.text for message in of_scripts(ROOT)}


@pytest.mark.parametrize(
    ("code", "texts"),
    [
        (
            'def f(path):\n    return f"{display(path)} is gone, take {binary(3)}"',
            ["{0:name} is gone, take {1:size}"],
        ),
        (
            'def f(n):\n    return f"{n} layer{"" if n == 1 else "s"} left"'.replace(
                '""', "''"
            ).replace('"s"', "'s'"),
            ["{0:count} layer left / {0:count} layers left"],
        ),
        (
            'def f(n):\n    more = " and more" if n else ""\n    return f"It is so{more}."',
            ["It is so and more.", "It is so.", "and more"],
        ),
        (
            'def f(n):\n    return _counted(n, "snapshot")',
            ["{0:count} snapshot / {0:count} snapshots"],
        ),
        ('def f(names):\n    return "not known: " + ", ".join(names)', ["not known: {0}"]),
        (
            'def f(a):\n    raise StrataError(f"No {{brace}} is “{brief(a)}” here.")',
            ["No {{brace}} is “{0:name}” here."],
        ),
        (
            '"""Only a description."""\ndef f():\n    """And one more."""\n    logger.warning("in the log %s", 1)\n    raise ValueError("never shown to anybody")',
            [],
        ),
        ('SQL = "SELECT a FROM b"', []),
        (
            'def f(x):\n    text = f"{x} failed here"\n    text += ": the disk is full"\n    return text',
            ["{0} failed here", "the disk is full"],
        ),
    ],
)
def test_sentences_are_read_out_of_code(code, texts):
    found = [
        m.text + (f" / {m.plural}" if m.plural else "") for m in of_source(code, "chains/core/x.py")
    ]
    assert sorted(found) == sorted(texts)


def test_a_new_sentence_without_a_translation_is_noticed():
    known = {entry.msgid for entry in catalogues.load(ROOT, "ru", "prose")}
    new = list(
        of_source(
            'def f(n):\n    return f"A sentence about {n} that nobody translated."',
            "chains/core/x.py",
        )
    )
    assert len(new) == 1
    assert new[0].text not in known
    assert {message.text for message in sentences(ROOT)} <= known


@pytest.mark.parametrize(
    ("text", "plural", "translations", "faults"),
    [
        ("%(n)s of %(m)s", "", ["%(m)s, %(n)s"], 0),
        ("%(n)s of %(m)s", "", ["%(m)s"], 1),
        ("{0:name} is gone", "", ["нет {0:name}"], 0),
        ("{0:name} is gone", "", ["нет {0}"], 1),
        ("<strong>a</strong>", "", ["<strong>а</strong>"], 0),
        ("<strong>a</strong>", "", ["<b>а</b>"], 1),
        ("a", "", [""], 1),
        ("%(n)s a", "%(n)s b", ["%(n)s а", "%(n)s б", "%(n)s в", "%(n)s в"], 0),
        ("%(n)s a", "%(n)s b", ["%(n)s а", "%(n)s б", "", ""], 2),
    ],
)
def test_what_does_not_fit_is_noticed(text, plural, translations, faults):
    entry = polib.POEntry(msgid=text, msgid_plural=plural)
    if plural:
        entry.msgstr_plural = dict(enumerate(translations))
    else:
        entry.msgstr = translations[0]
    catalogue = polib.POFile()
    catalogue.append(entry)
    assert len(list(catalogues.wrong(catalogue, "ru"))) == faults
