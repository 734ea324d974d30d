"""What of a disk's reads is looked at, and how: all of it stands in the address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from chains.models import Disk

# What an address of a byte may be long: the rest is no address.
LONGEST_AT = 64
# How many clusters there are to see where one byte is looked at: a block is one cluster then.
NEAR = 32


@dataclass(frozen=True)
class Wish:
    """A part of a disk, on cluster borders, in bytes; `by_hops` colours tell hops instead of layers, `at`
    is the byte that somebody asked for, as they wrote it, `table` says that the extents are listed too.
    """

    start: int
    length: int
    size: int
    cluster: int
    by_hops: bool = False
    at: str = ""
    table: bool = False

    @classmethod
    def of(cls, query: QueryDict, size: int, cluster: int) -> Wish:
        """What an address asks for; the whole disk where it makes no sense."""
        start, length = _slice(query, size, cluster)
        return cls(
            start, length, size, cluster, query.get("by") == "hops",
            query.get("at", "").replace("\x00", "").strip()[:LONGEST_AT], query.get("as") == "table",
        )  # fmt: skip

    @property
    def end(self) -> int:
        """Where the part ends."""
        return self.start + self.length

    @property
    def is_whole(self) -> bool:
        """Whether the part is all of the disk."""
        return self.length >= self.size

    def words(self) -> dict[str, str]:
        """What stands in the address."""
        found = {} if self.is_whole else {"from": str(self.start), "to": str(self.end)}
        if self.by_hops:
            found["by"] = "hops"
        if self.at:
            found["at"] = self.at
        if self.table:
            found["as"] = "table"
        return found

    def part(self, start: int, end: int) -> Wish:
        """Another part of the disk, looked at in the same way."""
        return replace(self, start=start, length=end - start)

    @property
    def whole(self) -> Wish:
        """The whole disk."""
        return self.part(0, self.size)

    def around(self, point: int, length: int) -> Wish:
        """So many bytes around one, as far as the disk goes."""
        wide = min(max(length, self.cluster), self.size)
        left = max(0, min(point - wide // 2, self.size - wide)) // self.cluster * self.cluster
        return self.part(left, min(self.size, left + wide))

    def near(self, point: int) -> Wish:
        """The clusters around a byte."""
        return self.around(point, NEAR * self.cluster)

    def address(self, disk: Disk) -> str:
        """Of the disk's page."""
        words = urlencode(self.words())
        return f"{reverse('disk', args=[disk.pk])}{'?' if words else ''}{words}#reads"

    def file(self, disk: Disk, kind: str) -> str:
        """Of the picture as a file: svg, png or dot."""
        words = {key: value for key, value in self.words().items() if key != "as"}
        tail = f"?{urlencode(words)}" if words else ""
        return f"{reverse(f'disk-reads-{kind}', args=[disk.pk])}{tail}"


def links(wish: Wish, disk: Disk, at: int | None) -> dict[str, str]:
    """Where one can go from here, by name; "" where one can not. `at` is the byte that is looked at."""
    found = dict.fromkeys(("whole", "out", "previous", "next", "in"), "")
    middle = at if at is not None and wish.start <= at < wish.end else wish.start + wish.length // 2
    if wish.length > wish.cluster:
        half = -(-wish.length // 2 // wish.cluster) * wish.cluster
        if half < wish.length:
            found["in"] = wish.around(middle, half).address(disk)
    if wish.is_whole:
        return found
    found["whole"] = wish.whole.address(disk)
    found["out"] = wish.around(wish.start + wish.length // 2, wish.length * 8).address(disk)
    if wish.start > 0:
        found["previous"] = wish.part(max(0, wish.start - wish.length), wish.start).address(disk)
    if wish.end < wish.size:
        far = min(wish.size, wish.end + wish.length)
        found["next"] = wish.part(wish.end, far).address(disk)
    return found


def _slice(query: QueryDict, size: int, cluster: int) -> tuple[int, int]:
    """The part of the disk that is asked for, on cluster borders; the whole disk where it makes no sense."""
    try:
        start, end = int(query.get("from", "0")), int(query.get("to", str(size)))
    except ValueError:
        return 0, size
    start = max(0, min(start, size)) // cluster * cluster
    end = min(-(-max(end, start) // cluster) * cluster, size)
    return (start, end - start) if end > start else (0, size)
