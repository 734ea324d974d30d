"""Any directory of images: how its volumes are listed, named and read."""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from chains.core.findings import Finding
from chains.core.forest import Forest
from chains.core.layer import Fingerprint, Layer, read_layer
from chains.core.paths import RealRoot
from chains.core.plans import KEPT, TEMPORARY
from chains.storage import profiles
from chains.storage.files import FileDriver, look_at
from chains.storage.profiles import AUTO, Options, Profile, Tree
from chains.storage.types import Listing, Notes

# Files with other names are taken for volumes only when their bytes or an overlay say so.
RAW_SUFFIXES = frozenset({".img", ".raw"})
IMAGE_SUFFIXES = RAW_SUFFIXES | {".qcow2", ".qcow", ".vmdk", ".vdi", ".vhd", ".vhdx", ".qed"}
MAX_DEPTH = 16
# Entries of one folder between two signs of life.
STRIDE = 4096
# ioctl_ficlonerange(2), linux/fs.h: _IOW(0x94, 9, int).
FICLONE = 0x40049409


def shares_blocks(root: str) -> bool:
    """Whether files of this directory can share blocks (XFS, btrfs): tried with two nameless files."""
    try:
        with _nameless(root) as source, _nameless(root) as target:
            os.write(source.fileno(), bytes(4096))
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError:
        return False
    return True


def _nameless(root: str) -> IO[bytes]:
    """A file without a name (open(2): O_TMPFILE), which is gone with its descriptor, come what may."""
    return os.fdopen(os.open(root, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "wb", 0)


def share(source: str, target: str) -> None:
    """Make `target`, which must not exist, a copy of `source` that shares its blocks; raises OSError."""
    with open(source, "rb") as old, open(target, "xb") as new:
        fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        os.fsync(new.fileno())


def is_image_name(path: str) -> bool:
    """Whether the name alone says that this is a disk image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


class Directory(FileDriver):
    """The driver of any tree of images in a file system; see `Driver`."""

    kind = "directory"

    def __init__(
        self,
        profile: str = AUTO,
        libvirt_xml: str = "",
        libvirt_uri: str = "",
        proxmox_conf: str = "",
    ) -> None:
        """`profile` is one of profiles.PROFILES by name, or "auto": the one that the tree looks like.

        `libvirt_xml` is a directory of domains' XML, `libvirt_uri` a connection to libvirt on this
        host, `proxmox_conf` a directory like /etc/pve/qemu-server. Raises StrataError for a profile
        that does not exist.
        """
        self._profile = None if profile == AUTO else profiles.named(profile)
        self._options = Options(libvirt_xml, libvirt_uri, proxmox_conf)

    def list(self, root: str, before: Mapping[str, Notes], alive: Callable[[], None]) -> Listing:
        """The regular files below `root`: each name of a file with several is listed.

        Volumes without notes are called by their paths. `facts` say which `profile` was used. Raises
        OSError when `root` can not be read, StrataError when an option can not work.
        """
        unread: dict[str, None] = {}
        leftovers: list[str] = []
        paths = tuple(_walk(root, alive, unread, leftovers))
        alive()
        profile = self._profile_of(paths, root)
        notes, findings = profile.notes(Tree(root, paths, self._options, before, alive))
        facts = {"profile": profile.name}
        return Listing(
            paths, notes, unread=tuple(unread), leftovers=leftovers, findings=findings, facts=facts
        )

    def judge(self, forest: Forest, listing: Listing) -> tuple[Finding, ...]:
        """A directory keeps no records of its volumes."""
        return ()

    def _profile_of(self, paths: tuple[str, ...], root: str) -> Profile:
        return self._profile or profiles.detect(paths, os.path.abspath(root), self._options)

    def reader(self, root: str, listing: Listing) -> "DirectoryReader":
        """Something that reads those volumes, each as it is now."""
        return DirectoryReader(root, listing)


class DirectoryReader:
    """Reads the volumes of one listing; see `Reader`."""

    def __init__(self, root: str, listing: Listing) -> None:
        self._root = RealRoot(root)
        self._root.listed(listing.paths)

    def fingerprint(self, path: str) -> Fingerprint | None:
        """One look at the file; None when it is gone.

        A file that can not be looked at has the fingerprint of a layer that can not be read.
        """
        return look_at(self._root.base + path)

    def read(self, path: str, hint: str | None) -> Layer:
        """Its header and tables, as `hint` says; never raises."""
        return read_layer(self._root, path, hint, tables=True)


def list_files(root: str) -> Iterator[str]:
    """Regular files below `root`, as paths relative to it, in a stable order.

    Symbolic links are not followed; Strata's own temporary files, and what it keeps aside for an undo,
    are passed over; a directory that vanishes or can not be read is left out. Raises OSError when
    `root` itself can not be read.
    """
    return _walk(root, lambda: None, {}, [])


def _walk(
    root: str, alive: Callable[[], None], unread: dict[str, None], leftovers: list[str]
) -> Iterator[str]:
    """Do so, and note in `unread` the folders of which not everything was seen, in `leftovers` what
    Strata itself made.

    A folder that is gone when its turn comes counts as unread too: that is also what it looks like
    when the storage goes away in the midst of a walk.
    """
    pending = [("", 0)]
    with os.scandir(root):
        pass
    while pending:
        where, depth = pending.pop()
        for entry in _entries(root, where, alive, unread):
            path = f"{where}/{entry.name}" if where else entry.name
            try:
                # The listing itself says what most entries are: no look at each of them.
                if entry.is_file(follow_symlinks=False):
                    if entry.name.startswith(TEMPORARY):
                        leftovers.append(path)
                    else:
                        yield path
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name.startswith(KEPT):
                        leftovers.append(path)
                    elif depth < MAX_DEPTH:
                        pending.append((path, depth + 1))
            except OSError:
                unread[where] = None


def _entries(
    root: str, where: str, alive: Callable[[], None], unread: dict[str, None]
) -> list[os.DirEntry[str]]:
    """What a folder holds, by name: all that was seen before an error, if there was one."""
    alive()
    entries: list[os.DirEntry[str]] = []
    try:
        with os.scandir(os.path.join(root, where)) as found:
            for entry in found:
                entries.append(entry)
                if not len(entries) % STRIDE:
                    alive()
    except OSError:
        unread[where] = None
    entries.sort(key=lambda entry: entry.name)
    return entries
