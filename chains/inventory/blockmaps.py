"""Block maps: read by workers, stored with the fingerprints that they came from, thrown away with them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from django.db import transaction

from chains.core.copies import CopyTable, cheapest, copy_table
from chains.core.errors import StrataError
from chains.core.extents import ExtentMap
from chains.core.links import Chain
from chains.core.mapping import Report
from chains.core.measure import measured
from chains.core.names import portable
from chains.core.reads import figures, resolve
from chains.inventory.drivers import driver_of
from chains.inventory.selectors import chain_of
from chains.models import BlockMap, Disk, DomainKind, Volume, VolumeMap
from chains.storage.locks import in_use


class UnsafeChainError(StrataError):
    """The chain has a finding that forbids reading it; the text is the finding's."""


def read_disk(disk: Disk, report: Report | None = None) -> None:
    """Read the disk's chain from storage and store its block map; what has not changed is not read.

    What can not be mapped is stored as the reason; raises StrataError with the same text.
    """
    try:
        _read_disk(disk, report)
    except StrataError as error:
        fingerprint = stored_fingerprint(chain_of(disk.active))
        facts = {"fingerprint": fingerprint, "error": str(error), "data": None}
        BlockMap.objects.update_or_create(disk=disk, defaults=facts)
        raise


def _read_disk(disk: Disk, report: Report | None) -> None:
    chain = safe_chain(disk.active)
    fingerprint = "\n".join(layer.fingerprint.to_text() for layer in chain.layers)
    known = known_maps(disk, chain)
    still = {
        "fingerprint": fingerprint, "error": "", "live": False, "copies__isnull": False,
        "to_copy__isnull": False,
    }  # fmt: skip
    row = BlockMap.objects.filter(disk=disk, **still).first()
    if row is not None and len(known) == len(chain.layers):
        row.save(update_fields=["read_at"])  # it is true as of now
        return
    # Nobody can tell who has a volume of a block domain open: it may be written at any time.
    live = disk.domain.kind == DomainKind.OVIRT_BLOCK or _is_written(chain)
    written = chain.layers[0].path if live else None
    maps = driver_of(disk.domain).maps(chain.root, chain, known, report, written=written)
    resolved = resolve(maps)
    copies = copy_table(maps)
    facts = {
        "fingerprint": fingerprint,
        "data": resolved.to_bytes(),
        "copies": copies.to_bytes(),
        "to_copy": cheapest(copies),
        "figures": asdict(figures(maps, resolved)),
        "error": "",
        "live": live,
    }
    fresh = {
        layer.path: found
        for layer, found in zip(chain.layers, maps, strict=True)
        if layer.path not in known
    }
    with transaction.atomic():
        store_layers(disk.active, chain, fresh)
        BlockMap.objects.update_or_create(disk=disk, defaults=facts)


def safe_chain(active: Volume) -> Chain:
    """Read the headers of a chain; raises UnsafeChainError when it is none to be mapped."""
    try:
        chain = driver_of(active.domain).chain(active.domain.path, active.path)
    except OSError as error:
        raise UnsafeChainError(f"The storage domain can not be read ({error.strerror}).") from error
    bad = [finding for finding in chain.findings if finding.severity == "critical"]
    if bad:
        raise UnsafeChainError(bad[0].detail)
    return _as_listed(chain, chain_of(active))


def _as_listed(chain: Chain, rows: Sequence[Volume]) -> Chain:
    """The chain by the names that its volumes have in the inventory: a file may have several (a template
    is linked into the directory of each disk that was made from it).
    """
    names = {tuple(row.fingerprint.split(":")[:2]): row.path for row in rows}
    layers = []
    for layer in chain.layers:
        file = layer.fingerprint
        layers.append(layer._replace(
            path=names.get((str(file.device), str(file.inode)), layer.path)
        ))  # fmt: skip
    return replace(chain, layers=tuple(layers))


def _is_written(chain: Chain) -> bool:
    """Whether another process, most likely a guest's, has the active layer open."""
    try:
        return in_use(os.path.join(chain.root, chain.layers[0].path))
    except OSError:
        return False


def stored_fingerprint(volumes: list[Volume]) -> str:
    """What a block map of these volumes, top first, is good for."""
    return "\n".join(volume.fingerprint for volume in volumes)


