"""Images of OpenStack's compute service: `<uuid>/disk` over `_base/<sha1>`."""

import os
import re
from collections.abc import Sequence

from chains.core.errors import StrataError
from chains.core.findings import Finding
from chains.core.paths import reason_of
from chains.storage.domain_xml import MAX_BYTES, parse_domain
from chains.storage.profiles.domains import known_domains
from chains.storage.profiles.types import Named, Options, Tree, owners_unread, share
from chains.storage.small_files import read_small
from chains.storage.types import Notes

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DISK = re.compile(
    r"(?P<folder>(?:(?:.+/)?instances/)?)(?:"
    rf"(?P<uuid>{_UUID})(?P<state>_resize|_del)?/(?P<disk>disk(?!\.info$)(?:\.[^/]+)?)"
    r"|_base/(?P<image>(?:[0-9a-f]{40}(?:_[0-9]+)?|swap_[0-9]+|ephemeral_[0-9a-z_]+)"
    r"(?P<coming>\.part|\.converted)?))",
    re.DOTALL,
)
_OTHERS = re.compile(
    rf"(?:.+/)?(?:{_UUID}(?:_resize|_del)?/.*|locks/.*|snapshots/.*|_base/.*|compute_nodes|\.nova.*)",
    re.DOTALL,
)
_DESCRIPTION = re.compile(rf"(?:.+/)?(?P<uuid>{_UUID})/libvirt\.xml", re.DOTALL)
_PASSING = {"_resize": "is kept until its resize is confirmed", "_del": "is being removed"}
_COMING = {".part": "is being downloaded", ".converted": "is being converted"}


class Nova:
    """Disks are called by their instance: "web1 disk"; what is in `_base` is the image cache."""

    name = "nova"

    def sureness(self, paths: Sequence[str], root: str = "") -> float:
        """How many of the files it has names for."""
        return share(paths, _DISK, _OTHERS)

    def is_asked(self, options: Options) -> bool:
        """No option is only for this; those of libvirt are used."""
        return False

    def notes(self, tree: Tree) -> Named:
        """Of each instance's disks, and of the image cache, which no instance owns."""
        titles, findings = _titles(tree)
        notes = {}
        for path in tree.paths:
            match = _DISK.fullmatch(path)
            if match is None:
                continue
            note = _cached(match) if match["image"] else _owned(match, titles)
            known = match["uuid"] in titles or path not in tree.before
            # Better the name that it had than a number, when the names could not be read.
            notes[path] = note if known or not findings else tree.before[path]
        return Named(notes, tuple(findings))


def _owned(match: re.Match[str], titles: dict[str, str]) -> Notes:
    uuid, disk, state = match["uuid"], match["disk"], match["state"]
    vm = titles.get(uuid) or uuid
    return Notes(f"{uuid}{state or ''}/{disk}", f"{vm} {disk}", vm, passing=_PASSING.get(state, ""))


def _cached(match: re.Match[str]) -> Notes:
    image = match["image"]
    return Notes(f"_base/{image}", f"image cache {image}", passing=_COMING.get(match["coming"], ""))


def _titles(tree: Tree) -> tuple[dict[str, str], list[Finding]]:
    """What people call each instance, by its uuid, where any description of it says so.

    Older services write `libvirt.xml` beside the disk; of the others libvirt itself keeps the words.
    """
    known = known_domains(tree, ())
    titles = {domain.uuid: domain.title for domain in known.domains if domain.title}
    failed: list[Finding] = []
    for path in tree.paths:
        match = _DESCRIPTION.fullmatch(path) if path.endswith("/libvirt.xml") else None
        if match is None:
            continue
        tree.alive()
        try:
            domain = parse_domain(read_small(os.path.join(tree.root, path), MAX_BYTES))
        except FileNotFoundError:
            continue
        except (OSError, StrataError) as error:
            why = f"{reason_of(error)}." if isinstance(error, OSError) else str(error)
            failed = failed or [owners_unread(path, why)]
            continue
        if domain is not None and domain.title:
            titles.setdefault(match["uuid"], domain.title)
    return titles, known.findings + failed
