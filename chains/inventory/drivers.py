"""The drivers of the kinds of storage domain: adding one is one file in `storage/` and one line here."""

import os
import stat
from collections.abc import Callable, Mapping

from chains.core.layer import Fingerprint, Layer, read_layer
from chains.core.paths import RealRoot, real_root
from chains.models import DomainKind, StorageDomain
from chains.storage import directory
from chains.storage.types import Driver, Listing, Notes, Reader, Space


class _FileReader:
    def __init__(self, root: str, listing: Listing) -> None:
        self._root: RealRoot = real_root(root)
        self._root.listed(listing.paths)

    def fingerprint(self, path: str) -> Fingerprint | None:
        try:
            status = os.lstat(self._root.base + path)
        except FileNotFoundError:
            return None
        return Fingerprint.of(status) if stat.S_ISREG(status.st_mode) else None

    def read(self, path: str, hint: str | None) -> Layer:
        return read_layer(self._root, path, hint, tables=True)


class _Directory:
    def list(self, root: str, before: Mapping[str, Notes], alive: Callable[[], None]) -> Listing:
        return Listing(list(directory.list_files(root)))

    def reader(self, root: str, listing: Listing) -> Reader:
        return _FileReader(root, listing)

    def space(self, root: str) -> Space:
        found = directory.space(root)
        return Space(found.capacity, found.free)


_DRIVERS: dict[str, Callable[[StorageDomain], Driver]] = {
    DomainKind.DIRECTORY: lambda domain: _Directory(),
}


def driver_of(domain: StorageDomain) -> Driver:
    """The driver of a domain, with the domain's options."""
    return _DRIVERS[domain.kind](domain)


def directory_driver() -> Driver:
    """One that takes a directory for what it is."""
    return _Directory()
