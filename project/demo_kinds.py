"""The demo's other storage domains: one of each kind that Strata reads, small and real."""

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from project.builders import lvm, ovirt
from project.demo_domain import DemoImageError

MIB = 1024**2
DAY = 86_400.0
NFS_UUID = "275766cb-c7d8-43d6-a663-4e52160de620"
_LIBVIRT = """\
<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='{path}'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>
"""


@dataclass(frozen=True)
class Place:
    """One domain of the demo: its name, its kind, and where it lies below the demo's directory."""

    name: str
    kind: str
    path: str
    datacenter: str = ""  # as its own metadata says


PLACES = (
    Place("ovirt-nfs", "ovirt-file", f"nfs/{NFS_UUID}"),
    Place("ovirt-san", "ovirt-block", "san", "Prague"),
    Place("proxmox", "directory", "pve", "Brno"),
    Place("openstack", "directory", "nova/instances", "Brno"),
    Place("libvirt", "directory", "libvirt/images", "Lab"),
)


def build(target: Path) -> None:
    """Make all of them, unless they are there; cut off, they are made again. Raises DemoImageError."""
    if target.exists():
        return
    draft = target.with_name(target.name + ".new")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    try:
        for make in (_nfs, _san, _proxmox, _nova):
            make(draft)
        _libvirt(draft, target)
    except (subprocess.CalledProcessError, OSError) as error:
        raise DemoImageError(f"a storage domain of the demo could not be made: {error}") from None
    draft.rename(target)


def _nfs(root: Path) -> None:
    """What an oVirt data domain looks like after some years: also a template, a preview, a failed merge."""
    domain = ovirt.Domain(
        root / "nfs", 5, NFS_UUID, DESCRIPTION="production", POOL_DESCRIPTION="Prague"
    )
    domain.disk("mail_Disk1", 4, 64 * MIB)
    template = domain.template("rhel9-golden", 64 * MIB)
    for name in ("desk1_Disk1", "desk2_Disk1", "desk3_Disk1"):
        domain.from_template(template, name)
    first, _ = domain.disk("wiki_Disk1", 2, 64 * MIB, raw=False)
    domain.volume(64 * MIB, parent=first, DESCRIPTION=ovirt.described("wiki_Disk1"))
    broken = domain.disk("erp_Disk1", 3, 64 * MIB)
    broken[1].write(LEGALITY="ILLEGAL")
    small = domain.disk("cache_Disk1", 2, 64 * MIB)
    small[-1].write(CAP=32 * MIB)
    domain.remove_image(domain.volume(64 * MIB))


def _san(root: Path) -> None:
    """A volume group of oVirt's on two LUNs, which are files here: nothing of it is ever activated."""
    image, other = (ovirt.uuid5(f"san/{name}") for name in ("db", "log"))
    names = [ovirt.uuid5(f"san/{number}") for number in range(5)]
    base, middle, top, log, log_top = names
    group = lvm.Group(root / "san", extents=400)
    group.specials()
    group.volume(base, 64 * MIB, 4, image, places=[(0, 60, 20), (1, 20, 30), (0, 100, 14)])
    group.volume(middle, 24 * MIB, 5, image, base, places=[(1, 60, 24)])
    group.volume(top, 16 * MIB, 6, image, middle, places=[(0, 130, 16)])
    group.volume(log, 24 * MIB, 7, other, places=[(1, 100, 24)])
    # As a merge leaves it until the volume is gone: the tag names a parent that the metadata does not.
    group.volume(log_top, 16 * MIB, 8, other, middle, places=[(0, 160, 16)])
    group.write()
    with tempfile.TemporaryDirectory(dir=root) as place:
        folder = Path(place)
        _image(folder / base, "raw", "64M", "write -P 1 0 12M", "write -P 1 40M 4M")
        _image(folder / middle, "qcow2", "64M", "write -P 2 6M 10M", backing=(base, "raw"))
        _image(folder / top, "qcow2", "64M", "write -P 3 2M 5M", backing=(middle, "qcow2"))
        _image(folder / log, "qcow2", "64M", "write -P 4 0 16M")
        _image(folder / log_top, "qcow2", "64M", "write -P 5 1M 4M", backing=(log, "qcow2"))
        for name in names:
            group.fill(name, folder / name)
    for slot, keys in enumerate((
        {"IMAGE": image, "FORMAT": "RAW", "TYPE": "PREALLOCATED", "PUUID": ovirt.BLANK},
        {"IMAGE": image, "PUUID": base},
        {"IMAGE": image, "PUUID": middle, "VOLTYPE": "LEAF", "DESCRIPTION": ovirt.described("db_Disk1")},
        {"IMAGE": other, "PUUID": ovirt.BLANK},
        {"IMAGE": other, "PUUID": log, "VOLTYPE": "LEAF", "DESCRIPTION": ovirt.described("log_Disk1")},
    ), start=4):  # fmt: skip
        said = ovirt.volume_keys(
            5, 64 * MIB, DOMAIN=lvm.SD, CTIME=int(time.time() - (90 - 10 * slot) * DAY),
            **{"FORMAT": "COW", "VOLTYPE": "INTERNAL", **keys},
        )  # fmt: skip
        group.slot(slot, ovirt.volume_record(said).ljust(512, b"\0"))