def known_maps(disk: Disk, chain: Chain) -> dict[str, ExtentMap]:
    """The stored extents of those layers whose files have not changed since, by path."""
    prints = {layer.path: layer.fingerprint.to_text() for layer in chain.layers}
    rows = VolumeMap.objects.filter(
        volume__domain=disk.domain, volume__path__in=list(prints)
    ).select_related("volume")
    return {
        row.volume.path: ExtentMap.from_bytes(bytes(row.data))
        for row in rows
        if row.fingerprint == prints[row.volume.path]
    }


def store_layers(active: Volume, chain: Chain, fresh: Mapping[str, ExtentMap]) -> None:
    """Store what was read of a chain's layers; raises UnsafeChainError when its rows tell another."""
    volumes = {volume.path: volume for volume in chain_of(active)}
    for layer in chain.layers:
        volume = volumes.get(layer.path)
        if volume is None or volume.backing_file != layer.backing_file:
            raise UnsafeChainError(
                "The chain has changed since the last scan: scan the domain again."
            )
        fingerprint = layer.fingerprint.to_text()
        if volume.fingerprint != fingerprint:
            # The layer was written since the scan: the row follows, or the page would ask for ever.
            Volume.objects.filter(pk=volume.pk).update(
                fingerprint=fingerprint, file_size=layer.file_size, on_disk=layer.on_disk,
                modified=layer.modified,
            )  # fmt: skip
        if layer.path in fresh:
            facts = {"fingerprint": fingerprint, "data": fresh[layer.path].to_bytes()}
            VolumeMap.objects.update_or_create(volume=volume, defaults=facts)


def stored_maps(volumes: list[Volume], *, any_age: bool = False) -> list[ExtentMap] | None:
    """The stored extents of these volumes, in their order; None when one is missing or, unless any age
    will do, out of date.
    """
    rows = {row.volume_id: row for row in VolumeMap.objects.filter(volume__in=volumes)}
    if any(volume.pk not in rows for volume in volumes):
        return None
    if not any_age and any(rows[v.pk].fingerprint != v.fingerprint for v in volumes):
        return None
    return [ExtentMap.from_bytes(bytes(rows[volume.pk].data)) for volume in volumes]


def stored_many(volumes: Iterable[Volume]) -> dict[int, ExtentMap]:
    """The stored extents of those of these volumes whose files have not changed since, by their ids."""
    prints = {volume.pk: volume.fingerprint for volume in volumes}
    return {
        row.volume_id: ExtentMap.from_bytes(bytes(row.data))
        for row in VolumeMap.objects.filter(volume__in=list(prints))
        if row.fingerprint == prints[row.volume_id]
    }


def stored_shadows(disk: Disk, volumes: Sequence[Volume]) -> dict[int, int]:
    """Bytes of each of these volumes, top first, that overlays hide, by their ids; empty when that is
    not known, or not of the layers as they are.
    """
    row = BlockMap.objects.filter(disk=disk, error="").only("figures", "fingerprint").first()
    layers = row.figures.get("layers", ()) if row is not None else ()
    if row is None or row.fingerprint != stored_fingerprint(list(volumes)):
        return {}
    if len(layers) != len(volumes):
        return {}
    return {volume.pk: part["shadowed"] for volume, part in zip(volumes, layers, strict=True)}


def stored_error(leaves: list[Volume]) -> str:
    """Why the chain of one of these could not be read when a worker tried last; "" when it could."""
    rows = BlockMap.objects.filter(disk__active__in=leaves).exclude(error="")
    return rows.values_list("error", flat=True).first() or ""


def stored_copies(row: BlockMap) -> CopyTable | None:
    """What each merge of the disk's chain copies, as it is stored, of whatever age."""
    return CopyTable.from_bytes(bytes(row.copies)) if row.copies else None


def stored_measures(disk: Disk) -> dict[str, Any] | None:
    """The figures of the stored block map, as core.measure shapes them; None when there is none yet.

    `error` says why there are none; `fresh` whether the layers are still as they were at `read_at`.
    """
    row = BlockMap.objects.filter(disk=disk).first()
    if row is None:
        return None
    volumes = chain_of(disk.active)
    facts = {
        "fresh": row.fingerprint == stored_fingerprint(volumes), "live": row.live,
        "read_at": row.read_at, "error": row.error,
    }  # fmt: skip
    table = stored_copies(row)
    if row.error or table is None or table.depth_count != len(volumes):
        return facts if row.error else None
    found = measured([portable(volume.path) for volume in volumes], row.figures, table)
    reach = dict(
        VolumeMap.objects.filter(volume__in=volumes).values_list("volume_id", "unreachable")
    )
    for volume, layer in zip(volumes, found["layers"], strict=True):
        layer["unreachable"] = reach.get(volume.pk)
    return facts | found
