"""Forms with numbered places, as `project.translations.prose` finds them: taking a text apart by one.

A text is hostile: names from storage stand in it. Everything here takes time that grows with its
length, whatever it holds: literals are searched for one after another, and never tried again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

_PLACE = re.compile(r"\{([0-9]{1,2})(?::([a-z]+))?\}")
_FIGURE = re.compile(r"-?[0-9][0-9.,]{0,40}", re.ASCII)
_SIZE = re.compile(r"-?[0-9][0-9.,]{0,40} (?:[KMGTPE]iB|B)", re.ASCII)
_TIME = re.compile(r"[0-9]{1,12}(?:s|min|h|d)?", re.ASCII)
_KINDS: Mapping[str, re.Pattern[str]] = {
    "number": _FIGURE,
    "count": _FIGURE,
    "size": _SIZE,
    "time": _TIME,
}
# Fewer letters than this are no reason to take a name from storage for a sentence.
ENOUGH = 9


@dataclass(frozen=True)
class Place:
    """A place of a form: its number and what may stand there."""

    number: int
    kind: str

    def takes(self, text: str) -> bool:
        """Whether this may stand here."""
        kind = _KINDS.get(self.kind)
        return kind is None or kind.fullmatch(text) is not None


@dataclass(frozen=True)
class Form:
    """Literals with places between them: always one literal more than places."""

    literals: tuple[str, ...]
    places: tuple[Place, ...]

    @classmethod
    def of(cls, written: str) -> "Form":
        """From how it is written in a catalogue."""
        literals, places, at = [], [], 0
        for found in _PLACE.finditer(written):
            literals.append(_plain(written[at : found.start()]))
            places.append(Place(int(found[1]), found[2] or ""))
            at = found.end()
        return cls((*literals, _plain(written[at:])), tuple(places))

    @cached_property
    def weight(self) -> int:
        """How much literal text it has: the more, the surer it is meant."""
        return sum(map(len, self.literals))

    @cached_property
    def is_sure(self) -> bool:
        """Whether it can hardly be a name that looks like it."""
        if not self.places:
            return " " in self.literals[0] or self.literals[0].endswith(".")
        if all(place.kind in _KINDS for place in self.places):
            return True
        return sum(sign.isalpha() for literal in self.literals for sign in literal) >= ENOUGH

    def taken_apart(self, text: str) -> dict[int, str] | None:
        """What stands in each place; None when the text is not of this form."""
        first, *rest = self.literals
        if not rest:
            return {} if text == first else None
        last, end = rest[-1], len(text) - len(rest[-1])
        if end < len(first) or not text.startswith(first) or not text.endswith(last):
            return None
        found: dict[int, str] = {}
        at = len(first)
        for place, literal in zip(self.places, rest, strict=True):
            stop = (
                end if literal is last and place is self.places[-1] else text.find(literal, at, end)
            )
            if stop < at:
                return None
            said = text[at:stop]
            if not place.takes(said) or found.setdefault(place.number, said) != said:
                return None
            at = stop + len(literal)
        return found

    def filled(self, said: Mapping[int, str], write: Callable[[Place, str], str]) -> str:
        """The form with something in each place."""
        parts = [self.literals[0]]
        for place, literal in zip(self.places, self.literals[1:], strict=True):
            parts += [write(place, said.get(place.number, "")), literal]
        return "".join(parts)


def _plain(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")
