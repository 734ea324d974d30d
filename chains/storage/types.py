"""What a driver of one kind of storage domain tells a scan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from chains.core.extents import ExtentMap
from chains.core.findings import Finding
from chains.core.forest import Forest
from chains.core.layer import Fingerprint, Layer
from chains.core.links import Chain
from chains.core.mapping import Report
from chains.core.notes import Notes

__all__ = ["Driver", "Listing", "Notes", "Reader", "Space"]

Maps = list[ExtentMap]  # (a driver has a method whose name is that of lists)


@dataclass(frozen=True)
class Listing:
    """The volumes of a domain, as they were listed.

    `paths` are relative to the domain, in a stable order. A file with several names is listed once;
    `aliases` leads from each of its further names to that one. `unread` are the folders that could
    not be read: what they held is not seen, which is not gone. `leftovers` are files and folders that
    Strata itself made for its merges (core.plans: TEMPORARY, KEPT), which are no volumes. `findings` are about the domain as a
    whole (path "") and about things that are no volume.
    """

    paths: Sequence[str]
    notes: Mapping[str, Notes] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    unread: Sequence[str] = ()
    leftovers: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the domain; what JSON holds


class Space(NamedTuple):
    """Bytes of a domain, and what a writer without privileges could still use of them."""

    capacity: int
    free: int


class Reader(Protocol):
    """Reads volumes of one listing."""

    def fingerprint(self, path: str) -> Fingerprint | None:
        """What tells whether the volume is as it was, at the cost of one look; None: it is gone."""

    def read(self, path: str, hint: str | None) -> Layer:
        """Its header and tables, as `hint` ("raw", "qcow2", None for a leaf) says; never raises."""


class Driver(Protocol):
    """One kind of storage domain."""

    def list(self, root: str, before: Mapping[str, Notes], alive: Callable[[], None]) -> Listing:
        """Its volumes; `alive` is called often, and may raise to stop. Raises OSError, StrataError
        when the domain as a whole can not be read.
        """

    def reader(self, root: str, listing: Listing) -> Reader:
        """Something that reads those volumes."""

    def is_current(self, root: str, listing: Listing) -> bool:
        """Whether the listing still holds, now that its volumes have been read; raises as `list`."""

    def chain(self, root: str, path: str) -> Chain:
        """The headers from a volume down to its root layer, as they are now; raises as `list`."""

    def maps(
        self, root: str, chain: Chain, known: Mapping[str, ExtentMap], report: Report | None, *,
        written: str | None = None,
    ) -> Maps:  # fmt: skip
        """What each layer of a safe chain holds: see core.mapping.read_chain_maps."""

    def judge(self, forest: Forest, listing: Listing) -> Sequence[Finding]:
        """What the domain's own records have against the volumes, once these are linked."""

    def space(self, root: str) -> Space:
        """Raises OSError, StrataError."""
