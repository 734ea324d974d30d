"""Asking LVM's own tools for a volume group, in the one way that changes nothing.

`--readonly` takes no lock and writes nothing; `--driverloaded n` keeps away from device-mapper, so
that it works without it, and nothing can be activated. Facts: lvm(8), lvmreport(7), lvm.conf(5).
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from chains.core.errors import StrataError
from chains.core.lvm_group import (
    MAX_STRIPES,
    LogicalVolume,
    PhysicalVolume,
    Segment,
    Stripe,
    VolumeGroup,
    checked_name,
    joined,
)
from chains.core.names import brief
from chains.qemu.command import Result, run

TRIES = 2
TIMEOUT = 60.0
# Two thousand volumes of a few segments each take about a MiB.
OUTPUT_CAP = 64 * 1024**2
# The host's own filters leave out the LUNs of domains; what it remembers of devices may be old.
CONFIG = (
    'devices { filter=["a|.*|"] global_filter=["a|.*|"] hints="none" use_devicesfile=0'
    ' obtain_device_list_from_udev=0 write_cache_state=0 preferred_names=["^/dev/mapper/"] }'
    ' report { time_format="%s" }'
)
_OPTIONS = (
    "--readonly", "--driverloaded", "n", "--config", CONFIG, "--reportformat", "json",
    "--units", "b", "--nosuffix",
)  # fmt: skip
_GROUP = "vg_name,vg_uuid,vg_seqno,vg_extent_size,vg_tags,vg_mda_size,vg_mda_free,vg_free_count"
_DEVICES = "pv_name,pv_uuid,pe_start,pv_pe_count,dev_size,pv_missing,pv_tags,vg_seqno"
_VOLUMES = "lv_name,lv_uuid,lv_tags,lv_time,seg_start_pe,seg_size_pe,seg_pe_ranges,segtype,vg_seqno"

Row = Mapping[str, Any]


class Answer(NamedTuple):
    """A group as the tools tell of it: its devices by uuid, and its metadata area, in bytes."""

    group: VolumeGroup
    devices: Mapping[str, str]
    mda_size: int
    mda_free: int


def ask(name: str) -> Answer:
    """Ask for the group `name`; of a group that changes meanwhile, again. Raises StrataError.

    Blocks for as long as the tools take. Nothing tells the order of its devices.
    """
    checked_name(name)
    for _ in range(TRIES + 1):
        groups = _rows("vg", ["vgs", *_OPTIONS, "-o", _GROUP, name])
        if len(groups) != 1:
            raise StrataError(
                f"LVM knows {len(groups)} volume groups named {brief(name)} on this host; one is"
                " expected. Check the connection of its LUNs with vgs and pvs."
            )
        devices = _rows("pv", ["pvs", *_OPTIONS, "-o", _DEVICES, "-S", f"vg_name={name}"])
        volumes = _rows("lv", ["lvs", "-a", *_OPTIONS, "-o", _VOLUMES, name])
        seqnos = {_number(row, "vg_seqno") for row in (*groups, *devices, *volumes)}
        if len(seqnos) == 1:
            return _answer(groups[0], devices, volumes)
    raise StrataError(
        f"The volume group {brief(name)} changed whenever it was read: oVirt is at work on it. Scan"
        " it again when its tasks have ended."
    )


def _answer(group: Row, devices: Sequence[Row], volumes: Sequence[Row]) -> Answer:
    pvs = tuple(_device(row) for row in devices)
    present = {
        _text(row, "pv_uuid"): _text(row, "pv_name")
        for row in devices
        if not _text(row, "pv_missing") and _text(row, "pv_name").startswith("/")
    }
    uuids = {path: uuid for uuid, path in present.items()}
    gone = [pv.uuid for pv in pvs if pv.uuid not in present]
    if len(gone) == 1:  # of several, the tools do not tell one from another
        uuids[_text(next(row for row in devices if row["pv_uuid"] == gone[0]), "pv_name")] = gone[0]
    by_name: dict[str, list[Row]] = {}
    for row in volumes:
        by_name.setdefault(_text(row, "lv_name").strip("[]"), []).append(row)
    lvs = tuple(_volume(name, rows, uuids) for name, rows in by_name.items())
    extent_size = _number(group, "vg_extent_size")
    found = VolumeGroup(
        _text(group, "vg_name"), _text(group, "vg_uuid"), _number(group, "vg_seqno"), extent_size,
        _tags(group, "vg_tags"), pvs, lvs, (), _number(group, "vg_free_count"),
    )  # fmt: skip
    return Answer(found, present, _number(group, "vg_mda_size"), _number(group, "vg_mda_free"))


def _device(row: Row) -> PhysicalVolume:
    return PhysicalVolume(
        _text(row, "pv_uuid"), _text(row, "pv_name"), (), _tags(row, "pv_tags"),
        _number(row, "dev_size"), _number(row, "pe_start"), _number(row, "pv_pe_count"),
    )  # fmt: skip


def _volume(name: str, rows: Sequence[Row], uuids: Mapping[str, str]) -> LogicalVolume:
    """Join the rows of one volume: the tools print one for each segment."""
    first = rows[0]
    segments = [
        Segment(
            _number(row, "seg_start_pe"), _number(row, "seg_size_pe"), _text(row, "segtype"),
            tuple(_stripes(_text(row, "seg_pe_ranges"), uuids)),
        )
        for row in rows
    ]  # fmt: skip
    time = _text(first, "lv_time")
    created = int(time) if time.isascii() and time.isdigit() and len(time) < 19 else 0
    return LogicalVolume(
        checked_name(name), _text(first, "lv_uuid"), _tags(first, "lv_tags"), (),
        joined(segments, name), created,
    )  # fmt: skip


def _stripes(ranges: str, uuids: Mapping[str, str]) -> list[Stripe]:
    """Take `/dev/sda:4-9 /dev/sdb:0-5` apart."""
    found = []
    for part in ranges.split()[: MAX_STRIPES + 1]:
        place, _, extents = part.rpartition(":")
        start = extents.partition("-")[0]
        if not place or not (start.isascii() and start.isdigit() and len(start) < 11):
            raise _nonsense(f"“{brief(part)}” for a place")
        found.append(Stripe(uuids.get(place, place), int(start)))
    return found


def _rows(kind: str, argv: Sequence[str]) -> Sequence[Row]:
    """Run a reporting tool; what it printed of `kind`. A failure is tried once more."""
    said = ""
    for _ in range(TRIES):
        result = _run(argv)
        rows = _parsed(kind, result.stdout) if result.returncode == 0 else None
        if rows is not None:
            return rows
        said = result.warnings.replace("\n", "; ")
    raise StrataError(
        f"{argv[0]} could not tell of the volume group ({brief(said or 'it printed nothing', 400)})."
        " Check that its LUNs are connected to this host, and that the worker may read them."
    )


def _parsed(kind: str, output: bytes) -> Sequence[Row] | None:
    try:
        rows = json.loads(output.decode("utf-8", "surrogateescape"))["report"][0][kind]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return rows


def _run(argv: Sequence[str]) -> Result:
    """Run it from a thread, with an event loop or without one."""

    async def running() -> Result:
        return await run(argv, cwd="/", timeout=TIMEOUT, output_cap=OUTPUT_CAP)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(running())
    with ThreadPoolExecutor(1, "lvm") as thread:  # this thread's loop can not wait for itself
        return thread.submit(asyncio.run, running()).result()


def _text(row: Row, key: str) -> str:
    found = row.get(key)
    if not isinstance(found, str):
        raise _nonsense(f"no “{key}”")
    return found


def _number(row: Row, key: str) -> int:
    found = _text(row, key)
    if not (found.isascii() and found.isdigit() and len(found) < 19):
        raise _nonsense(f"“{brief(found)}” for “{key}”")
    return int(found)


def _tags(row: Row, key: str) -> tuple[str, ...]:
    return tuple(sorted(tag for tag in _text(row, key).split(",") if tag))


def _nonsense(what: str) -> StrataError:
    return StrataError(
        f"The tools of LVM printed {what}, which is not understood. Update lvm2 on this host, or"
        " name a directory that links to the devices of the group instead."
    )
