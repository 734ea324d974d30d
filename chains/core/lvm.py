"""What LVM2 writes on its devices: the label, the header of a metadata area, and its text.

Facts of the format: LVM2, lib/label/label.h (label_header), lib/format_text/layout.h (pv_header,
mda_header, raw_locn), lib/format_text/format-text.c (the circular buffer), lib/misc/crc.c. All
numbers on disk are little-endian; the text counts in sectors of 512 bytes, what is returned in bytes.
Nothing here opens or writes anything. Whatever is read, only StrataError is raised.
"""

import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from chains.core.errors import StrataError
from chains.core.lvm_config import parse
from chains.core.lvm_group import VolumeGroup, group_of

SECTOR = 512
LABEL_SECTORS = 4  # the label lies in one of them
LABEL_BYTES = LABEL_SECTORS * SECTOR
MDA_HEADER = 512
# A volume group of some two thousand volumes takes less than two of them.
MAX_TEXT = 8 * 1024**2
MAX_AREAS = 16
TRIES = 2

_LABEL = struct.Struct("<8sQII8s")
_PV = struct.Struct("<32sQ")
_AREA = struct.Struct("<QQ")
_MDA = struct.Struct("<I16sIQQ")
_LOCATION = struct.Struct("<QQII")
_LABEL_ID, _LABEL_TYPE = b"LABELONE", b"LVM2 001"
_MDA_MAGIC = b" LVM2 x[5A%r0N*>"
_LOCATIONS = 4
_IGNORED = 1  # raw_locn.flags
_CRC_START = 0xF597A6CF
_ALL = 0xFFFFFFFF
_UUID = re.compile(r"[0-9A-Za-z!#]{32}\Z")
_UUID_PARTS = (6, 4, 4, 4, 4, 4, 6)

Read = Callable[[int, int], bytes]  # (length, offset), as `Source.pread`


class Area(NamedTuple):
    """A part of the device; a size of 0 is "up to the end" (of data areas)."""

    offset: int
    size: int


class Label(NamedTuple):
    """What the label says of its device. `uuid` is written with hyphens, as the tools do."""

    uuid: str
    device_size: int
    data_areas: tuple[Area, ...]
    metadata_areas: tuple[Area, ...]


class Location(NamedTuple):
    """Where the text of the group lies: `offset` counts from the start of the metadata area."""

    offset: int
    size: int
    checksum: int
    ignored: bool


class MdaHeader(NamedTuple):
    """The header of a metadata area; `committed` is None while it holds no text."""

    area: Area
    committed: Location | None

    @property
    def free(self) -> int:
        """Bytes by which the text may grow: its old and its new state must both fit in.

        In whole sectors, less one for the alignment of the text, as `vgs -o vg_mda_free` has it.
        """
        used = self.committed.size if self.committed else 0
        room = (self.area.size - MDA_HEADER) // 2 - SECTOR
        return max(0, room - used) // SECTOR * SECTOR

    def pieces(self) -> list[Area]:
        """Where the committed text lies on the device: in one piece, or around the buffer's end."""
        if self.committed is None:
            return []
        start, size = self.committed.offset, self.committed.size
        first = min(size, self.area.size - start)
        found = [Area(self.area.offset + start, first)]
        if first < size:
            found.append(Area(self.area.offset + MDA_HEADER, size - first))
        return found


class PhysicalContent(NamedTuple):
    """What one device says. `group` is None when its metadata areas hold none, or are not in use.

    `mda_size` and `mda_free` are of its smallest area that is in use, 0 when there is none. `problem`
    says what is wrong with an area that could not be read.
    """

    label: Label
    group: VolumeGroup | None
    mda_size: int
    mda_free: int
    problem: str = ""


def checksum(content: bytes, start: int = _CRC_START) -> int:
    """LVM2's CRC-32: the usual polynomial, but another start, and nothing is inverted."""
    return zlib.crc32(content, start ^ _ALL) ^ _ALL


def parse_label(head: bytes) -> Label:
    """Parse the first LABEL_BYTES of a device. Raises StrataError: it is no physical volume."""
    for number in range(LABEL_SECTORS):
        sector = head[number * SECTOR : (number + 1) * SECTOR]
        if len(sector) == SECTOR and sector.startswith(_LABEL_ID):
            _, told, crc, offset, kind = _LABEL.unpack_from(sector)
            if kind != _LABEL_TYPE or told != number:
                continue
            if crc != checksum(sector[20:]):
                raise StrataError(
                    "Its LVM label is damaged: the checksum is wrong. Check the device with pvck."
                )
            return _pv_header(sector, offset)
    raise StrataError("It carries no LVM label: it is no physical volume of LVM2.")


