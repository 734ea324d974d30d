"""A volume group of LVM2: what its metadata says, as facts that have been checked.

Facts: LVM2, lib/format_text/import_vsn1.c and lib/format_text/export.c. The text counts in sectors
of 512 bytes; here sizes are bytes, and extents are counted as extents.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chains.core.errors import StrataError
from chains.core.lvm_config import Section
from chains.core.names import brief

SECTOR = 512
MAX_EXTENT = 2**32  # extents are numbered with 32 bits
MAX_STRIPES = 128
LINEAR = "linear"
# lvm(8), "Valid names".
_NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}\Z")
_SEGMENT = re.compile(r"segment[0-9]+\Z")


@dataclass(frozen=True)
class PhysicalVolume:
    """A device of the group. `pe_start` and `device_size` are bytes; `device` is only a hint."""

    uuid: str
    device: str
    status: tuple[str, ...]
    tags: tuple[str, ...]
    device_size: int
    pe_start: int
    pe_count: int

    @property
    def missing(self) -> bool:
        """The tools have noted that the device was not there."""
        return "MISSING" in self.status


@dataclass(frozen=True)
class Stripe:
    """Where a part of a segment lies: on a physical volume (its uuid), from one of its extents on.

    Of segments that lie on other logical volumes `pv` is the name of one.
    """

    pv: str
    start_extent: int


@dataclass(frozen=True)
class Segment:
    """A run of a logical volume's extents. `type` is "linear", "striped", "raid1", …"""

    start_extent: int
    extent_count: int
    type: str
    stripes: tuple[Stripe, ...]


@dataclass(frozen=True)
class LogicalVolume:
    """One logical volume; `segments` follow one another without a gap. `created`: seconds since 1970."""

    name: str
    uuid: str
    tags: tuple[str, ...]
    status: tuple[str, ...]
    segments: tuple[Segment, ...]
    created: int = 0

    @property
    def extents(self) -> int:
        """How many extents it has."""
        return sum(segment.extent_count for segment in self.segments)


@dataclass(frozen=True)
class VolumeGroup:
    """A group; `seqno` grows with every change. Tags stand in the order of their letters.

    `status` (here and of its volumes) is what the metadata says, and empty where the tools were asked.
    """

    name: str
    uuid: str
    seqno: int
    extent_size: int
    tags: tuple[str, ...]
    pvs: tuple[PhysicalVolume, ...]
    lvs: tuple[LogicalVolume, ...]
    status: tuple[str, ...] = ()
    free_extents: int = 0

    def __post_init__(self) -> None:
        """Check its sizes. Raises StrataError for those that no storage has."""
        largest = max((lv.extents for lv in self.lvs), default=0)
        if not 0 < self.extent_size <= 2**40 or largest * self.extent_size >= 2**62:
            raise _wrong("its extents have no size that extents can have")
        if self.size >= 2**62 or self.free_extents * self.extent_size > self.size:
            raise _wrong("it has more extents than any storage")

    @property
    def size(self) -> int:
        """Bytes of all its extents."""
        return sum(pv.pe_count for pv in self.pvs) * self.extent_size

    @property
    def free(self) -> int:
        """Bytes of the extents that nothing lies on."""
        return self.free_extents * self.extent_size

    def bytes_of(self, lv: LogicalVolume) -> int:
        """The size of one of its logical volumes."""
        return lv.extents * self.extent_size


def group_of(text: Section) -> VolumeGroup:
    """Make the group of a parsed text. Raises StrataError for what no group can be."""
    found = [(name, section) for name, section in text.sections() if "seqno" in section]
    if len(found) != 1:
        raise _wrong("the metadata describes no group, or several")
    name, section = found[0]
    extent_size = section.number("extent_size") * SECTOR
    named = {key: _physical(pv) for key, pv in section.section("physical_volumes").sections()}
    uuids = {key: pv.uuid for key, pv in named.items()}
    lvs = tuple(
        _logical(key, lv, uuids) for key, lv in section.section("logical_volumes").sections()
    )
    pvs = tuple(named.values())
    return VolumeGroup(
        checked_name(name), section.text("id"), section.number("seqno"), extent_size,
        _tags(section), pvs, lvs, _flags(section), free_extents(pvs, lvs),
    )  # fmt: skip


def checked_name(name: str) -> str:
    """Return the name of a group or a volume. Raises StrataError when LVM2 would not give it."""
    if not _NAME.match(name) or name in (".", ".."):
        raise _wrong(f"“{brief(name)}” is no name of a volume")
    return name


