"""Images of libvirt's VMs: who owns which file stands in the XML of each domain."""

import os
import re
from collections.abc import Iterator, Sequence

from chains.storage.domain_xml import Domain
from chains.storage.profiles.domains import known_domains
from chains.storage.profiles.types import Named, Options, Tree
from chains.storage.types import Notes

_IMAGE = re.compile(r".*\.(?:img|raw|qcow2?|vmdk|vdi|vhdx?|qed)", re.DOTALL | re.IGNORECASE)
MOST_OWNERS = 8  # of one file that are named; a shared disk has two or three


class Libvirt:
    """Disks are called by their VM and its bus: "web1 vda"."""

    name = "libvirt"

    def sureness(self, paths: Sequence[str], root: str = "") -> float:
        """Sure in libvirt's own directory; likely where XML lies beside the images."""
        xml = sum(1 for path in paths if _describes(path))
        images = sum(1 for path in paths if _IMAGE.fullmatch(path)) if xml else 0
        beside = 0.3 + 0.3 * min(1.0, xml / images) if images else 0.0
        return max(beside, 0.5 if f"{root.rstrip('/')}/".endswith("/libvirt/images/") else 0.0)

    def is_asked(self, options: Options) -> bool:
        """Either source of XML."""
        return bool(options.libvirt_xml or options.libvirt_uri)

    def notes(self, tree: Tree) -> Named:
        """Of the active layers, which are what a VM's description names."""
        known = known_domains(tree, filter(_describes, tree.paths))
        owned: dict[str, list[tuple[str, str, str]]] = {}
        for domain, path, target in _inside(tree, known.domains):
            name = domain.name or domain.uuid
            owned.setdefault(path, []).append((name, target, domain.uuid))
        notes = {path: _note(owners) for path, owners in owned.items()}
        return Named(tree.kept(notes) if known.findings else notes, tuple(known.findings))


def _describes(path: str) -> bool:
    # (Nova's libvirt.xml are many of one name: those trees have a profile of their own.)
    return path.endswith(".xml") and not path.endswith("/libvirt.xml")


def _note(owners: list[tuple[str, str, str]]) -> Notes:
    """The first VM by name stands for a disk that several share; all are named as its owners."""
    name, target, uuid = min(owners)
    vms = sorted({owner for owner, _, _ in owners})
    more = ", …" if len(vms) > MOST_OWNERS else ""
    key = f"{uuid or name}/{target}" if target else uuid or name
    return Notes(key, f"{name} {target}".strip(), ", ".join(vms[:MOST_OWNERS]) + more)


def _inside(tree: Tree, domains: list[Domain]) -> Iterator[tuple[Domain, str, str]]:
    """Each disk whose file is in the tree, with its path there."""
    listed = set(tree.paths)
    bases = {os.path.abspath(tree.root), os.path.realpath(tree.root)}
    for domain in domains:
        for disk in domain.disks:
            path = _path_of(disk.source, listed, bases)
            if path is not None:
                yield domain, path, disk.target


def _path_of(source: str, listed: set[str], bases: set[str]) -> str | None:
    """The listed path of a source. Only what claims to lie in the tree is looked up in any storage."""
    plain = os.path.normpath(source)
    for base in bases:
        prefix = f"{base.rstrip('/')}/"
        if not plain.startswith(prefix):
            continue
        if plain[len(prefix) :] in listed:
            return plain[len(prefix) :]
        try:
            real = os.path.realpath(plain)
        except (OSError, ValueError):
            return None
        for other in bases:
            inside = real.removeprefix(f"{other.rstrip('/')}/")
            if inside != real and inside in listed:
                return inside
    return None
