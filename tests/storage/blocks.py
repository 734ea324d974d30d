"""A block domain with the classic chain in it: what the tests of its driver share."""

from pathlib import Path

from chains.core.chain import link, outdated
from chains.core.lv_rules import tag_findings
from chains.storage.ovirt_block import OvirtBlock
from project.builders.lvm import BLANK, SD, Group, record
from tests import images
from tests.images import MIB

IMAGE = "ae863f0d-0f24-41d4-b6ed-333c6634c7dc"
BASE = "0574c3f6-3d44-4cc7-98e3-6d90626dd95f"
MIDDLE = "11c4c3f6-3d44-4cc7-98e3-6d90626dd95f"
TOP = "2274c3f6-3d44-4cc7-98e3-6d90626dd95f"
SIZE = 16 * MIB
DESCRIPTION = '{"DiskAlias":"vm1_Disk1","DiskDescription":""}'


def metadata(parent: str = BLANK, **keys: object) -> bytes:
    """A record of version 5."""
    return record(**{
        "CAP": SIZE, "CTIME": 1582196150, "DESCRIPTION": DESCRIPTION, "DISKTYPE": "DATA",
        "DOMAIN": SD, "FORMAT": "COW", "GEN": 1, "IMAGE": IMAGE, "LEGALITY": "LEGAL",
        "PUUID": parent, "SEQ": 1, "TYPE": "SPARSE", "VOLTYPE": "INTERNAL", **keys,
    })  # fmt: skip


def files(folder: Path) -> list[Path]:
    """The images as qemu-img makes them, root first: raw, and two overlays."""
    images.raw(folder / BASE, SIZE, "write -P 1 0 8M", "write -P 2 12M 1M")
    images.overlay(folder / MIDDLE, BASE, "raw", "write -P 3 3M 6M", "write -z 1M 1M")
    images.overlay(folder / TOP, MIDDLE, "qcow2", "write -P 4 5M 2M", "write -P 4 14M 64k")
    return [folder / BASE, folder / MIDDLE, folder / TOP]


def domain(folder: Path, originals: list[Path], version: int = 5) -> Group:
    """A group that holds them: the base in three pieces on two devices, metadata in slots."""
    group = Group(folder, version=version)
    group.specials()
    group.volume(BASE, SIZE, 4, IMAGE, places=[(0, 60, 5), (1, 20, 7), (0, 50, 4)])
    group.volume(MIDDLE, 16 * MIB, 5, IMAGE, BASE, places=[(1, 30, 10), (1, 0, 6)])
    group.volume(TOP, 8 * MIB, 6, IMAGE, MIDDLE, places=[(0, 70, 8)])
    group.write()
    for path in originals:
        group.fill(path.name, path)
    group.slot(4, metadata(FORMAT="RAW", TYPE="PREALLOCATED"))
    group.slot(5, metadata(BASE))
    group.slot(6, metadata(MIDDLE, VOLTYPE="LEAF"))
    return group


driver = OvirtBlock()


def forest(root: str):
    listing = driver.list(root, {}, lambda: None)
    reader = driver.reader(root, listing)
    layers = {path: reader.read(path, None) for path in listing.paths}
    while stale := outdated(layers):
        layers |= {path: reader.read(path, hint) for path, hint in stale.items()}
    return link(layers, root), listing


def codes(group: Group) -> dict[str, set[str]]:
    """Findings by volume, those of the domain under ""."""
    linked, listing = forest(str(group.folder))
    found = [*linked.findings, *listing.findings, *tag_findings(linked, listing.notes)]
    return {
        path: {f.code.value for f in found if f.path == path} for path in {f.path for f in found}
    }
