"""From where on what is found in a domain is worth an operator's attention."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from chains.core.errors import StrataError
from chains.core.units import binary, parse_seconds, parse_size, span

GIB = 1024**3
DAY = 86_400


@dataclass(frozen=True)
class Thresholds:
    """A policy of findings: lengths in layers, times in seconds, sizes in bytes, shares in percent.

    0 turns a rule off.
    """

    depth: int = 8
    snapshot_seconds: int = 30 * DAY
    snapshot_percent: int = 50
    full_within_seconds: int = 14 * DAY
    reserve_percent: int = 10
    winnable: int = 10 * GIB

    @classmethod
    def of(cls, *changes: Mapping[str, Any]) -> "Thresholds":
        """The defaults, changed by what is stored for all domains and then for one."""
        known = {field.name for field in fields(cls)}
        found = cls()
        for change in changes:
            found = replace(found, **{k: v for k, v in change.items() if k in known})
        return found

    def to_words(self) -> dict[str, str]:
        """As people write them."""
        return {name: _say(name, value) for name, value in asdict(self).items()}


LABELS = {
    "depth": "layers of a chain, at most",
    "snapshot_seconds": "age of a snapshot, at most",
    "snapshot_percent": "size of a snapshot, in percent of its disk, at most",
    "full_within_seconds": "how long the domain must last at its present growth",
    "reserve_percent": "free space, in percent of the domain, at least",
    "winnable": "space that a merge would win, from here on worth telling",
}
_MOST = {
    "depth": 1000, "snapshot_seconds": 100 * 365 * DAY, "snapshot_percent": 1000,
    "full_within_seconds": 10 * 365 * DAY, "reserve_percent": 100, "winnable": 2**60,
}  # fmt: skip


def parse(words: Mapping[str, str]) -> dict[str, int]:
    """What people wrote, as it is stored; what they left empty is left out. Raises StrataError."""
    found = {}
    for name, text in words.items():
        if name not in LABELS:
            raise StrataError(f"There is no threshold “{name}”: {', '.join(LABELS)}.")
        if not text.strip():
            continue
        found[name] = value = _read(name, text.strip())
        if not 0 <= value <= _MOST[name]:
            raise StrataError(f"{LABELS[name]}: from 0 (off) to {_say(name, _MOST[name])}.")
    return found


def check(values: Mapping[str, Any]) -> dict[str, int]:
    """Do the same for numbers; raises StrataError."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise StrataError(f"{name}: give a whole number.")
    return parse({name: str(value) for name, value in values.items()})


def _read(name: str, text: str) -> int:
    if text.isascii() and text.isdecimal():
        if len(text) > 20:
            raise StrataError(f"{LABELS[name]}: {text[:20]}… is too large.")
        return int(text)
    if name.endswith("seconds"):
        return int(parse_seconds(text))
    if name == "winnable":
        return parse_size(text)
    raise StrataError(f"{LABELS[name]}: give a whole number, not “{text[:40]}”.")


def _say(name: str, value: int) -> str:
    if name.endswith("seconds"):
        return span(value)
    return binary(value) if name == "winnable" else str(value)
