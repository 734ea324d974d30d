"""What all drivers of directories have in common: their volumes are files."""

import os
from collections.abc import Mapping

from chains.core.chain import read_chain
from chains.core.extents import ExtentMap
from chains.core.layer import Fingerprint
from chains.core.links import Chain
from chains.core.mapping import Report, read_chain_maps
from chains.storage.types import Listing, Maps, Space


class FileDriver:
    """The part of `Driver` that does not ask who made the files."""

    def is_current(self, root: str, listing: Listing) -> bool:
        """Files come and go one by one: each is what it was when it was looked at."""
        return True

    def chain(self, root: str, path: str) -> Chain:
        """The headers from a volume down to its root layer, as they are now."""
        return read_chain(root, path)

    def maps(
        self, root: str, chain: Chain, known: Mapping[str, ExtentMap], report: Report | None, *,
        written: str | None = None,
    ) -> Maps:  # fmt: skip
        """What each layer of a safe chain holds: see core.mapping.read_chain_maps."""
        return read_chain_maps(chain, known, report, written=written)

    def space(self, root: str) -> Space:
        """Of the file system below the domain; raises OSError."""
        return space(root)


# What a file that can not be looked at is known by: as the reading of it says.
NOTHING = Fingerprint(0, 0, 0, 0, 0)


def look_at(path: str) -> Fingerprint | None:
    """One look at a file; None when it is gone, NOTHING when it can not be looked at."""
    try:
        return Fingerprint.of(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return NOTHING


def space(root: str) -> Space:
    """Of the file system below a directory; raises OSError."""
    found = os.statvfs(root)
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
