"""The VMs that libvirt knows: from files of XML, or from a read-only connection."""

import importlib
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from chains.core.errors import StrataError
from chains.core.findings import Finding
from chains.core.names import brief
from chains.core.paths import reason_of
from chains.storage.domain_xml import MAX_BYTES, Domain, parse_domain
from chains.storage.patience import NoAnswerError, within
from chains.storage.profiles.types import Tree, owners_unread
from chains.storage.small_files import names_in, read_small

DEFAULT_XML = "/etc/libvirt/qemu"
MAX_FILES = 100_000
# Other addresses lead to other hosts, and some of them start a program (ssh, or any other).
LOCAL = ("qemu:///", "qemu+unix:///")
PATIENCE = 60.0  # seconds for libvirt to tell all that it knows


class Known(NamedTuple):
    """The VMs, and what could not be read of them."""

    domains: list[Domain]
    findings: list[Finding]


def known_domains(tree: Tree, inside: Iterable[str]) -> Known:
    """The VMs of the options' sources, and of the files `inside` the tree.

    With neither source set, libvirt's own directory of this host is read where that is allowed.
    Raises StrataError when a connection is wanted that can never be had.
    """
    known = Known([], [])
    if tree.options.libvirt_uri:
        _from_connection(tree, known)
    folder = tree.options.libvirt_xml
    if folder or not tree.options.libvirt_uri:
        _from_folder(folder or DEFAULT_XML, tree, known, is_asked=bool(folder))
    _from_files("the tree", (os.path.join(tree.root, path) for path in inside), tree, known)
    return known


def _from_folder(folder: str, tree: Tree, known: Known, *, is_asked: bool) -> None:
    try:
        names = names_in(folder, ".xml", MAX_FILES)
    except (OSError, ValueError) as error:
        if is_asked:
            known.findings.append(owners_unread(folder, f"{reason_of(error)}."))
        return
    _from_files(folder, (os.path.join(folder, name) for name in names), tree, known)


def _from_files(place: str, paths: Iterable[str], tree: Tree, known: Known) -> None:
    """Read each file; of all that fail one finding is made."""
    failed: list[tuple[str, str]] = []
    for path in paths:
        tree.alive()
        try:
            domain = parse_domain(read_small(path, MAX_BYTES))
        except FileNotFoundError:
            continue  # the VM was undefined in between
        except StrataError as error:
            failed.append((path, str(error)))
        except OSError as error:
            failed.append((path, f"{reason_of(error)}."))
        else:
            if domain is not None:
                known.domains.append(domain)
    if failed:
        path, why = failed[0]
        more = f" (The same goes for {len(failed) - 1:,} more.)" if len(failed) > 1 else ""
        known.findings.append(owners_unread(place, f"{brief(path)}: {why}{more}"))


def _from_connection(tree: Tree, known: Known) -> None:
    uri = tree.options.libvirt_uri
    if not uri.startswith(LOCAL):
        raise StrataError(
            f"“{brief(uri)}” is no address of libvirt on this host: use qemu:///system, or"
            " qemu+unix:///system?socket=PATH."
        )
    try:
        module = importlib.import_module("libvirt")
    except ImportError as error:
        raise StrataError(
            "Asking libvirt needs its Python module, which is not installed: install"
            " libvirt-python, or give a directory of XML files instead."
        ) from error
    failed: list[str] = []
    texts: list[str] = []
    try:
        texts = within(PATIENCE, "libvirt", lambda: _descriptions(module, uri), tree.alive)
    except (_RefusedError, NoAnswerError) as error:
        failed.append(str(error))
    for text in texts:
        tree.alive()
        try:
            domain = parse_domain(text.encode())
        except (StrataError, UnicodeError) as error:
            failed.append(str(error))
        else:
            known.domains.extend([domain] if domain else [])
    if failed:
        known.findings.append(owners_unread(uri, failed[0]))


class _RefusedError(StrataError):
    """What libvirt says against being asked."""


def _descriptions(module: Any, uri: str) -> list[str]:
    """The XML of every VM. Raises _RefusedError."""
    # It would print every error to this process's own stderr.
    module.registerErrorHandler(lambda *_: None, None)
    try:
        connection = module.openReadOnly(uri)
        try:
            return list(_each(module, connection))
        finally:
            connection.close()
    except module.libvirtError as error:
        raise _RefusedError(f"{error}.") from error


def _each(module: Any, connection: Any) -> Iterator[str]:
    for domain in connection.listAllDomains(0)[:MAX_FILES]:
        try:
            yield str(domain.XMLDesc(0))
        except module.libvirtError as error:
            if error.get_error_code() != module.VIR_ERR_NO_DOMAIN:  # undefined in between
                raise
