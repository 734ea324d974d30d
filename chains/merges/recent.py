"""What happened last: merges, batches and scans in one list, as the overview shows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chains.merges.batches import batches
from chains.merges.selectors import merges
from chains.models import Merge, Scan, ScanKind


@dataclass(frozen=True)
class Happening:
    """One merge, batch of `merges`, or scan: of what, in which state, by whom ("" for Strata), when."""

    kind: str
    number: int
    subject: str
    merges: int
    domain: str
    state: str
    by: str
    at: datetime


def recent(limit: int) -> list[Happening]:
    """The newest, by when they ended or were asked for; block maps come and go by themselves."""
    found = [*_merges(limit), *_batches(limit), *_scans(limit)]
    found.sort(key=lambda happening: happening.at, reverse=True)
    return found[:limit]


def _merges(limit: int) -> Iterator[Happening]:
    for merge in merges().filter(batch=None)[:limit]:
        yield Happening(
            "undo" if merge.is_undo else "merge", merge.pk, merge.disk_name, 1, merge.domain.name,
            merge.state, _who(merge), merge.finished_at or merge.requested_at,
        )  # fmt: skip


def _batches(limit: int) -> Iterator[Happening]:
    for batch in batches()[:limit]:
        figures: Any = batch  # with what `batches` counted
        state = "running" if figures.open_count else "done"
        who = batch.requested_by.get_username() if batch.requested_by else ""
        if figures.attention_count:
            state = "attention"
        yield Happening(
            "batch", batch.pk, "", figures.merge_count, batch.domain.name, state, who,
            batch.requested_at,
        )  # fmt: skip


def _scans(limit: int) -> Iterator[Happening]:
    rows = Scan.objects.exclude(kind=ScanKind.BLOCKS).select_related(
        "domain", "volume", "requested_by"
    )
    for scan in rows.order_by("-id")[:limit]:
        subject = scan.volume.path_text if scan.volume else scan.domain.name
        yield Happening(
            scan.kind, scan.pk, subject, 0, scan.domain.name, scan.state, _who(scan),
            scan.finished_at or scan.requested_at,
        )  # fmt: skip


def _who(row: Merge | Scan) -> str:
    return row.requested_by.get_username() if row.requested_by else ""
