"""Reading a domain: what has not changed since the last scan costs one look at its file."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chains.core.errors import StrataError
from chains.core.findings import Code, Finding, warning
from chains.core.forest import Forest, hints, link, outdated
from chains.core.layer import Layer
from chains.core.names import brief, display
from chains.inventory.known import Known, notes_of
from chains.storage.directory import is_image_name
from chains.storage.types import Driver, Listing, Notes, Reader

Report = Callable[[int, int], None]
# An entry of an index of the database holds 2,704 bytes.
PATH_BYTES = 2600
# How often a domain that changes as a whole meanwhile is read.
TRIES = 3


class UnreachableError(StrataError):
    """The domain can not be read; the text says why and what to do."""


class CancelledByUserError(StrataError):
    """Somebody asked for the scan to be stopped."""


@dataclass
class Reading:
    """What a scan has read: the forest, and which of its layers were read anew.

    `unseen` are volumes that the inventory knows and that could not be looked at: they stand in the
    forest as they were.
    """

    forest: Forest
    notes: Mapping[str, Notes]
    fresh: set[str]
    unseen: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    leftovers: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    unread: Sequence[str] = ()
    notes_before: Mapping[str, Notes] = field(default_factory=dict)


def read_domain(
    driver: Driver, root: str, known: Mapping[str, Known], suspects: set[str],
    report: Report | None = None,
) -> Reading:  # fmt: skip
    """Read a whole domain. `suspects` are the volumes with a finding: they are always read again.

    Raises UnreachableError, and whatever `report` raises to stop it.
    """
    before = notes_of(known.values())

    def alive() -> None:
        if report is not None:
            report(0, 0)

    try:
        for _ in range(TRIES):
            listing = driver.list(root, before, alive)
            scan = _Scan(root, driver.reader(root, listing), known, suspects, report)
            paths, findings = _short_enough(listing.paths)
            scan.look(paths, listing)
            reading = scan.finish(root, listing, findings)
            if driver.is_current(root, listing):
                reading.findings += driver.judge(reading.forest, listing)
                return reading
    except OSError as error:
        raise UnreachableError(
            f"{display(root)} can not be read ({error.strerror}): mount it, or correct the path"
        ) from error
    raise UnreachableError(
        f"{display(root)} changed each time that it was read: scan it again when the work there is done"
    )


def read_paths(
    driver: Driver, root: str, known: Mapping[str, Known], paths: Sequence[str]
) -> Reading:  # fmt: skip
    """Read some volumes of a domain again, and nothing else; raises UnreachableError."""
    try:
        if not os.path.isdir(root):
            raise UnreachableError(f"{display(root)} is not there: mount it, or correct the path")
        there = [path for path in paths if os.path.lexists(os.path.join(root, path))]
        listing = Listing(there, notes_of(known.values()))
        scan = _Scan(root, driver.reader(root, listing), known, set(there), None)
        scan.look(there, listing)
    except OSError as error:
        raise UnreachableError(f"{display(root)} can not be read ({error.strerror})") from error
    return scan.finish(root, listing, [])


class _Scan:
    """One pass over the volumes of a listing."""

    def __init__(
        self, root: str, reader: Reader, known: Mapping[str, Known], suspects: set[str],
        report: Report | None,
    ) -> None:  # fmt: skip
        self.base = f"{os.path.realpath(root)}/"
        self.reader = reader
        self.known = known
        self.suspects = suspects
        self.report = report
        self.layers: dict[str, Layer] = {}
        self.fresh: set[str] = set()
        self.unseen: set[str] = set()

    def look(self, paths: Sequence[str], listing: Listing) -> None:
        listed = set(paths)
        for number, path in enumerate(paths, 1):
            row = self.known.get(path)
            if row is None or not self._unchanged(row, listed, listing):
                self._read(path, None)
            if self.report is not None:
                self.report(number, len(paths))
        for path, row in self.known.items():
            if path not in listed and _below(path, listing.unread):
                self._keep(row)

    def _unchanged(self, row: Known, listed: set[str], listing: Listing) -> bool:
        """Whether the row still tells all that reading the volume again would tell."""
        path = row.path
        if path in self.suspects or not _leads_plainly(row, self.base, listed, listing.aliases):
            return False
        try:
            now = self.reader.fingerprint(path)
        except OSError:
            self._keep(row)
            return True
        if now is not None and not now.inode:
            self._keep(row)
            return True
        if now is None or now.to_text() != row.fingerprint:
            return False
        self.layers[path] = row.layer(now)
        return True

    def _keep(self, row: Known) -> None:
        self.layers[row.path] = row.layer()
        self.unseen.add(row.path)

    def _read(self, path: str, hint: str | None) -> None:
        layer = self.reader.read(path, hint)
        codes = () if layer.fingerprint.inode else {finding.code for finding in layer.findings}
        row = self.known.get(path)
        if Code.BACKING_MISSING in codes:
            self.layers.pop(path, None)  # it went away since it was listed
            return
        if row is not None and Code.BACKING_UNREADABLE in codes:
            # It is there, and can not be opened now: what was known of it stays.
            self.unseen.add(path)
            layer = row.layer()._replace(findings=layer.findings)
        else:
            self.fresh.add(path)
        self.layers[path] = layer

    def finish(self, root: str, listing: Listing, findings: list[Finding]) -> Reading:
        self._follow_hints()
        recorded = hints(self.layers)
        kept = {
            path: layer for path, layer in self.layers.items()
            if layer.format == "qcow2" or is_image_name(path) or path in recorded
            or layer.findings or path in listing.notes
        }  # fmt: skip
        findings += listing.findings
        findings += [_unread_finding(folder) for folder in listing.unread]
        return Reading(
            link(kept, root), listing.notes, self.fresh & set(kept), self.unseen, findings,
            listing.leftovers, listing.facts, listing.unread, notes_of(self.known.values()),
        )  # fmt: skip

    def _follow_hints(self) -> None:
        """Read again what was read as another format than its overlays of now record."""
        before, now = hints(self.known), hints(self.layers)
        for path, said in before.items():
            if path in self.layers and path not in self.fresh and now.get(path) != said:
                self._read(path, now.get(path))
        while stale := outdated(self.layers):
            for path, image_format in stale.items():
                self._read(path, image_format)


def _leads_plainly(row: Known, base: str, listed: set[str], aliases: Mapping[str, str]) -> bool:
    """Whether the backing file is where its name says, without links on the way, and listed.

    What was listed stands in folders that are no links; and a name that goes up only at its beginning
    passes through no others.
    """
    name, target = row.backing_file, row.backing_path
    if name is None or target is None:
        return name is None
    if target not in listed:
        return False
    if "/" not in name:
        folder = row.path.rpartition("/")[0]
        plain = f"{folder}/{name}" if folder else name
    elif name.startswith("/"):
        plain = name.removeprefix(base)
    else:
        down = name.split("/")
        while down and down[0] in ("..", "."):
            del down[0]
        if ".." in down:
            return False
        plain = os.path.normpath(f"{row.path.rpartition('/')[0]}/{name}").lstrip("/")
    return aliases.get(plain, plain) == target


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(not folder or path.startswith(f"{folder}/") for folder in folders)


def _short_enough(paths: Sequence[str]) -> tuple[Sequence[str], list[Finding]]:
    long = [
        path
        for path in paths
        if len(path) > PATH_BYTES // 4 and len(os.fsencode(path)) > PATH_BYTES
    ]
    if not long:
        return paths, []
    left_out = set(long)
    findings = [
        warning(
            Code.NAME_TOO_LONG, "",
            f"{len(long)} files are left out, for their paths are longer than {PATH_BYTES} bytes, the"
            f" first of them “{brief(long[0])}”: shorten the names of their folders.",
        )
    ]  # fmt: skip
    return [path for path in paths if path not in left_out], findings


def _unread_finding(folder: str) -> Finding:
    return warning(
        Code.FOLDER_UNREADABLE, folder,
        "The folder could not be read at the last scan. What was known of its volumes is shown as it"
        " was. Check the storage and the worker's rights.",
    )  # fmt: skip
