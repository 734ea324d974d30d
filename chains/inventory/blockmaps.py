"""Block maps: read by workers, stored with the fingerprints that they came from, thrown away with them."""

from dataclasses import asdict
from datetime import UTC, datetime

from django.db import transaction

from chains.core.chain import read_chain
from chains.core.errors import StrataError
from chains.core.extents import ExtentMap
from chains.core.links import Chain
from chains.core.reads import ReadMap, figures, read_chain_maps, resolve
from chains.inventory.selectors import chain_of
from chains.models import BlockMap, Disk, Volume, VolumeMap


class UnsafeChainError(StrataError):
    """The chain has a finding that forbids reading it; the text is the finding's."""


def read_disk(disk: Disk) -> None:
    """Read the disk's chain from storage and store its block map.

    What can not be mapped is stored as the reason; raises StrataError with the same text.
    """
    try:
        _read_disk(disk)
    except StrataError as error:
        fingerprint = stored_fingerprint(chain_of(disk.active))
        facts = {"fingerprint": fingerprint, "error": str(error), "data": None}
        BlockMap.objects.update_or_create(disk=disk, defaults=facts)
        raise


def _read_disk(disk: Disk) -> None:
    chain = read_chain(disk.domain.path, disk.active.path)
    maps = _maps(disk, chain)
    resolved = resolve(maps)
    facts = {
        "fingerprint": "\n".join(layer.fingerprint.to_text() for layer in chain.layers),
        "data": resolved.to_bytes(),
        "figures": asdict(figures(maps, resolved)),
        "error": "",
    }
    with transaction.atomic():
        _store_layers(disk, chain, maps)
        BlockMap.objects.update_or_create(disk=disk, defaults=facts)


def stored_fingerprint(volumes: list[Volume]) -> str:
    """What a block map of these volumes, top first, is good for."""
    return "\n".join(volume.fingerprint for volume in volumes)


def _maps(disk: Disk, chain: Chain) -> list[ExtentMap]:
    """The extents of every layer: the stored ones while their files have not changed."""
    bad = [finding for finding in chain.findings if finding.severity == "critical"]
    if bad:
        raise UnsafeChainError(bad[0].detail)
    stored = {
        row.volume.path: row
        for row in VolumeMap.objects.filter(
            volume__domain=disk.domain, volume__path__in=[layer.path for layer in chain.layers]
        ).select_related("volume")
    }
    if all(
        layer.path in stored and stored[layer.path].fingerprint == layer.fingerprint.to_text()
        for layer in chain.layers
    ):
        return [ExtentMap.from_bytes(bytes(stored[layer.path].data)) for layer in chain.layers]
    return read_chain_maps(chain)


def _store_layers(disk: Disk, chain: Chain, maps: list[ExtentMap]) -> None:
    volumes = {volume.path: volume for volume in chain_of(disk.active)}
    for layer, extents in zip(chain.layers, maps, strict=True):
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
                modified=datetime.fromtimestamp(layer.mtime, UTC),
            )  # fmt: skip
        VolumeMap.objects.update_or_create(
            volume=volume, defaults={"fingerprint": fingerprint, "data": extents.to_bytes()}
        )


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


def stored_reads(disk: Disk) -> ReadMap | None:
    """The disk's resolved block map as it is stored, of whatever age."""
    row = BlockMap.objects.filter(disk=disk).first()
    return ReadMap.from_bytes(bytes(row.data)) if row is not None and row.data else None
