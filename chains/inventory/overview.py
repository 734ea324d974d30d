"""What somebody who comes to work wants to know first: room, wrongs, and what could be won."""

from dataclasses import dataclass

from django.db.models import Count, ExpressionWrapper, F, FloatField, Q, QuerySet, Sum

from chains.inventory import selectors
from chains.models import Disk, Finding, StorageDomain

# Wins that one batch takes; of how many domains.
WINNERS, WINNING_DOMAINS = 12, 4
WORST, ROOM = 6, 8


@dataclass(frozen=True)
class Win:
    """What merging the disks of a domain that waste most would give back, at least.

    `gain` is bytes, of `disks`; `whole` is that of all `count` disks that a merge would shrink. `refusal` says
    why Strata may not merge there, "" when it may.
    """

    domain: StorageDomain
    disks: list[Disk]
    gain: int
    count: int
    whole: int
    refusal: str


@dataclass(frozen=True)
class Attention:
    """Open findings that nobody has acknowledged, by severity; and domains that can not be read."""

    critical: int
    warning: int
    info: int
    unreachable: list[StorageDomain]
    worst: list[Finding]

    @property
    def calm(self) -> bool:
        """Whether there is nothing to see to."""
        return not (self.critical or self.warning or self.unreachable)


def fullest() -> QuerySet[StorageDomain]:
    """The domains with the least of their space free first; those that nobody has measured last."""
    share = ExpressionWrapper(F("free") * 1.0 / F("capacity"), output_field=FloatField())
    known = selectors.domains().annotate(
        share=share, rest=Q(capacity=None) | Q(free=None) | Q(capacity=0)
    )
    return known.order_by("rest", F("share").asc(nulls_last=True), "name")


def attention() -> Attention:
    """What needs somebody."""
    counts = StorageDomain.objects.aggregate(
        critical=Sum("critical_count", default=0), warning=Sum("warning_count", default=0),
        info=Sum("info_count", default=0),
    )  # fmt: skip
    worst = Finding.objects.to_see().filter(rank__lte=2).order_by("rank", "id")
    worst = worst.select_related("domain", "volume__disk", "acknowledged_by")
    unreachable = list(StorageDomain.objects.exclude(unreachable="").order_by("name"))
    return Attention(**counts, unreachable=unreachable, worst=list(worst[:WORST]))


def wins() -> list[Win]:
    """Where merging would give back most: first what Strata may merge, then the largest."""
    found = Disk.objects.filter(winnable__gt=0)
    sums = list(
        found.order_by().values("domain").annotate(count=Count("pk"), whole=Sum("winnable"))
        .order_by("-whole")
    )  # fmt: skip
    domains = StorageDomain.objects.in_bulk([row["domain"] for row in sums])
    sums.sort(key=lambda row: bool(domains[row["domain"]].forbidden))
    return [
        _win(found, domains[row["domain"]], row["count"], int(row["whole"]))
        for row in sums[:WINNING_DOMAINS]
    ]


def _win(found: QuerySet[Disk], domain: StorageDomain, count: int, whole: int) -> Win:
    disks = list(found.filter(domain=domain).order_by("-winnable", "id")[:WINNERS])
    gain = sum(disk.winnable or 0 for disk in disks)
    return Win(domain, disks, gain, count, whole, domain.forbidden)
