"""One volume as pages and the API show it: its witnesses, who has it open, its last check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chains.core.findings import Code
from chains.core.witnesses import Seen, Table, witnesses
from chains.models import DomainKind, Finding, Scan, ScanKind, Volume

_UNKNOWN_BLOCK = (
    "a guest on another host does not show in the locks of this one, and LVs have no others"
)
_UNKNOWN_SHARED = "locks of other hosts can not be seen on this storage"
_UNKNOWN_READ = "the worker could not open the file to ask the kernel: look at its rights"


def table_of(volume: Volume, overlays: int) -> Table | None:
    """What the witnesses say of a volume; None where its header is the only one."""
    seen = Seen(
        volume.format, volume.virtual_size, volume.backing_file, overlays,
        volume.allocated is not None,
    )  # fmt: skip
    return witnesses(seen, volume.notes)


def sustained(table: Table, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The rows of a table, each with the findings that follow from it."""
    return [
        {"row": row, "findings": [found for found in findings if found.code in row.codes]}
        for row in table.rows
    ]


@dataclass(frozen=True)
class InUse:
    """Whether a process has a volume open: yes, no or unknown, and what that is worth."""

    state: bool | None
    why: str

    @property
    def word(self) -> str:
        """In one word."""
        return "unknown" if self.state is None else "yes" if self.state else "no"


def in_use(volume: Volume) -> InUse:
    """As the last scan saw it; `volume` comes with its domain."""
    if volume.in_use:
        return InUse(True, "another process had it open at the last scan, most likely a guest")
    blind = volume.domain.findings.open().filter(code=Code.IN_USE_UNKNOWN.value).exists()
    if volume.in_use is None:
        if volume.domain.kind == DomainKind.OVIRT_BLOCK:
            return InUse(None, _UNKNOWN_BLOCK)
        return InUse(None, _UNKNOWN_SHARED if blind else _UNKNOWN_READ)
    return InUse(False, f"as far as this host can tell: {_UNKNOWN_SHARED}" if blind else "")


@dataclass(frozen=True)
class Check:
    """What qemu-img check last said of a volume, and the last attempt at one.

    `is_current`: the file is, as of the last scan, the one that was checked. `running` and `failed`
    are of the last attempt.
    """

    said: Mapping[str, Any] | None
    is_current: bool
    running: Scan | None
    failed: str

    @property
    def verdict(self) -> str:
        """In a few words; "" when there is none."""
        if self.said is None:
            return ""
        bad = int(self.said.get("corruptions", 0)) + int(self.said.get("check_errors", 0))
        if bad:
            return "damaged"
        return "leaks" if self.said.get("leaks") else "sound"

    def to_json(self) -> dict[str, Any]:
        """As the API gives it; docs/wire-formats.md describes it."""
        said = {key: value for key, value in (self.said or {}).items() if key != "fingerprint"}
        return {
            "result": said or None, "verdict": self.verdict, "current": self.is_current,
            "running": self.running.pk if self.running else None, "failed": self.failed,
        }  # fmt: skip


def check_of(volume: Volume) -> Check:
    """What is known of a volume's checks."""
    said = volume.check_result or None
    last = volume.scans.filter(kind=ScanKind.CHECK).order_by("-id").first()
    running = last if last is not None and last.finished_at is None else None
    failed = last.message if last is not None and last.state in ("failed", "cancelled") else ""
    current = said is not None and said.get("fingerprint") == volume.fingerprint
    return Check(said, current, running, failed)


def check_refusal(volume: Volume) -> str:
    """Why qemu-img can not check a volume, as far as the inventory knows; "" when it can."""
    if volume.domain.kind == DomainKind.OVIRT_BLOCK:
        return "Volumes of a block domain are read only through their extents: no check."
    if volume.format != "qcow2":
        return "A raw volume has no tables that could be checked."
    return ""


def image_end(volume: Volume) -> int | None:
    """Bytes of a file or LV that its image takes, as far as it is known; None where it is not."""
    if volume.image_end is not None:
        return volume.image_end
    found = (volume.check_result or {}).get("image_end_offset")
    return found if isinstance(found, int) else None


def witnesses_json(table: Table | None) -> list[dict[str, Any]] | None:
    """The table of witnesses as the API gives it; None where there is but one."""
    if table is None:
        return None
    return [
        {
            "fact": row.name, "differs": row.differs, "authority": row.authority,
            "says": dict(zip(table.witnesses, row.says, strict=True)),
        }
        for row in table.rows
    ]  # fmt: skip