def joined(segments: Iterable[Segment], name: str) -> tuple[Segment, ...]:
    """Return segments in order. Raises StrataError when they leave a gap, or lie over one another."""
    ordered = sorted(segments, key=lambda segment: segment.start_extent)
    at = 0
    for segment in ordered:
        if segment.start_extent != at or not segment.extent_count:
            raise _wrong(f"the segments of volume “{brief(name)}” do not follow one another")
        at += segment.extent_count
    if at > MAX_EXTENT:
        raise _wrong(f"volume “{brief(name)}” has more extents than there can be")
    return tuple(ordered)


def free_extents(pvs: Iterable[PhysicalVolume], lvs: Iterable[LogicalVolume]) -> int:
    """Count the extents that no segment takes; segments on other volumes take none themselves."""
    left = {pv.uuid: pv.pe_count for pv in pvs}
    for lv in lvs:
        for segment in lv.segments:
            for stripe in segment.stripes:
                if stripe.pv in left:
                    left[stripe.pv] -= segment.extent_count // len(segment.stripes)
    return max(0, sum(left.values()))


def check_extents(group: VolumeGroup, lv: LogicalVolume) -> None:
    """Raise StrataError when a linear segment lies beyond its device's extents."""
    counts: Mapping[str, int] = {pv.uuid: pv.pe_count for pv in group.pvs}
    for segment in lv.segments:
        for stripe in segment.stripes:
            if segment.type == LINEAR and (
                stripe.start_extent + segment.extent_count > counts.get(stripe.pv, MAX_EXTENT)
            ):
                raise _wrong(f"volume “{brief(lv.name)}” lies beyond the end of its device")


def _physical(section: Section) -> PhysicalVolume:
    return PhysicalVolume(
        section.text("id"), section.text("device", ""), _flags(section), _tags(section),
        section.number("dev_size", 0) * SECTOR, section.number("pe_start") * SECTOR,
        section.number("pe_count"),
    )  # fmt: skip


def _logical(name: str, section: Section, uuids: Mapping[str, str]) -> LogicalVolume:
    segments = [_segment(part, uuids) for key, part in section.sections() if _SEGMENT.match(key)]
    if len(segments) != section.number("segment_count"):
        raise _wrong(f"volume “{brief(name)}” has not the segments that it counts")
    return LogicalVolume(
        checked_name(name), section.text("id"), _tags(section), _flags(section),
        joined(segments, name), section.number("creation_time", 0),
    )  # fmt: skip


def _tags(section: Section) -> tuple[str, ...]:
    """Tags are a set: the tools list them by their letters, the metadata as they were given."""
    return tuple(sorted(section.texts("tags")))


def _flags(section: Section) -> tuple[str, ...]:
    """A group's or a volume's state, with the flags that older tools need not know."""
    return section.texts("status") + section.texts("flags")


def _segment(section: Section, uuids: Mapping[str, str]) -> Segment:
    start, count = section.number("start_extent"), section.number("extent_count")
    kind = section.text("type")
    stripes: tuple[Stripe, ...] = ()
    if kind == "striped":  # the only type whose places LVM2 writes in this way
        stripes = _stripes(section.mixed("stripes"), uuids)
        if len(stripes) != section.number("stripe_count") or count % len(stripes):
            raise _wrong("a segment has not the stripes that it counts")
        kind = LINEAR if len(stripes) == 1 else kind
    if max(start, count) > MAX_EXTENT:
        raise _wrong("a segment has more extents than there can be")
    return Segment(start, count, kind, stripes)


def _stripes(values: list[int | float | str], uuids: Mapping[str, str]) -> tuple[Stripe, ...]:
    found = []
    for name, extent in zip(values[0::2], values[1::2], strict=False):
        if not isinstance(name, str) or not isinstance(extent, int) or not 0 <= extent < MAX_EXTENT:
            raise _wrong("a segment lies at no place that it can lie at")
        found.append(Stripe(uuids.get(name, name), extent))
    if not found or len(values) % 2 or len(found) > MAX_STRIPES:
        raise _wrong("a segment lies nowhere, or in too many places")
    return tuple(found)


def _wrong(what: str) -> StrataError:
    return StrataError(
        f"The LVM metadata says what can not be: {what}. Check it with pvck --dump metadata, and"
        " restore it with vgcfgrestore if need be."
    )
