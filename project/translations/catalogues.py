"""The catalogues in locale/: brought up to date from the sources, looked over, compiled."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import polib

from project.translations.messages import Message, of_python, of_scripts, of_templates
from project.translations.prose import sentences

LANGUAGES = ("ru",)
# Cardinal numbers as Russian counts: 1, 21; 2 to 4, 22; 5 to 20; as Django's own catalogue has them.
_PLURALS = {
    "ru": "nplurals=4; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14)"
    " ? 1 : n%10==0 || (n%10>=5 && n%10<=9) || (n%100>=11 && n%100<=14)? 2 : 3);"
}  # fmt: skip
FORMS = {"ru": 4}
_PLACES = re.compile(r"%\(\w+\)[sd]|\{\d+(?::\w+)?\}|<[^<>]+>|&\w+;")


def wanted(root: Path) -> dict[str, list[Message]]:
    """What each catalogue must hold, as the sources stand now."""
    return {
        "django": [*of_templates(root), *of_python(root)],
        "djangojs": list(of_scripts(root)),
        "prose": list(sentences(root)),
    }


def path_of(root: Path, language: str, domain: str) -> Path:
    """Where a catalogue lies."""
    return root / "locale" / language / "LC_MESSAGES" / f"{domain}.po"


def load(root: Path, language: str, domain: str) -> polib.POFile:
    """A catalogue as it is; empty where there is none."""
    file = path_of(root, language, domain)
    return polib.pofile(str(file), wrapwidth=0) if file.exists() else polib.POFile(wrapwidth=0)


def merged(old: polib.POFile, messages: Iterable[Message], language: str) -> polib.POFile:
    """What is wanted, with the translations that are known; what nobody wants is dropped."""
    known = {_key(entry): entry for entry in old}
    fresh = polib.POFile(wrapwidth=0)
    fresh.metadata = {
        "Language": language, "MIME-Version": "1.0", "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit", "Plural-Forms": _PLURALS[language],
    }  # fmt: skip
    made: dict[tuple[str | None, str], polib.POEntry] = {}
    for message in messages:
        entry = made.get((message.context, message.text))
        if entry is None:
            entry = _fresh(message, known.get((message.context, message.text)))
            made[message.context, message.text] = entry
            fresh.append(entry)
        if message.plural and not entry.msgid_plural:
            entry.msgid_plural = message.plural
        place = (message.where.rpartition(":")[0] or message.where, "")
        if place not in entry.occurrences:
            entry.occurrences.append(place)
    for entry in fresh:
        _fit_plural(entry, language)
    return fresh


def _key(entry: polib.POEntry) -> tuple[str | None, str]:
    return entry.msgctxt, entry.msgid


def _fresh(message: Message, known: polib.POEntry | None) -> polib.POEntry:
    entry = polib.POEntry(msgid=message.text, msgctxt=message.context)
    if known is not None:
        entry.msgstr, entry.msgstr_plural = known.msgstr, dict(known.msgstr_plural)
        entry.tcomment = known.tcomment
    return entry


def _fit_plural(entry: polib.POEntry, language: str) -> None:
    if entry.msgid_plural:
        known = entry.msgstr_plural
        entry.msgstr_plural = {form: known.get(form, "") for form in range(FORMS[language])}
        entry.msgstr = ""
    else:
        entry.msgstr_plural = {}


def wrong(catalogue: polib.POFile, language: str) -> Iterator[str]:
    """What is missing or does not fit: an empty text, a fuzzy one, other places or other markup."""
    for entry in catalogue:
        texts = list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]
        if entry.msgid_plural and len(texts) != FORMS[language]:
            yield f"{entry.msgid!r}: {len(texts)} forms"
        if entry.fuzzy:
            yield f"{entry.msgid!r}: fuzzy"
        for text in texts:
            if not text.strip():
                yield f"{entry.msgid!r}: not translated"
            elif not _fits(entry, text):
                yield f"{entry.msgid!r}: other places or markup in {text!r}"


def _fits(entry: polib.POEntry, text: str) -> bool:
    found = Counter(_PLACES.findall(text))
    allowed = [
        Counter(_PLACES.findall(source)) for source in (entry.msgid, entry.msgid_plural) if source
    ]
    ends = (text[:1].isspace(), text[-1:].isspace())
    return found in allowed and ends == (entry.msgid[:1].isspace(), entry.msgid[-1:].isspace())


def compiled(catalogue: polib.POFile) -> bytes:
    """What the program reads."""
    return bytes(catalogue.to_binary())
