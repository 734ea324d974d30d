"""A storage domain as the planner sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

# Features of a volume that keep every tool off each chain that holds it: nobody but the layer itself
# says where its data lives, or Strata has no key to it.
DATA_FILE = "an external data file"
ENCRYPTION = "encryption"


@dataclass(frozen=True)
class PlanVolume:
    """What the planner needs to know of one volume; sizes in bytes, paths relative to the root."""

    path: str
    format: str
    virtual_size: int
    on_disk: int
    cluster_size: int | None
    backing_path: str | None
    features: tuple[str, ...] = ()
    in_use: bool = False
    backing_format: str | None = "qcow2"  # as it is recorded; None: a tool would guess
    extended_l2: bool = False


@dataclass(frozen=True)
class Situation:
    """A domain as the planner sees it: its volumes, what is wrong with them, its free space."""

    volumes: Mapping[str, PlanVolume]
    critical: Mapping[str, str]  # path → what makes it unsafe
    free: int | None
    forbidden: str = ""  # why nothing may be written in the domain; "": it may
    data_files: Mapping[str, str] = field(default_factory=dict)  # path → the layer that names it
    shares_blocks: bool = False  # the file system can copy by reference
    keep_seconds: int = 0  # how long what a merge leaves whole is kept aside for an undo

    def overlays(self, path: str) -> list[str]:
        """The volumes whose backing file this is, in a stable order."""
        return list(self._overlays.get(path, ()))

    @cached_property
    def _overlays(self) -> dict[str, list[str]]:
        """A family of a template has thousands of volumes, and every rule asks who lies over whom."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.volumes):
            below = self.volumes[path].backing_path
            if below is not None:
                found.setdefault(below, []).append(path)
        return found


@dataclass(frozen=True)
class Refusal:
    """One reason why a merge can not be done, and what would help."""

    code: str
    text: str
