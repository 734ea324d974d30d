"""Planning a batch: for each disk what its merge would do, or why there is none, and the totals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from chains.core.names import portable
from chains.core.peaks import peak
from chains.core.plans import Plan, PlanError
from chains.core.scopes import Nothing, Scope
from chains.core.situation import Situation
from chains.core.states import UNFINISHED
from chains.inventory import blockmaps, selectors
from chains.inventory.asking import check
from chains.inventory.many import Families
from chains.inventory.services import UNFINISHED as SCANNING
from chains.inventory.services import request_blocks
from chains.merges import estimates
from chains.merges.choosing import Selection, missing, select_disks
from chains.merges.options import DEFAULT, Options
from chains.merges.scoped import ScopedRun, run_in
from chains.merges.services import holder_words, plan_digest, root_key
from chains.merges.situation import data_files_of, of_family, plans_of
from chains.models import BlockMap, Disk, Finding, Merge, Scan, ScanKind, StorageDomain, User
from chains.permissions import Action

# Disks whose block maps are in memory at once.
CHUNK = 25


class Verdict(StrEnum):
    """What becomes of one disk of a batch."""

    MERGE = "merge"
    NOTHING = "nothing"  # the scope joins nothing of its chain
    REFUSED = "refused"
    READING = "reading"  # its block maps are being read
    AFTER = "after"  # another disk of the batch has the same family, and comes first


@dataclass(frozen=True)
class Row:
    """One disk of a batch: its plan, or the reasons why it has none."""

    disk_id: int
    name: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    run: ScopedRun | None = None
    plan: Plan | None = None
    seconds: float | None = None

    @property
    def digest(self) -> str:
        """What stands for this disk's plan in a confirmation; "" when it is not to be merged."""
        return plan_digest(self.plan) if self.plan and self.verdict is Verdict.MERGE else ""

    def to_json(self) -> dict[str, Any]:
        """For scripts, and for the record of the batch; sizes in bytes."""
        plan, run = self.plan, self.run
        return {
            "disk": self.disk_id, "name": self.name, "verdict": self.verdict.value,
            "reasons": list(self.reasons), "note": run.note if run else "",
            "base_text": run.base.path_text if run else None,
            "top_text": run.top.path_text if run else None,
            "layers": len(plan.layers) if plan else None,
            "strategy": plan.strategy if plan else None,
            "bytes_to_copy": plan.bytes_to_copy if plan else None,
            "bytes_written": plan.bytes_written if plan else None,
            "space_needed": plan.space_needed if plan else None,
            "space_won": plan.space_won if plan else None,
            "restore_points": [portable(path) for path in plan.restore_points] if plan else [],
            "seconds": self.seconds, "digest": self.digest,
        }  # fmt: skip


@dataclass(frozen=True)
class Totals:
    """Of all merges of a batch; bytes, and seconds as if they ran one after another (None: unknown).

    `space_needed` is the room at the peak, never too little; see core.peaks.
    """

    disks: int
    merges: int
    bytes_to_copy: int
    bytes_written: int
    space_needed: int
    space_free: int | None
    space_won: int
    restore_points: int
    seconds: float | None

    @property
    def fits(self) -> bool:
        """Whether there is room for all of them; not known is not short."""
        return self.space_free is None or self.space_needed <= self.space_free


@dataclass(frozen=True)
class BatchPlan:
    """The plan of a batch."""

    domain: StorageDomain
    scope: Scope
    rows: tuple[Row, ...]

    @property
    def merges(self) -> list[Row]:
        """The disks that would be merged."""
        return [row for row in self.rows if row.verdict is Verdict.MERGE]

    @property
    def left_out(self) -> list[Row]:
        """The others, each with its reasons."""
        return [row for row in self.rows if row.verdict is not Verdict.MERGE]

    @property
    def totals(self) -> Totals:
        """Sums over the merges."""
        plans = [row.plan for row in self.merges if row.plan is not None]
        seconds = [row.seconds for row in self.merges]
        known = [value for value in seconds if value is not None]
        return Totals(
            len(self.rows), len(plans), sum(plan.bytes_to_copy or 0 for plan in plans),
            sum(plan.bytes_written or 0 for plan in plans),
            peak(plans, self.domain.merges_at_once), self.domain.free,
            sum(plan.space_won or 0 for plan in plans),
            sum(len(plan.restore_points) for plan in plans),
            sum(known) if len(known) == len(seconds) else None,
        )  # fmt: skip

    @property
    def confirmation(self) -> dict[int, str]:
        """The digest of each merge by its disk: what a confirmed batch is held to."""
        return {row.disk_id: row.digest for row in self.merges}

    def to_json(self) -> dict[str, Any]:
        """For scripts, and for the record of the batch."""
        totals = self.totals
        return {
            "domain": self.domain.pk, **self.scope.to_json(), "words": self.scope.words,
            "totals": {**totals.__dict__, "fits": totals.fits},
            "rows": [row.to_json() for row in self.rows],
        }  # fmt: skip


def plan_batch(
    domain: StorageDomain, selection: Selection, scope: Scope, user: User | None, *,
    options: Options = DEFAULT, ask: bool = True,
) -> BatchPlan:  # fmt: skip
    """Plan a scope on many disks; with `ask`, workers read the block maps that are missing.

    Raises NotAllowedError, BadRequestError.
    """
    check(user, Action.VIEW)
    disks = select_disks(domain, selection)
    rows = list(_Planner(domain, disks, scope, options).rows(disks))
    gone = ("There is no such disk in this domain (any more).",)
    rows += [Row(pk, f"disk {pk}", Verdict.REFUSED, gone) for pk in missing(domain, selection)]
    if ask:
        _ask(disks, [row.disk_id for row in rows if row.verdict is Verdict.READING], user)
    return BatchPlan(domain, scope, tuple(rows))


