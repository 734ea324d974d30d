"""What the header of a layer says, as JSON holds it and as people read it."""

from datetime import UTC, datetime
from typing import Any

from chains.core.layer import Layer
from chains.core.names import brief, portable
from chains.core.qcow2_extensions import WORDS
from chains.core.qcow2_header import FEATURES, Header
from chains.core.qcow2_tables import Bitmap, Snapshot, Tables

# The facts of one header, in the order in which they are shown.
KEYS = (
    "version", "refcount_bits", "compression", "encryption", "extended_l2", "lazy_refcounts",
    "data_file", "data_file_raw", "dirty", "corrupt", "features", "snapshot_count", "snapshots",
    "bitmap_count", "bitmaps", "extensions",
)  # fmt: skip
MASKS = ("incompatible", "compatible", "autoclear")


def header_facts(layer: Layer) -> dict[str, Any]:
    """The facts of a layer's header, its tables included; all None where there is no header."""
    if layer.header is None:
        return dict.fromkeys(KEYS)
    return _facts(layer.header, layer.tables or Tables())


def stored_facts(layer: Layer, most: int = 50) -> dict[str, Any] | None:
    """The same, cut to what a row of a database should hold: at most `most` entries, short names."""
    header = layer.header
    if header is None:
        return None
    tables = layer.tables or Tables()
    few = Tables(
        tuple(s._replace(id=brief(s.id), name=brief(s.name)) for s in tables.snapshots[:most]),
        tuple(b._replace(name=brief(b.name)) for b in tables.bitmaps[:most]),
    )
    facts = _facts(header, few)
    facts["extensions"] = facts["extensions"][:most]
    return facts


def _facts(header: Header, tables: Tables) -> dict[str, Any]:
    return {
        "version": header.version,
        "refcount_bits": header.refcount_bits,
        "compression": header.compression,
        "encryption": header.encryption,
        "extended_l2": header.extended_l2,
        "lazy_refcounts": header.lazy_refcounts,
        "data_file": None if header.data_file is None else portable(header.data_file),
        "data_file_raw": header.data_file_raw,
        "dirty": header.dirty,
        "corrupt": header.corrupt,
        "features": {
            name: [portable(feature) for feature in header.features(mask)]
            for mask, name in enumerate(MASKS)
        },
        "snapshot_count": header.snapshots,
        "snapshots": [_snapshot(snapshot) for snapshot in tables.snapshots],
        "bitmap_count": header.bitmaps,
        "bitmaps": [_bitmap(bitmap) for bitmap in tables.bitmaps],
        "extensions": [
            {"type": f"{number:#010x}", "name": WORDS.get(number), "length": length}
            for number, _, length in header.extensions.listed
        ],
    }


def _snapshot(snapshot: Snapshot) -> dict[str, Any]:
    moment = datetime.fromtimestamp(snapshot.seconds, UTC)
    part = min(snapshot.nanoseconds, 10**9 - 1) // 1000
    return {
        "id": portable(snapshot.id),
        "name": portable(snapshot.name),
        "date": moment.replace(microsecond=part).isoformat().replace("+00:00", "Z"),
        "vm_state_size": snapshot.vm_state_size,
        "disk_size": snapshot.disk_size,
    }


def _bitmap(bitmap: Bitmap) -> dict[str, Any]:
    return {
        "name": portable(bitmap.name),
        "granularity": bitmap.granularity,
        "enabled": bitmap.enabled,
        "in_use": bitmap.in_use,
    }


def notable(header: Header) -> list[str]:
    """What is not as in nearly every image, in a few words each, fit to be shown."""
    raw = ", raw" if header.data_file_raw else ""
    where = f" “{brief(header.data_file)}”" if header.data_file is not None else ""
    unknown = [
        name for mask in range(3) for name in header.features(mask) if name not in FEATURES[mask]
    ]
    words = (
        (header.corrupt, "marked as corrupt"),
        (header.dirty, "not closed in order"),
        (header.encryption, f"encrypted ({header.encryption})"),
        (header.has_data_file, f"external data file{where}{raw}"),
        (header.snapshots, _counted(header.snapshots, "internal snapshot")),
        (header.bitmaps, _counted(header.bitmaps, "bitmap")),
        (header.extended_l2, "extended L2 entries"),
        (header.lazy_refcounts, "lazy refcounts"),
        (header.compression != "zlib", f"{header.compression} compression"),
        (header.refcount_bits != 16, f"{header.refcount_bits}-bit refcounts"),
        (header.version == 2, "version 2"),
        (unknown, "unknown features: " + ", ".join(brief(name, 46) for name in unknown[:8])),
    )
    return [text for holds, text in words if holds]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
