"""Making the rows of a domain say what a scan has read, touching only those that changed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from chains.core.facts import stored_facts
from chains.core.layer import Layer
from chains.core.names import display
from chains.core.situation import DATA_FILE, ENCRYPTION
from chains.inventory import bulk
from chains.inventory.known import Known, stored_notes
from chains.inventory.reading import Reading
from chains.models import StorageDomain, Volume

MOST = 2**63 - 1
FACTS = (
    "path_text", "format", "virtual_size", "file_size", "on_disk", "cluster_size", "backing_file",
    "backing_format", "backing_path", "features", "header", "fingerprint", "modified", "image_end",
)  # fmt: skip
# What may change though the file does not.
AROUND = ("in_use", "allocated", "notes", "not_seen_since", "backing")
_RELINK = """
UPDATE chains_volume v SET backing_id = b.id
FROM chains_volume o LEFT JOIN chains_volume b ON b.domain_id = o.domain_id AND b.path = o.backing_path
WHERE v.id = o.id AND o.domain_id = %s AND v.backing_id IS DISTINCT FROM b.id
"""


@dataclass
class Saved:
    """The ids of a domain's volumes by path, after a save, and those that are no more."""

    ids: dict[str, int]
    gone: list[int] = field(default_factory=list)
    changed: int = 0


def features(layer: Layer) -> list[str]:
    """What a layer carries beside guest data, in the words of a refusal."""
    header = layer.header
    if header is None:
        return []
    found = []
    if header.snapshots:
        found.append(f"{header.snapshots} internal snapshot(s)")
    if header.bitmaps:
        found.append(f"{header.bitmaps} persistent bitmap(s)")
    if header.has_data_file:
        found.append(DATA_FILE)
    if header.encryption:
        found.append(ENCRYPTION)
    return found


def facts_of(layer: Layer) -> tuple[Any, ...]:
    """The columns FACTS of a volume, which follow from its layer."""
    return (
        display(layer.path), layer.format, min(layer.virtual_size, MOST), layer.file_size,
        layer.on_disk, layer.cluster_size, layer.backing_file,
        None if layer.backing_format is None else display(layer.backing_format),
        layer.backing_path, features(layer), stored_facts(layer), layer.fingerprint.to_text(),
        layer.modified, layer.end,
    )  # fmt: skip


@dataclass(frozen=True)
class _Around:
    """What rows say that does not follow from a volume's own file."""

    reading: Reading
    known: Mapping[str, Known]
    ids: Mapping[str, int]
    in_use: Mapping[str, bool | None]
    now: datetime

    def changed(self) -> dict[str, tuple[Any, ...]]:
        """The columns AROUND of all volumes that are new or read again, and of those where they differ."""
        found = {}
        reading, notes = self.reading, self.reading.notes
        for path, layer in reading.forest.layers.items():
            row = self.known.get(path)
            if row is None or path in reading.fresh:
                found[path] = self._of(layer, row)
                continue
            # Nearly all volumes pay for these few comparisons only.
            if (
                row.in_use == self.in_use.get(path, False) and row.not_seen_since is None
                and row.notes is None and path not in notes and path not in reading.unseen
                and row.backing_pk == self._backing(layer, row)
            ):  # fmt: skip
                continue
            values = self._of(layer, row)
            before = (row.in_use, row.allocated, row.notes, row.not_seen_since, row.backing_pk)
            if values != before:
                found[path] = values
        return found

    def _of(self, layer: Layer, row: Known | None) -> tuple[Any, ...]:
        backing = self._backing(layer, row)
        if row is not None and layer.path in self.reading.unseen:
            since = row.not_seen_since or self.now
            return (row.in_use, row.allocated, row.notes, since, backing)
        notes = self.reading.notes.get(layer.path)
        allocated = notes.allocated if notes else None
        return (
            self.in_use.get(layer.path, False), allocated, stored_notes(notes), None, backing
        )  # fmt: skip

    def _backing(self, layer: Layer, row: Known | None) -> int | None:
        """The row of the backing file; of one that was not read this time, the one it was."""
        if layer.backing_path is None:
            return None
        found = self.ids.get(layer.backing_path)
        if found is None and row is not None and row.backing_path == layer.backing_path:
            return row.backing_pk
        return found


def save_volumes(
    domain: StorageDomain, reading: Reading, known: Mapping[str, Known],
    in_use: Mapping[str, bool | None], now: datetime,
) -> Saved:  # fmt: skip
    """Insert, update and link the volumes; those that are gone are named, not yet deleted."""
    layers = reading.forest.layers
    new = [path for path in layers if path not in known]
    ids = {path: row.pk for path, row in known.items() if path in layers}
    ids |= zip(new, bulk.numbers(Volume, len(new)), strict=True)
    around = _Around(reading, known, ids, in_use, now).changed()
    # (Which row a row refers to is looked at when all is committed: overlays may come first.)
    bulk.insert(Volume, ("id", "domain", "path", *FACTS, *AROUND), (
        (ids[path], domain.pk, path, *facts_of(layers[path]), *around[path]) for path in new
    ))  # fmt: skip
    again = [path for path in reading.fresh if path in known]
    rewritten = list(_differing(again, ids, layers, around))
    bulk.update(Volume, (*FACTS, *AROUND), rewritten)
    moved = [
        (ids[path], *values) for path, values in around.items()
        if path in known and path not in reading.fresh
    ]  # fmt: skip
    bulk.update(Volume, AROUND, moved)
    gone = [row.pk for path, row in known.items() if path not in layers]
    return Saved(ids, gone, len(new) + len(rewritten) + len(gone))


def relink(domain: StorageDomain) -> None:
    """Tie overlays that were not read this time to backing files that are there again."""
    with connection.cursor() as cursor:
        cursor.execute(_RELINK, [domain.pk])


def _differing(
    paths: Sequence[str], ids: Mapping[str, int], layers: Mapping[str, Layer],
    around: Mapping[str, tuple[Any, ...]],
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """The rows of those volumes that were read again and now read otherwise."""
    for part in range(0, len(paths), 2000):
        few = {ids[path]: path for path in paths[part : part + 2000]}
        rows = Volume.objects.filter(pk__in=list(few)).order_by()
        for pk, *before in rows.values_list("id", *FACTS, *AROUND):
            after = (*facts_of(layers[few[pk]]), *around[few[pk]])
            if tuple(before) != after:
                yield (pk, *after)


def delete_volumes(pks: Sequence[int]) -> None:
    """Forget volumes, and what hangs on them."""
    for part in range(0, len(pks), 5000):
        Volume.objects.filter(pk__in=pks[part : part + 5000]).delete()


def held(layers: Iterable[Layer]) -> int:
    """Bytes that layers hold on disk, a file with several names once."""
    once: dict[Any, int] = {}
    for layer in layers:
        file = layer.fingerprint
        once[(file.device, file.inode) if file.inode else layer.path] = layer.on_disk
    return sum(once.values())