def _ask(disks: Sequence[Disk], wanted: Sequence[int], user: User | None) -> None:
    """Have workers read these disks, unless they have been asked already."""
    asked = Scan.objects.filter(kind=ScanKind.BLOCKS, disk__in=wanted, state__in=SCANNING)
    left = set(wanted) - set(asked.values_list("disk_id", flat=True))
    for disk in disks:
        if disk.pk in left:
            request_blocks(disk, user)


class _Planner:
    """The facts that all disks of a batch share, each read once."""

    def __init__(
        self, domain: StorageDomain, disks: Sequence[Disk], scope: Scope, options: Options
    ) -> None:
        self.domain, self.scope, self.options = domain, scope, options
        self.families = Families(disk.active_id for disk in disks)
        volumes = list(self.families.by_pk.values())
        self.critical: dict[int, list[Finding]] = {}
        for finding in selectors.findings_of(volumes).filter(severity="critical"):
            self.critical.setdefault(finding.volume_id or 0, []).append(finding)
        self.data_files = data_files_of(domain)
        errors = BlockMap.objects.filter(disk__active__in=volumes).exclude(error="")
        self.errors = dict(errors.values_list("disk__active_id", "error"))
        self.holders = _holders(domain)
        self.speeds = estimates.remembered(domain)
        self.situations: dict[str, Situation] = {}
        self.taken: dict[str, str] = {}  # family → the disk of the batch that comes first

    def rows(self, disks: Sequence[Disk]) -> Iterator[Row]:
        """A row for each disk, in their order."""
        pending = iter(disks)
        while chunk := list(islice(pending, CHUNK)):
            runs = [(disk, self._run(disk)) for disk in chunk]
            below = {
                volume.pk: volume
                for _, run in runs if isinstance(run, ScopedRun)
                for volume in self.families.chain(run.top.pk)
            }  # fmt: skip
            self.maps = blockmaps.stored_many(below.values())
            for disk, run in runs:
                if isinstance(run, Nothing):
                    yield Row(disk.pk, disk.name, Verdict.NOTHING, (run.reason,))
                else:
                    yield self._row(disk, run)

    def _run(self, disk: Disk) -> ScopedRun | Nothing:
        return run_in(self.families.chain(disk.active_id), self.families.overlay_count, self.scope)

    def _row(self, disk: Disk, run: ScopedRun) -> Row:
        key = root_key(self.families.chain(run.top.pk)[-1])
        if key in self.holders:
            return Row(disk.pk, disk.name, Verdict.REFUSED, (holder_words(self.holders[key]),), run)
        if key in self.taken:
            why = (
                f"It shares layers with {self.taken[key]}, which comes first: plan it again when that"
                " merge has ended."
            )
            return Row(disk.pk, disk.name, Verdict.AFTER, (why,), run)
        try:
            ways = self._plans(key, run)
        except PlanError as error:
            return Row(disk.pk, disk.name, Verdict.REFUSED, (str(error),), run)
        plan = ways[0]
        if not plan.refusals:
            self.taken[key] = disk.name
            seconds = estimates.seconds(plan, self.options, self.domain, self.speeds)
            return Row(disk.pk, disk.name, Verdict.MERGE, (), run, plan, seconds)
        reasons: list[list[str]] = [
            [r.text for r in way.refusals if r.code != "not-read"] for way in ways
        ]
        if not all(reasons):
            reading = ("A worker reads its block map now: the plan follows by itself.",)
            return Row(disk.pk, disk.name, Verdict.READING, reading, run)
        nearest: list[str] = min(reasons, key=len)  # the way that is nearest to open
        return Row(disk.pk, disk.name, Verdict.REFUSED, tuple(nearest), run)

    def _plans(self, key: str, run: ScopedRun) -> list[Plan]:
        """Every way, the best first; raises PlanError."""
        chain = self.families.chain(run.top.pk)
        held = [self.maps.get(volume.pk) for volume in chain]
        maps = [found for found in held if found is not None]
        whole = maps if len(maps) == len(chain) else None
        leaves = self.families.leaves_above(run.top) if whole is None else []
        why = next((self.errors[leaf.pk] for leaf in leaves if leaf.pk in self.errors), "")
        return plans_of(self._situation(key, run), run.base, run.top, whole, why)

    def _situation(self, key: str, run: ScopedRun) -> Situation:
        if key not in self.situations:
            family = self.families.family(run.top)
            critical = [f for volume in family for f in self.critical.get(volume.pk, ())]
            self.situations[key] = of_family(self.domain, family, critical, self.data_files)
        return self.situations[key]


def _holders(domain: StorageDomain) -> Mapping[str, Merge]:
    """The unfinished merges of the domain by the families that they hold."""
    rows = domain.merges.filter(state__in=[state.value for state in UNFINISHED])
    found: dict[str, Merge] = {}
    for merge in rows.select_related("requested_by").defer("plan", "picture", "top_before"):
        found[merge.family] = merge
        if merge.other_family:
            found[merge.other_family] = merge
    return found
