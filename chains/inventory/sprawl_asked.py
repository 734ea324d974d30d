"""What somebody asks of the sprawl report: how it is grouped, which disks it is of, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from chains.core.errors import StrataError
from chains.core.units import parse_seconds, span
from chains.inventory.asking import BadRequestError
from chains.inventory.history import moment_of
from chains.inventory.search import cleaned

BYS: Final = ("datacenter", "domain", "vm", "disk")
NONE: Final = "(none)"
"""Stands in an address for disks without a VM, and for domains without a datacenter."""
SORTS: Final = (
    "name", "disks", "snapshots", "depth", "oldest_snapshot", "snapshot_bytes", "shadowed", "winnable",
    "to_copy", "breaches",
)  # fmt: skip
SORT: Final = "-snapshot_bytes"
_MOST: Final = 10**9
_LONGEST: Final = 4000


@dataclass(frozen=True)
class Asked:
    """The words of an address, checked; the empty value of each leaves nothing out.

    `snapshots` of a disk at least; `older` seconds since its oldest one was written last; `breaches` only
    disks that exceed a threshold. `as_of` None is now; `with_` is the later moment of two to be compared.
    """

    by: str = "domain"
    datacenter: str = ""
    domain: int | None = None
    vm: str = ""
    q: str = ""
    snapshots: int | None = None
    older: int | None = None
    breaches: bool = False
    as_of: datetime | None = None
    with_: datetime | None = None
    sort: str = SORT

    @classmethod
    def from_words(cls, words: Mapping[str, str]) -> "Asked":
        """Raises BadRequestError."""
        as_of, later = _moment(words, "as_of"), _moment(words, "with")
        if later is not None and as_of is None:
            raise BadRequestError("Two dates are compared: give as_of too.")
        if later is not None and as_of is not None and later < as_of:
            as_of, later = later, as_of
        return cls(
            _one_of(words, "by", BYS, "domain"), _text(words, "datacenter"), _number(words, "domain"),
            _text(words, "vm"), cleaned(words.get("q", "")), _number(words, "snapshots"),
            _age(words), _flag(words, "breaches"), as_of, later, _sort(words),
        )  # fmt: skip

    @property
    def is_narrowed(self) -> bool:
        """Whether any disk may be left out."""
        names = {"datacenter", "domain", "vm", "q", "snapshots", "older", "breaches"}
        return any(getattr(self, f.name) != f.default for f in fields(self) if f.name in names)

    @property
    def is_of_whole_domains(self) -> bool:
        """Whether the notes of domains are of the same disks: nothing narrows them further."""
        rest = replace(self, datacenter="", domain=None)
        return not rest.is_narrowed

    @property
    def column(self) -> str:
        """What it is sorted by."""
        return self.sort.removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """The largest first."""
        return self.sort.startswith("-")

    @property
    def older_words(self) -> str:
        """The age as people write it."""
        return "" if self.older is None else span(self.older)

    def before(self, moment: datetime) -> datetime | None:
        """Snapshots as old as asked for were written before this."""
        return None if self.older is None else moment - timedelta(seconds=self.older)

    def now_or_then(self) -> datetime:
        """The moment that ages are told from."""
        return self.with_ or self.as_of or timezone.now()


def _text(words: Mapping[str, str], name: str) -> str:
    return words.get(name, "").replace("\x00", "")[:_LONGEST]


def _one_of(words: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> str:
    value = words.get(name, "") or default
    if value not in known:
        raise BadRequestError(f"{name} is one of: {', '.join(known)}.")
    return value


def _number(words: Mapping[str, str], name: str) -> int | None:
    text = words.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequestError(f"{name} is a whole number.")
    return int(text)


def _flag(words: Mapping[str, str], name: str) -> bool:
    value = words.get(name, "")
    if value not in ("", "0", "1"):
        raise BadRequestError(f"{name} is 1, or left out.")
    return value == "1"


def _age(words: Mapping[str, str]) -> int | None:
    text = words.get("older", "").strip()
    if not text:
        return None
    try:
        return min(parse_seconds(text), _MOST)
    except StrataError as error:
        raise BadRequestError(str(error)) from None


def _moment(words: Mapping[str, str], name: str) -> datetime | None:
    text = words.get(name, "").replace("\x00", "")[:40].strip()
    return moment_of(text) if text else None


def _sort(words: Mapping[str, str]) -> str:
    """By what snapshots hold when there is no such column, as in other lists."""
    sort = words.get("sort", "")
    return sort if sort.removeprefix("-") in SORTS else SORT