def _pv_header(sector: bytes, offset: int) -> Label:
    if not _LABEL.size <= offset <= SECTOR - _PV.size:
        raise StrataError("Its LVM label is damaged: the header lies outside of its sector.")
    uuid, device_size = _PV.unpack_from(sector, offset)
    at = offset + _PV.size
    lists: list[tuple[Area, ...]] = []
    for _ in range(2):
        areas: list[Area] = []
        while True:
            if at + _AREA.size > SECTOR or len(areas) > MAX_AREAS:
                raise StrataError("Its LVM label is damaged: a list of areas has no end.")
            area = Area(*_AREA.unpack_from(sector, at))
            at += _AREA.size
            if not area.offset:
                break
            areas.append(area)
        lists.append(tuple(areas))
    return Label(hyphenated(uuid.decode("latin-1")), device_size, lists[0], lists[1])


def hyphenated(uuid: str) -> str:
    """Write the 32 characters of an identifier as the tools do. Raises StrataError."""
    if not _UUID.match(uuid):
        raise StrataError("Its LVM label is damaged: the identifier holds other than letters.")
    parts, at = [], 0
    for length in _UUID_PARTS:
        parts.append(uuid[at : at + length])
        at += length
    return "-".join(parts)


def parse_mda_header(content: bytes, area: Area) -> MdaHeader:
    """Parse the first MDA_HEADER bytes of a metadata area. Raises StrataError when it is damaged."""
    if len(content) < MDA_HEADER:
        raise _area_damaged("the device ends before it does")
    crc, magic, version, start, size = _MDA.unpack_from(content)
    if magic != _MDA_MAGIC:
        raise _area_damaged("it does not begin like one")
    if crc != checksum(content[4:MDA_HEADER]):
        raise _area_damaged("the checksum of its header is wrong")
    if version != 1 or start != area.offset or size != area.size or size < 2 * MDA_HEADER:
        raise _area_damaged("its header tells of another area")
    offset, length, text_crc, flags = _LOCATION.unpack_from(content, _MDA.size)
    if not offset:
        return MdaHeader(area, None)
    if not MDA_HEADER <= offset < size or not 0 < length <= size - MDA_HEADER:
        raise _area_damaged("its text lies outside of it")
    return MdaHeader(area, Location(offset, length, text_crc, bool(flags & _IGNORED)))


def read_physical(read: Read) -> PhysicalContent:
    """Read one device: its label, and the newest text of its metadata areas that are in use.

    `read(length, offset)` gives bytes, fewer only at the end of the device; what it raises passes
    through. Raises StrataError when the device is no physical volume.
    """
    label = parse_label(read(LABEL_BYTES, 0))
    groups: list[VolumeGroup] = []
    rooms: list[tuple[int, int]] = []
    problem = ""
    for area in label.metadata_areas:
        try:
            found = _area(read, area)
        except StrataError as error:
            problem = str(error)
            continue
        if found is not None:
            header, group = found
            groups.append(group)
            rooms.append((area.size, header.free))
    newest = max(groups, key=lambda group: group.seqno, default=None)
    return PhysicalContent(label, newest, *min(rooms, default=(0, 0)), problem)


def _area(read: Read, area: Area) -> tuple[MdaHeader, VolumeGroup] | None:
    """Read a metadata area, once more when it is damaged: it may have been written just then."""
    for left in reversed(range(TRIES)):
        try:
            header = parse_mda_header(read(MDA_HEADER, area.offset), area)
            if header.committed is None or header.committed.ignored:
                return None
            return header, group_of(parse(_text(read, header)))
        except StrataError:
            if not left:
                raise
    return None


def _text(read: Read, header: MdaHeader) -> str:
    assert header.committed is not None
    if header.committed.size > MAX_TEXT:
        raise _area_damaged(f"its text claims {header.committed.size} bytes, more than is read")
    content = b"".join(read(piece.size, piece.offset) for piece in header.pieces())
    if len(content) < header.committed.size:
        raise _area_damaged("the device ends before its text does")
    if checksum(content) != header.committed.checksum:
        raise _area_damaged("the checksum of its text is wrong")
    return content.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _area_damaged(what: str) -> StrataError:
    return StrataError(
        f"An LVM metadata area is damaged: {what}. Somebody may be writing it just now: read it"
        " again, then check the device with pvck."
    )
