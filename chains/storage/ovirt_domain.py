"""The directory of one oVirt file domain: finding it, and what its own metadata says."""

import errno
import os
import stat
from itertools import islice
from typing import NamedTuple

from chains.core.findings import Code, Finding, critical, warning
from chains.core.layer import OPEN_FLAGS
from chains.core.names import brief
from chains.core.ovirt_metadata import MAX_DOMAIN, UUID, DomainMetadata, parse_domain
from chains.core.paths import reason_of

METADATA = "dom_md/metadata"
VERSIONS = (0, 2, 3, 4, 5)  # V2 is of block domains (vdsm, lib/vdsm/storage/constants.py)
MAX_DOMAINS = 1000  # below one mount point: an engine has a few


class FoundDomain(NamedTuple):
    """A domain below a mount point. Text is as it was found; `version` is None when it is not said.

    `error` says in words why nothing is known of a domain but its path and the uuid in its name.
    """

    path: str
    uuid: str
    version: int | None = None
    domain_class: str = ""  # Data, Iso, Backup
    description: str = ""
    error: str = ""


def find_domains(mount: str) -> list[FoundDomain]:
    """Look for domains one level below a mount point; the directory of a domain gives that domain.

    Follows no links below `mount`, and waits for no file that is none. Raises OSError when `mount`
    itself can not be read.
    """
    if _mode(os.path.join(mount, METADATA)) is not None:
        return [_found(mount)]
    with os.scandir(mount) as entries:
        names = (e.name for e in entries if UUID.fullmatch(e.name) and _is_folder(e))
        paths = sorted(os.path.join(mount, name) for name in islice(names, MAX_DOMAINS))
    return [_found(path) for path in paths if _mode(os.path.join(path, METADATA)) is not None]


def _found(path: str) -> FoundDomain:
    name = os.path.basename(os.path.realpath(path))
    try:
        said = read_domain(path)
    except OSError as error:
        return FoundDomain(path, name, error=reason_of(error))
    return FoundDomain(path, said.uuid or name, said.version, said.domain_class, said.description)


def read_domain(root: str) -> DomainMetadata:
    """Read `dom_md/metadata` below `root`; raises OSError."""
    folder = os.lstat(os.path.join(root, "dom_md")).st_mode
    if not stat.S_ISDIR(folder):
        raise NotADirectoryError(errno.ENOTDIR, "dom_md is no directory")
    # Merely opening some devices does something: what it is comes first.
    if not stat.S_ISREG(_mode(os.path.join(root, METADATA)) or 0):
        os.lstat(os.path.join(root, METADATA))
        raise OSError(errno.EINVAL, "it is no regular file")
    return parse_domain(read_small(os.path.join(root, METADATA), MAX_DOMAIN)[0])


def read_small(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file, but not more than one byte beyond `limit`, and what fstat says of it.

    Waits for nothing that is no regular file, and follows no link at the end. Raises OSError.
    """
    fd = os.open(path, OPEN_FLAGS)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        data = os.read(fd, limit + 1)
        return data, status
    finally:
        os.close(fd)


def domain_findings(root: str, said: DomainMetadata | OSError) -> list[Finding]:
    """Judge what `read_domain` gave, or raised, for the domain in the directory `root`."""
    if isinstance(said, OSError):
        return [
            critical(
                Code.DOMAIN_METADATA,
                "",
                f"The domain's own description, {METADATA}, can not be read ({reason_of(said)})."
                " oVirt can not use the domain without it: check the storage and the worker's"
                " rights, or restore the file.",
            )
        ]
    found = []
    if said.errors:
        found.append(
            critical(
                Code.DOMAIN_METADATA,
                "",
                f"The domain's own description, {METADATA}, is damaged: {' '.join(said.errors)}"
                " oVirt can not use the domain: restore the file from a copy.",
            )
        )
    return found + _seal_findings(said) + _name_findings(root, said)


def _seal_findings(said: DomainMetadata) -> list[Finding]:
    if said.checksum == "wrong":
        return [
            critical(
                Code.DOMAIN_METADATA,
                "",
                f"The checksum in {METADATA} is wrong: the file was edited by hand, or is damaged."
                " oVirt refuses to use the domain. Compare it with a copy; after making sure that"
                " each line is right, remove the line _SHA_CKSUM: oVirt writes a new one.",
            )
        ]
    if said.checksum == "missing" and not said.errors:
        return [
            warning(
                Code.DOMAIN_METADATA,
                "",
                f"{METADATA} has no checksum, so damage to it would go unseen. Somebody edited it:"
                " oVirt takes it as it is, and adds a checksum at its next change.",
            )
        ]
    return []


def _name_findings(root: str, said: DomainMetadata) -> list[Finding]:
    found = []
    names = {os.path.basename(root.rstrip("/")), os.path.basename(os.path.realpath(root))}
    if said.uuid and said.uuid not in names:
        found.append(
            warning(
                Code.DOMAIN_METADATA,
                "",
                f"{METADATA} says that this is the domain {brief(said.uuid)}, but the directory has"
                " another name: it is a copy, or was renamed. oVirt knows domains by the uuid in"
                " both: give Strata the directory that oVirt uses.",
            )
        )
    if said.version is not None and said.version not in VERSIONS:
        found.append(
            warning(
                Code.DOMAIN_METADATA,
                "",
                f"The domain has the format V{said.version}, which is not known here; V0 to V5 are."
                " What is read of it may be wrong: compare it with what oVirt shows.",
            )
        )
    return found


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError):
        return None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