def _proxmox(root: Path) -> None:
    images = root / "pve" / "images"
    _image(images / "9000/base-9000-disk-0.qcow2", "qcow2", "256M", "write -P 1 0 8M")
    for vm in (101, 102):
        _image(images / f"{vm}/vm-{vm}-disk-0.qcow2", "qcow2", "256M", f"write -P {vm} 8M 2M",
               backing=("../9000/base-9000-disk-0.qcow2", "qcow2"))  # fmt: skip
    _image(images / "103/snap-before-vm-103-disk-0.qcow2", "qcow2", "256M", "write -P 3 0 4M")
    _image(images / "103/vm-103-disk-0.qcow2", "qcow2", "256M", "write -P 4 2M 4M",
           backing=("snap-before-vm-103-disk-0.qcow2", "qcow2"))  # fmt: skip


def _nova(root: Path) -> None:
    instances = root / "nova" / "instances"
    used, unused = "f" * 40, "0123456789abcdef0123456789abcdef01234567"
    for name in (used, unused):
        _image(instances / "_base" / name, "raw", "64M", "write -P 1 0 8M")
    for number in range(2):
        folder = instances / ovirt.uuid5(f"nova/{number}")
        _image(folder / "disk", "qcow2", "256M", f"write -P {number + 2} 4M 2M",
               backing=(f"../_base/{used}", "raw"))  # fmt: skip


def _libvirt(root: Path, target: Path) -> None:
    images = root / "libvirt" / "images"
    _image(images / "web.qcow2", "qcow2", "256M", "write -P 1 0 8M")
    _image(
        images / "web.snap1", "qcow2", "256M", "write -P 2 4M 4M", backing=("web.qcow2", "qcow2")
    )
    _image(images / "forgotten.qcow2", "qcow2", "256M", "write -P 9 0 16M")
    path = target / "libvirt" / "images" / "web.snap1"
    text = _LIBVIRT.format(name="web", uuid=ovirt.uuid5("libvirt/web"), path=path)
    (images / "web.xml").write_text(text)


def _image(
    path: Path, image_format: str, size: str, *commands: str, backing: tuple[str, str] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = ["qemu-img", "create", "-q", "-f", image_format]
    if backing is not None:
        argv += ["-b", backing[0], "-F", backing[1]]
    _run(path.parent, [*argv, path.name, size])
    if commands:
        each = [word for command in commands for word in ("-c", command)]
        _run(path.parent, ["qemu-io", "-f", image_format, *each, path.name])
    moment = time.time() - 20 * DAY
    os.utime(path, (moment, moment))


def _run(where: Path, argv: list[str]) -> None:
    subprocess.run(argv, cwd=where, check=True, capture_output=True)
