"""What the lower parts wrote in English, in the reader's language: translated where a page shows it.

A stored text is held against the forms of the catalogue «prose» (chains/words/forms.py): the one with
the most literal text wins, its translation takes over what stood in the places, and what stood there
is translated in turn where it is prose itself. What is of no form stays as it is. Nothing here makes a
text safe: the page escapes it like any other.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.utils.translation import get_language

from chains.words import numbers
from chains.words.address import spoken
from chains.words.compiled import Entry, read
from chains.words.forms import Form, Place

DOMAIN = "prose"
LONGEST = 20_000  # characters; longer ones are shown as they are
DEEPEST = 4
_HEAD = 4
_MOST_CUTS = 24
_MOST_LISTED = 400  # characters of a list whose items are looked up one by one


@dataclass(frozen=True)
class _Known:
    """A form and what it becomes, by the form that goes with its number."""

    form: Form
    becomes: tuple[Form, ...]


class Prose:
    """The forms of one language, found by how a text begins or ends."""

    def __init__(self, entries: tuple[Entry, ...], form: Callable[[int], int]) -> None:
        self._form = form
        self._by_head: dict[str, list[_Known]] = defaultdict(list)
        self._by_tail: dict[str, list[_Known]] = defaultdict(list)
        self._short: list[_Known] = []
        for entry in entries:
            becomes = tuple(map(Form.of, entry.translations))
            for text in filter(None, (entry.text, entry.plural)):
                self._note(_Known(Form.of(text), becomes))
        for known in (*self._by_head.values(), *self._by_tail.values(), self._short):
            known.sort(key=lambda one: -one.form.weight)

    def _note(self, known: _Known) -> None:
        first, last = known.form.literals[0], known.form.literals[-1]
        if len(first) >= _HEAD:
            self._by_head[first[:_HEAD]].append(known)
        elif len(last) >= _HEAD:
            self._by_tail[last[-_HEAD:]].append(known)
        else:
            self._short.append(known)

    def _candidates(self, text: str) -> Iterator[_Known]:
        found = [*self._by_head.get(text[:_HEAD], ()), *self._by_tail.get(text[-_HEAD:], ())]
        yield from sorted([*found, *self._short], key=lambda one: -one.form.weight)

    def whole(self, text: str, depth: int, *, sure: bool) -> str | None:
        """The text as one form; None when it is of none. `sure`: it may be a name."""
        for known in self._candidates(text):
            if sure and not known.form.is_sure:
                continue
            said = known.form.taken_apart(text)
            if said is None:
                continue
            number = next((said[p.number] for p in known.form.places if p.kind == "count"), "1")
            which = self._form(_whole_number(number)) if len(known.becomes) > 1 else 0
            becomes = known.becomes[min(which, len(known.becomes) - 1)]
            return becomes.filled(said, lambda place, what: self._said(place, what, depth + 1))
        return None

    def _said(self, place: Place, text: str, depth: int) -> str:
        if place.kind == "name" or not text:
            return text
        if place.kind in {"number", "count"}:
            return numbers.number(text)
        if place.kind == "size":
            return numbers.sizes(text)
        if place.kind == "time":
            return numbers.span_words(text)
        # One word in a sentence of ours is one of ours; names have places of their own.
        is_word = text.isascii() and text.isalpha() and text.islower()
        return self.anything(text, depth, sure=not is_word)

    def anything(self, text: str, depth: int = 0, *, sure: bool = False) -> str:
        """The text, or as much of it as is known: whole, line by line, sentence by sentence."""
        if depth > DEEPEST or not text.strip():
            return text
        if (found := self.whole(text, depth, sure=sure)) is not None:
            return found
        if "\n" in text:
            return "\n".join(self.anything(line, depth + 1, sure=True) for line in text.split("\n"))
        return self._by_sentences(text, depth)

    def _by_sentences(self, text: str, depth: int) -> str:
        """The longest beginning that is known, then the longest of the rest, and so on."""
        parts: list[str] = []
        for _ in range(_MOST_CUTS):
            cut, beginning = self._beginning(text, depth)
            if beginning is None:
                break
            parts.append(beginning)
            text = text[cut + 1 :]
            if not text:
                return " ".join(parts)
        if ", " in text and len(text) < _MOST_LISTED:
            items = [self.whole(item, depth, sure=True) or item for item in text.split(", ")]
            if items != text.split(", "):
                return " ".join([*parts, ", ".join(items)])
        for cut in _cuts(text):
            rest = self.whole(text[cut + 1 :], depth, sure=True)
            if rest is not None:
                return " ".join([*parts, numbers.listed(text[:cut]), rest])
        return " ".join([*parts, numbers.listed(text)])

    def _beginning(self, text: str, depth: int) -> tuple[int, str | None]:
        for cut in (len(text), *reversed(_cuts(text))):
            found = self.whole(text[:cut], depth, sure=True)
            if found is not None:
                return cut, found
        return 0, None


def _cuts(text: str) -> list[int]:
    """The places between sentences, and after the name that a reason is told of."""
    found: list[int] = []
    at = 0
    while len(found) < _MOST_CUTS:
        at = text.find(" ", at + 1)
        if at < 0:
            break
        if text[at - 1] in ".:;)":
            found.append(at)
    return found


def _whole_number(text: str) -> int:
    digits = text.replace(",", "").partition(".")[0].lstrip("-")
    return int(digits) if digits.isdecimal() and len(digits) < 20 else 0


@lru_cache(maxsize=8)
def _prose_of(language: str) -> Prose | None:
    """The forms of a language; None for the language that they are written in."""
    if language == settings.LANGUAGE_CODE:
        return None
    for folder in settings.LOCALE_PATHS:
        known = read(Path(folder, language, "LC_MESSAGES", f"{DOMAIN}.mo"))
        if known.entries:
            return Prose(known.entries, known.form)
    return None


@lru_cache(maxsize=4096)
def _translated(text: str, language: str, sure: bool) -> str:
    known = _prose_of(language)
    return text if known is None else known.anything(text, sure=sure)


def prose(text: object, *, sure: bool = False) -> str:
    """The text in the reader's language. `sure`: it may also be what people wrote, or a name."""
    written = "" if text is None else str(text)
    if not written or len(written) > LONGEST or get_language() is None:
        return written
    return _translated(written, spoken(), sure)
