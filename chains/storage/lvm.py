"""A volume group of LVM2 and the devices that hold it: found by reading them, or by LVM's own tools.

Both ways only read: nothing is activated, locked or written, and a group on a shared device may be
in use by any number of hosts meanwhile.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

from chains.core.direct import DirectFile
from chains.core.errors import StrataError
from chains.core.lvm import PhysicalContent, read_physical
from chains.core.lvm_group import LINEAR, LogicalVolume, VolumeGroup, check_extents
from chains.core.names import brief, display
from chains.core.source import ExtentsSource, Piece
from chains.storage.lvm_tools import ask

MAX_DEVICES = 1024
DEVICES = "/dev"


@dataclass(frozen=True)
class Found:
    """A group, and where its devices are.

    `devices` leads from a physical volume's uuid to the path that it is read by; what is not in it
    is missing. `mda_size` and `mda_free` are bytes of the group's smallest metadata area in use.
    `first_pv` is the uuid of its first device, None where the order is not known. `problems` say of
    devices that could not be read why.
    """

    group: VolumeGroup
    devices: Mapping[str, str]
    mda_size: int
    mda_free: int
    first_pv: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The uuids of the physical volumes that are not there."""
        return tuple(pv.uuid for pv in self.group.pvs if pv.uuid not in self.devices)

    def lv(self, name: str) -> LogicalVolume | None:
        """One of the logical volumes, by name."""
        return self._named.get(name)

    @cached_property
    def _named(self) -> Mapping[str, LogicalVolume]:
        return {lv.name: lv for lv in self.group.lvs}


class LayoutError(StrataError):
    """A logical volume that is not linear: where its bytes are is not known here."""


class Devices:
    """The opened devices of a group: each is opened when it is first read, and closed with this."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self._opened: dict[str, DirectFile] = {}
        self._stack = ExitStack()

    def close(self) -> None:
        """Close what was opened."""
        self._opened.clear()
        self._stack.close()

    def source(self, lv: LogicalVolume) -> ExtentsSource:
        """The bytes of a logical volume; raises OSError, StrataError."""
        group = self.found.group
        check_extents(group, lv)
        starts = {pv.uuid: pv.pe_start for pv in group.pvs}
        pieces = []
        for segment in lv.segments:
            if segment.type != LINEAR:
                raise LayoutError(
                    f"The volume is laid out as {brief(segment.type)}; the volumes of a storage"
                    " domain are linear. Strata reads nothing of it."
                )
            stripe = segment.stripes[0]
            if stripe.pv not in self.found.devices or stripe.pv not in starts:
                raise StrataError(
                    f"A part of the volume lies on the physical volume {brief(stripe.pv)}, which is"
                    " not there. Connect its device, and scan again."
                )
            at = starts[stripe.pv] + stripe.start_extent * group.extent_size
            store = self._open(stripe.pv)
            pieces.append(Piece(segment.extent_count * group.extent_size, store, at))
        return ExtentsSource(pieces)

    def _open(self, uuid: str) -> DirectFile:
        if uuid not in self._opened:
            opened = DirectFile(self.found.devices[uuid])
            self._stack.callback(opened.close)
            self._opened[uuid] = opened
        return self._opened[uuid]


@contextmanager
def opened(found: Found) -> Iterator[Devices]:
    """The devices of a group, for the time of a `with` block."""
    devices = Devices(found)
    try:
        yield devices
    finally:
        devices.close()


def candidates(root: str) -> list[str]:
    """Files of a directory, and devices that it holds or links to; raises OSError, StrataError.

    A link to a file is passed over: what it leads to lies elsewhere.
    """
    found = []
    with os.scandir(root) as entries:
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False) or stat.S_ISBLK(entry.stat().st_mode):
                    found.append(entry.path)
            except OSError:  # a link that leads nowhere
                continue
            if len(found) > MAX_DEVICES:
                raise StrataError(
                    f"{display(root)} holds more than {MAX_DEVICES} files. Name a directory that"
                    " holds nothing but the physical volumes of one volume group."
                )
    return sorted(found)


def read_directory(root: str) -> Found:
    """Find the group whose physical volumes are the files (or devices) of a directory.

    The newest metadata counts, as LVM2 has it too. Raises OSError when the directory can not be
    read, StrataError when it holds no group, or several.
    """
    contents: dict[str, PhysicalContent] = {}
    problems: list[str] = []
    for path in candidates(root):
        try:
            with DirectFile(path) as file:
                contents[path] = read_physical(file.pread)
            reason = contents[path].problem
        except (OSError, StrataError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
        if reason:
            problems.append(f"{display(os.path.basename(path))}: {reason}")
    groups = [content.group for content in contents.values() if content.group is not None]
    if not groups:
        more = f" ({problems[0]})" if problems else ""
        raise StrataError(
            f"No volume group of LVM was found in {display(root)}{more}. Its files, or the devices"
            " that it links to, must be the physical volumes of one group."
        )
    newest = max(groups, key=lambda group: group.seqno)
    others = sorted({group.name for group in groups if group.uuid != newest.uuid})
    if others:
        raise StrataError(
            f"{display(root)} holds physical volumes of several volume groups"
            f" ({', '.join([newest.name, *others][:5])}). Name a directory for each."
        )
    known = {pv.uuid for pv in newest.pvs}
    devices: dict[str, str] = {}
    for path, content in contents.items():
        uuid = content.label.uuid
        if uuid in devices:
            raise StrataError(
                f"{display(path)} and {display(devices[uuid])} claim to be the same physical volume"
                f" ({uuid}): one is a copy. Take it out of the directory."
            )
        if uuid in known:
            devices[uuid] = path
    rooms = _rooms(contents.values(), newest)
    first = newest.pvs[0].uuid if newest.pvs else None
    return Found(newest, devices, *min(rooms, default=(0, 0)), first, tuple(problems))


def _rooms(contents: Iterable[PhysicalContent], newest: VolumeGroup) -> list[tuple[int, int]]:
    return [
        (content.mda_size, content.mda_free)
        for content in contents
        if content.group is not None and content.group.seqno == newest.seqno
    ]


def read_group(root: str) -> Found:
    """Find the group of a domain. `/dev/NAME` is a group that this host's tools are asked for; any
    other root is a directory of physical volumes. Raises OSError, StrataError.
    """
    folder, name = os.path.split(os.path.normpath(root))
    return Found(*ask(name)) if folder == DEVICES else read_directory(root)
