"""The chain over the audit records: how a link is sealed, and what a walk along it finds wrong. Pure.

A link's hash is the SHA-256, as 64 hexadecimal digits, of these texts in UTF-8, each written as a
netstring (`LENGTH:BYTES,`, LENGTH being the number of bytes): the hash of the link before (64 zeros for
the first), when it was sealed, then the record: its id, when, who, from where, what, of what, with which
result, and its details as PostgreSQL prints a `jsonb`. Moments are UTC: `2026-07-01T12:00:00.000000Z`.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

GENESIS = "0" * 64


class Kind(StrEnum):
    """What was done to the chain."""

    CHANGED = "changed"
    DELETED = "deleted"
    MISSING = "missing"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    UNPROTECTED = "unprotected"


class Fault(NamedTuple):
    """One thing wrong, in words."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A seal as it stands, with the texts of its record: None where there is no such record."""

    seq: int
    record: int
    previous: str
    hash: str
    sealed_at: str
    texts: tuple[str, ...] | None


def moment(at: datetime) -> str:
    """As it stands in the text that is hashed."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def digest(previous: str, sealed_at: str, texts: tuple[str, ...]) -> str:
    """The hash of a link."""
    return hashlib.sha256(b"".join(map(_netstring, (previous, sealed_at, *texts)))).hexdigest()


def _netstring(text: str) -> bytes:
    found = text.encode()
    return b"%d:%b," % (len(found), found)


class Walk:
    """A walk along the chain from its beginning; holds nothing but the place where it is.

    `place_of` says where the seal of this hash stands, None where there is none; asked only about faults.
    """

    def __init__(self, place_of: Callable[[str], int | None]) -> None:
        self.count = 0
        self.seq = 0
        self.head = GENESIS
        self._place_of = place_of

    def step(self, link: Link) -> Iterator[Fault]:
        """Go on to the next link, and say what is wrong with it."""
        if link.texts is None:
            text = f"Record {link.record} was deleted: seal {link.seq} is still there."
            yield Fault(Kind.DELETED, text)
        elif digest(link.previous, link.sealed_at, link.texts) != link.hash:
            text = f"Record {link.record} was changed, or its seal {link.seq}: they do not fit."
            yield Fault(Kind.CHANGED, text)
        if link.seq != self.seq + 1:
            yield self._gap(link.seq)
        elif link.previous != self.head:
            yield self._break(link)
        self.count += 1
        self.seq, self.head = link.seq, link.hash

    def _gap(self, seq: int) -> Fault:
        first, last = self.seq + 1, seq - 1
        which = f"Seal {first} is" if first == last else f"Seals {first} to {last} are"
        return Fault(Kind.MISSING, f"{which} missing: their records were deleted with them.")

    def _break(self, link: Link) -> Fault:
        if link.previous == GENESIS:
            place: int | None = 0
        else:
            place = self._place_of(link.previous)
        if place is None:
            text = f"Seal {link.seq} follows a seal that is not there any more: it was deleted or changed."
            return Fault(Kind.MISSING, text)
        if place >= link.seq:
            text = f"Seal {link.seq} was written after seal {place}, and stands before it."
            return Fault(Kind.REORDERED, text)
        between = (
            f"Seal {link.seq} was written next after seal {place}"
            if place
            else f"Seal {link.seq} was the first"
        )
        return Fault(Kind.INSERTED, f"{between}: what stands before it was put in or moved.")
