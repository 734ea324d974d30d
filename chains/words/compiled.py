"""Compiled catalogues, read whole: gettext's own reader forgets the plurals that the texts had."""

import gettext
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_MAGIC = 0x950412DE


@dataclass(frozen=True)
class Entry:
    """A text, its plural if it counts, and what stands for them in the language."""

    text: str
    plural: str
    translations: tuple[str, ...]


@dataclass(frozen=True)
class Compiled:
    """All texts of one catalogue, and which of its forms goes with a number."""

    entries: tuple[Entry, ...]
    form: Callable[[int], int]


def read(file: Path) -> Compiled:
    """Read a .mo file; one that is not there is empty. Raises ValueError for what is none."""
    if not file.exists():
        return Compiled((), lambda number: 0)
    data = file.read_bytes()
    magic, _, count, texts_at, translations_at = struct.unpack_from("<5I", data)
    if magic != _MAGIC:
        raise ValueError(f"{file} is no compiled catalogue")
    form: Callable[[int], int] = lambda number: 0  # noqa: E731
    entries = []
    for index in range(count):
        text = _text(data, texts_at + 8 * index)
        translation = _text(data, translations_at + 8 * index)
        if not text:
            form = _form_of(translation)
            continue
        one, _, many = text.partition("\0")
        entries.append(Entry(one, many, tuple(translation.split("\0"))))
    return Compiled(tuple(entries), form)


def _text(data: bytes, at: int) -> str:
    length, start = struct.unpack_from("<2I", data, at)
    return data[start : start + length].decode()


def _form_of(header: str) -> Callable[[int], int]:
    for line in header.splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "plural-forms":
            rule: Callable[[int], int] = gettext.c2py(value.partition("plural=")[2].strip(" ;"))
            return rule
    return lambda number: 0
