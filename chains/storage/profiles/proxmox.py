"""Images of Proxmox VE: `images/<vmid>/vm-<vmid>-disk-N.qcow2`, and what belongs to it."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from chains.core.errors import StrataError
from chains.core.findings import Finding
from chains.core.paths import reason_of
from chains.storage.profiles.types import Named, Options, Tree, owners_unread, share
from chains.storage.small_files import names_in, read_small
from chains.storage.types import Notes

# Of a snapshot as a volume chain, the frozen layer is called snap-<name>-<the disk's own name>.
_DISK = re.compile(
    r"(?:(?:.+/)?images/)?(?P<vmid>[1-9][0-9]{2,8})/"
    r"(?:snap-[^/]+-)?(?P<volume>(?P<kind>vm|base)-(?P=vmid)-(?P<label>[^/]+))"
    r"\.(?:qcow2|raw|vmdk)",
    re.DOTALL,
)
# What else such a storage may hold.
_OTHERS = re.compile(r"(?:.+/)?(?:template|dump|snippets|private|import)/.*", re.DOTALL)
_DRIVE = re.compile(r"(?:ide|sata|scsi|virtio|efidisk|tpmstate|rootfs|mp|unused)[0-9]*")
MAX_CONF = 1024**2  # bytes; /etc/pve takes no larger file
MAX_NAME = 255
MAX_VMS = 100_000


class Machine(NamedTuple):
    """A VM as its configuration says it: its name, and its drives' names by their volumes'."""

    name: str
    drives: dict[str, str]


class Proxmox:
    """Disks are called by their VM and its bus: "web1 scsi0", or "VM 101 disk-0"."""

    name = "proxmox"

    def sureness(self, paths: Sequence[str], root: str = "") -> float:
        """How many of the files it has names for."""
        return share(paths, _DISK, _OTHERS)

    def is_asked(self, options: Options) -> bool:
        """The directory of configurations."""
        return bool(options.proxmox_conf)

    def notes(self, tree: Tree) -> Named:
        """Of each file that has a VM's number in its name."""
        found = [(path, match) for path in tree.paths if (match := _DISK.fullmatch(path))]
        machines, findings = _machines(tree, {match["vmid"] for _, match in found})
        notes = {path: _note(match, machines.get(match["vmid"])) for path, match in found}
        if findings:
            # Better the name that it had than the number of a VM whose name could not be read.
            read = {path for path, match in found if match["vmid"] in machines}
            notes |= {
                path: note for path, note in tree.before.items() if path in notes.keys() - read
            }
        return Named(notes, tuple(findings))


def _note(match: re.Match[str], machine: Machine | None) -> Notes:
    vm = (machine.name if machine else "") or f"VM {match['vmid']}"
    drive = (machine.drives if machine else {}).get(match["volume"]) or match["label"]
    template = " (template)" if match["kind"] == "base" else ""
    return Notes(match["volume"], f"{vm} {drive}{template}", vm)


def _machines(tree: Tree, vmids: set[str]) -> tuple[dict[str, Machine], list[Finding]]:
    """The VMs that have a configuration in the directory that was set, by number."""
    folder = tree.options.proxmox_conf
    if not folder:
        return {}, []
    try:
        names = names_in(folder, ".conf", MAX_VMS)
    except (OSError, ValueError) as error:
        return {}, [owners_unread(folder, f"{reason_of(error)}.")]
    machines: dict[str, Machine] = {}
    findings: list[Finding] = []
    for name in names:
        vmid = name.removesuffix(".conf")
        if vmid not in vmids:
            continue
        tree.alive()
        path = os.path.join(folder, name)
        try:
            machines[vmid] = parse_conf(read_small(path, MAX_CONF))
        except FileNotFoundError:
            continue  # the VM was removed in between
        except (OSError, StrataError) as error:
            why = f"{reason_of(error)}." if isinstance(error, OSError) else str(error)
            # One is enough: where one is refused, mostly all are.
            findings = findings or [owners_unread(path, why)]
    return machines, findings


def parse_conf(data: bytes) -> Machine:
    """Read a VM's or a container's configuration, up to the sections of its snapshots.

    `scsi0: local:101/vm-101-disk-0.qcow2,size=32G`, of a linked clone
    `local:9000/base-9000-disk-0.qcow2/101/vm-101-disk-0.qcow2`.
    """
    name = ""
    drives: dict[str, str] = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        if line.startswith("["):
            break
        key, colon, value = line.partition(":")
        value = value.strip()
        if not colon or key.startswith("#"):
            continue
        if key in ("name", "hostname"):
            name = value[:MAX_NAME]
        elif _DRIVE.fullmatch(key):
            file = value.split(",", 1)[0].rpartition("/")[2]
            drives.setdefault(os.path.splitext(file)[0], key)
    return Machine(name, drives)
