"""Stored maps unpacked for a page: whoever zooms asks for the same ones again and again."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from chains.core.extents import ExtentMap
from chains.core.reads import ReadMap
from chains.inventory import blockmaps
from chains.models import BlockMap, Volume, VolumeMap

# Together they may take this much memory in a web process; the last one is always kept.
MAX_BYTES = 64 * 1024**2
# Starts, lengths, owners, kinds; and of a layer starts, lengths, kinds and what it is summed up with.
_RESOLVED_BYTES, _LAYER_BYTES = 19, 41


@dataclass(frozen=True, eq=False)
class DiskView:
    """A disk's resolved map and the extents of its layers, active layer first."""

    resolved: ReadMap
    maps: list[ExtentMap]

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        held = sum(len(layer.starts) for layer in self.maps)
        return len(self.resolved.starts) * _RESOLVED_BYTES + held * _LAYER_BYTES


# What a view was unpacked from: the block map and its moment, each layer's map and its fingerprint.
_Key = tuple[int, datetime, tuple[tuple[int, str], ...]]


class RecentViews:
    """The views that were asked for last; safe to be asked by several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._views: OrderedDict[_Key, DiskView] = OrderedDict()

    def get(self, key: _Key) -> DiskView | None:
        """The view of this key, now the most recent one; None when it is not held."""
        with self._lock:
            if key in self._views:
                self._views.move_to_end(key)
            return self._views.get(key)

    def put(self, key: _Key, view: DiskView) -> None:
        """Hold a view, and let go of the oldest that there is no room for."""
        with self._lock:
            self._views[key] = view
            self._views.move_to_end(key)
            while (
                len(self._views) > 1 and sum(v.size for v in self._views.values()) > self._max_bytes
            ):
                self._views.popitem(last=False)


_recent = RecentViews(MAX_BYTES)


def disk_view(row: BlockMap, volumes: list[Volume]) -> DiskView | None:
    """The stored view of a disk, of whatever age; None when a part of it is missing.

    `row` may have come without its data; `volumes` are the disk's chain, top first.
    """
    held = VolumeMap.objects.filter(volume__in=volumes).values_list("volume_id", "fingerprint")
    key = (row.pk, row.read_at, tuple(sorted(held)))
    if (view := _recent.get(key)) is not None:
        return view
    maps = blockmaps.stored_maps(volumes, any_age=True)
    if maps is None or not row.data:
        return None
    view = DiskView(ReadMap.from_bytes(bytes(row.data)), maps)
    _recent.put(key, view)
    return view
