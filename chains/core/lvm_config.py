"""LVM2's text format: sections of keys and values, parsed from bytes that anybody may have written.

Facts of the format: LVM2, libdm/libdm-config.c (tokens) and lib/format_text/export.c (what LVM2
itself writes).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from chains.core.errors import StrataError
from chains.core.names import brief

MAX_DEPTH = 8  # LVM2 nests four deep
MAX_TOKENS = 4_000_000

Value = int | float | str | list["int | float | str"]


class Section(dict[str, "Value | Section"]):
    """A section's keys, in the order of the text. The look-ups raise StrataError."""

    def section(self, key: str) -> "Section":
        """The section of that name; one that is not there is empty."""
        found = self.get(key, _NONE)
        if not isinstance(found, Section):
            raise _damaged(f"“{brief(key)}” is no section")
        return found

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number, 0 to 2^63-1."""
        found = self.get(key, default)
        if not isinstance(found, int) or not 0 <= found < 2**63:
            raise _damaged(f"“{brief(key)}” is no number that it can be")
        return found

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        found = self.get(key, default)
        if not isinstance(found, str):
            raise _damaged(f"“{brief(key)}” is no text")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; one that is not there is empty."""
        found = self.get(key, [])
        if not isinstance(found, list):
            raise _damaged(f"“{brief(key)}” is no list of texts")
        strings = tuple(item for item in found if isinstance(item, str))
        if len(strings) != len(found):
            raise _damaged(f"“{brief(key)}” is no list of texts")
        return strings

    def mixed(self, key: str) -> list[int | float | str]:
        """A list of anything."""
        found = self.get(key)
        if not isinstance(found, list):
            raise _damaged(f"“{brief(key)}” is no list")
        return found

    def sections(self) -> Iterator[tuple[str, "Section"]]:
        """Every section in it, by name."""
        for key, value in self.items():
            if isinstance(value, Section):
                yield key, value


_NONE = Section()


# Blanks and comments; then a text in either kind of quotes, a sign, or a bare word.
_TOKEN = re.compile(
    r"(?:\s|#[^\n]*(?:\n|\Z))*+"
    r"(?:\"(?P<text>[^\"\\]*(?:\\.[^\"\\]*)*)\"|'(?P<plain>[^']*)'"
    r"|(?P<sign>[{}\[\]=,])|(?P<word>[^\s#={}\[\],\"']+))",
    re.DOTALL,
)
_REST = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z))*+\Z")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}\Z")
_BROKEN = re.compile(r"[+-]?[0-9]{1,30}\.[0-9]{0,30}\Z")


class _Token(NamedTuple):
    kind: str  # "text", "sign", "word", "end"
    value: str


def parse(text: str) -> Section:
    """Parse a whole text. Raises StrataError, with a text for people, for anything else than one."""
    return _Parser(text).run()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)

    def run(self) -> Section:
        root = Section()
        open_sections = [root]
        for token in self._tokens:
            if token.kind == "end":
                break
            if token == ("sign", "}"):
                open_sections.pop()
                if not open_sections:
                    raise _damaged("a section ends that never began")
                continue
            if token.kind == "sign":
                raise _damaged(f"“{token.value}” stands where a name should")
            here = open_sections[-1]
            if token.value in here:
                raise _damaged(f"“{brief(token.value)}” is there twice")
            sign = next(self._tokens)
            if sign == ("sign", "="):
                here[token.value] = self._value()
            elif sign == ("sign", "{"):
                if len(open_sections) > MAX_DEPTH:
                    raise _damaged("its sections are nested too deep")
                inner = here[token.value] = Section()
                open_sections.append(inner)
            else:
                raise _damaged(f"“{brief(token.value)}” has no value")
        if len(open_sections) != 1:
            raise _damaged("it ends inside a section")
        return root

    def _value(self) -> Value:
        token = next(self._tokens)
        if token != ("sign", "["):
            return _single(token)
        found: list[int | float | str] = []
        token = next(self._tokens)
        while token != ("sign", "]"):
            found.append(_single(token))
            token = next(self._tokens)
            if token == ("sign", ","):
                token = next(self._tokens)
            elif token != ("sign", "]"):
                raise _damaged("a list has no end")
        return found


def _single(token: _Token) -> int | float | str:
    if token.kind == "text":
        return token.value
    if token.kind == "word":
        if _WHOLE.match(token.value):
            return int(token.value)
        if _BROKEN.match(token.value):
            return float(token.value)
    raise _damaged(f"“{brief(token.value)}” is no value")


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    match = _TOKEN.match
    for _ in range(MAX_TOKENS):
        found = match(text, at)
        if found is None:
            if _REST.match(text, at) is None:
                raise _damaged("a text has no end")
            break
        at = found.end()
        kind = found.lastgroup or ""
        value = found[kind]
        if kind == "text" and "\\" in value:
            value = _ESCAPE.sub(r"\1", value)
        yield _Token("text" if kind == "plain" else kind, value)
    else:
        raise _damaged("it holds more than any volume group has")
    while True:  # whoever asks for one more than there are finds that the text was cut
        yield _Token("end", "the end of the text")


def _damaged(what: str) -> StrataError:
    return StrataError(
        f"The text of the LVM metadata is damaged: {what}. Check it with pvck --dump metadata, and"
        " restore it with vgcfgrestore if need be."
    )
