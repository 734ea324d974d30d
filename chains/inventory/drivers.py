"""The drivers of the kinds of storage domain: adding one is one file in `storage/` and one line here."""

from collections.abc import Callable

from chains.models import DomainKind, StorageDomain
from chains.storage.directory import Directory
from chains.storage.ovirt_block import OvirtBlock
from chains.storage.ovirt_file import OvirtFileDriver
from chains.storage.types import Driver

# What may be set for the driver of a directory: the arguments of its constructor, by name.
OPTIONS = ("libvirt_xml", "libvirt_uri", "proxmox_conf")
FOLDERS = frozenset({"libvirt_xml", "proxmox_conf"})

_DRIVERS: dict[str, Callable[[StorageDomain], Driver]] = {
    DomainKind.DIRECTORY: lambda domain: Directory(domain.profile, **_options(domain)),
    DomainKind.OVIRT_FILE: lambda domain: OvirtFileDriver(),
    DomainKind.OVIRT_BLOCK: lambda domain: OvirtBlock(),
}


def driver_of(domain: StorageDomain) -> Driver:
    """The driver of a domain, with the domain's options. Raises StrataError for one that is none."""
    return _DRIVERS[domain.kind](domain)


def directory_driver() -> Driver:
    """One that takes a directory for what it is."""
    return Directory("plain")


def _options(domain: StorageDomain) -> dict[str, str]:
    return {name: str(domain.options[name]) for name in OPTIONS if name in domain.options}
