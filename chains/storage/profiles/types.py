"""What a profile is: it knows who made a tree of images, and so what a disk is called and who owns it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from chains.core.findings import Code, Finding, warning
from chains.core.names import brief
from chains.storage.types import Notes


@dataclass(frozen=True)
class Options:
    """Where the names of VMs are found, as an operator set it; "" is not set."""

    libvirt_xml: str = ""  # a directory of *.xml
    libvirt_uri: str = ""  # a read-only connection
    proxmox_conf: str = ""  # a directory of <vmid>.conf


@dataclass(frozen=True)
class Tree:
    """The regular files below `root`, as they were just listed, and the notes of the scan before."""

    root: str
    paths: Sequence[str]
    options: Options = Options()
    before: Mapping[str, Notes] = field(default_factory=dict)
    alive: Callable[[], None] = lambda: None

    def kept(self, notes: dict[str, Notes]) -> dict[str, Notes]:
        """The notes, and of volumes without any those of the scan before.

        For when who owns what could not be asked: names do not change because a service is down.
        """
        here = set(self.paths)
        old = {path: note for path, note in self.before.items() if path in here}
        return {**old, **notes}


class Named(NamedTuple):
    """What a profile found out. A volume without notes is called by its path."""

    notes: Mapping[str, Notes]
    findings: tuple[Finding, ...] = ()


class Profile(Protocol):
    """One way of keeping images in directories."""

    @property
    def name(self) -> str:
        """As it is set by hand."""

    def sureness(self, paths: Sequence[str], root: str = "") -> float:
        """From 0 (not such a tree) to 1, by names alone: no look at the storage."""

    def is_asked(self, options: Options) -> bool:
        """Whether an operator set an option that only such a tree has a use for."""

    def notes(self, tree: Tree) -> Named:
        """Who owns what. Raises StrataError when an option can never work."""


def share(paths: Sequence[str], disks: re.Pattern[str], others: re.Pattern[str]) -> float:
    """How much of a tree its maker's names explain: `disks` must be among them, `others` may."""
    own = 0
    strange = 0
    for path in paths:
        if disks.fullmatch(path):
            own += 1
        elif not others.fullmatch(path):
            strange += 1
    return own / (own + strange) if own else 0.0


def owners_unread(what: str, why: object) -> Finding:
    """Say of the whole domain that the names of VMs could not be had from `what`."""
    return warning(
        Code.OWNERS_UNREAD,
        "",
        f"Which VM owns which disk could not be read from {brief(what)}: {brief(str(why), 400)}"
        " Disks keep the names that they had; the chains themselves are read all the same.",
    )
