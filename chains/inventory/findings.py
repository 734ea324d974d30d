"""The life of a finding: it is seen, seen again, acknowledged, resolved, and may come back."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from chains.core.findings import Finding as Found
from chains.core.findings import Severity
from chains.core.names import display
from chains.inventory import audit, bulk
from chains.inventory.asking import BadRequestError, check
from chains.models import Finding, StorageDomain, User
from chains.permissions import Action

RANK = {Severity.CRITICAL: 1, Severity.WARNING: 2, Severity.INFO: 3}
SHOWN_GUESTS = 20
REASON_LIMIT = 2000
MOST_AHEAD = timedelta(days=3653)

_INSERT = (
    "id", "domain", "volume", "path", "path_text", "code", "severity", "rank", "detail", "space",
    "endangers", "endangered", "first_seen", "reason",
)  # fmt: skip
_CHANGE = ("volume", "severity", "rank", "detail", "space", "endangers", "endangered")
_COLUMNS = ("id", "path", "code", "volume_id", *_CHANGE[1:])
_COUNT = """
UPDATE chains_storagedomain SET critical_count = n.critical, warning_count = n.warning, info_count = n.info
FROM (SELECT count(*) FILTER (WHERE rank = 1) AS critical, count(*) FILTER (WHERE rank = 2) AS warning,
             count(*) FILTER (WHERE rank = 3) AS info
      FROM chains_finding WHERE domain_id = %(domain)s AND resolved_at IS NULL
        AND (acknowledged_at IS NULL OR acknowledged_until <= clock_timestamp())) n
WHERE id = %(domain)s AND (critical_count, warning_count, info_count) <> (n.critical, n.warning, n.info)
"""


class Facts(NamedTuple):
    """One finding as it is stored."""

    volume: int | None
    severity: str
    rank: int
    detail: str
    space: int | None
    endangers: list[str]
    endangered: int


def store(
    domain: StorageDomain, found: Sequence[Found], volumes: Mapping[str, int],
    guests: Mapping[str, Sequence[str]], *, now: datetime, open_rows: Sequence[tuple[Any, ...]],
) -> int:  # fmt: skip
    """Bring the open findings up to date; returns how many of them are new, came back or were resolved.

    `open_rows` are those that this scan would have found again, as `open_findings` gives them;
    `guests` names those above each path with a finding that endangers them.
    """
    wanted: dict[tuple[str, str], list[Facts]] = defaultdict(list)
    for finding in found:
        names = guests.get(finding.path, ())
        wanted[finding.path, finding.code.value].append(Facts(
            volumes.get(finding.path), finding.severity.value, RANK[finding.severity],
            display(finding.detail), finding.space, list(names[:SHOWN_GUESTS]), len(names),
        ))  # fmt: skip
    changed, gone = _pair(wanted, open_rows)
    fresh = [(*key, facts) for key, group in wanted.items() for facts in group]
    fresh, back = _come_back(domain, fresh)
    bulk.update(Finding, _CHANGE, changed)
    bulk.update(
        Finding, (*_CHANGE, "resolved_at", "last_seen"), [(*row, None, None) for row in back]
    )
    if gone:
        seen = domain.last_scan.finished_at if domain.last_scan else None
        Finding.objects.filter(pk__in=gone).update(resolved_at=now, last_seen=seen or now)
    if fresh:
        ids = bulk.numbers(Finding, len(fresh))
        rows = (
            (pk, domain.pk, facts.volume, path, display(path), code, *facts[1:], now, "")
            for pk, (path, code, facts) in zip(ids, fresh, strict=True)
        )
        bulk.insert(Finding, _INSERT, rows)
    return len(fresh) + len(back) + len(gone)


def open_findings(domain: StorageDomain) -> list[tuple[Any, ...]]:
    """The open findings of a domain: id, path, code, then the facts."""
    return list(domain.findings.open().order_by().values_list(*_COLUMNS))


def _pair(
    wanted: dict[tuple[str, str], list[Facts]], rows: Sequence[tuple[Any, ...]]
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Take out of `wanted` what is open already; returns the rows to be changed and those to be resolved.

    A volume has at most a few findings of one kind: those that say the same are paired first.
    """
    changed: list[tuple[Any, ...]] = []
    gone, left = [], []
    for pk, path, code, *stored in rows:
        alike = wanted.get((path, code), [])
        facts = Facts(*stored)
        same = next((other for other in alike if other == facts), None)
        if same is None:
            left.append((pk, (path, code)))
        else:
            alike.remove(same)
    for pk, key in left:
        if group := wanted.get(key):
            changed.append((pk, *group.pop(0)))
        else:
            gone.append(pk)
    return changed, gone


def _come_back(
    domain: StorageDomain, fresh: list[tuple[str, str, Facts]]
) -> tuple[list[tuple[str, str, Facts]], list[tuple[Any, ...]]]:
    """Those of the new findings that were there before, as changes of their old rows."""
    if not fresh or not Finding.objects.filter(domain=domain).exclude(resolved_at=None).exists():
        return fresh, []
    volumes = {facts.volume for _, _, facts in fresh if facts.volume is not None}
    resolved = Finding.objects.filter(domain=domain, resolved_at__isnull=False).order_by("id")
    rows = [
        *resolved.filter(volume__in=volumes).values_list("path", "code", "pk"),
        *resolved.filter(volume=None).values_list("path", "code", "pk"),
    ]
    before = {(path, code): pk for path, code, pk in rows}
    new, back = [], []
    for path, code, facts in fresh:
        pk = before.pop((path, code), None)
        if pk is None:
            new.append((path, code, facts))
        else:
            back.append((pk, *facts))
    return new, back


def count(domain: StorageDomain) -> None:
    """Bring the counts on the domain's row up to date: open, and not acknowledged."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"domain": domain.pk})


def acknowledge(
    finding: Finding, reason: str, until: datetime | None, user: User | None, origin: str
) -> None:
    """Note that somebody knows of a finding, until a date; raises NotAllowedError, BadRequestError."""
    check(user, Action.SCAN)
    if not reason.strip():
        raise BadRequestError("Say why: a reason is what the next one who looks at this will read.")
    if len(reason) > REASON_LIMIT:
        raise BadRequestError(f"A reason has at most {REASON_LIMIT} characters.")
    if until is None or not timedelta(0) < until - timezone.now() < MOST_AHEAD:
        raise BadRequestError(
            "Give a day in the future, within the next ten years, on which it is to be looked at again."
        )
    words = display(reason.strip())
    with transaction.atomic():
        Finding.objects.filter(pk=finding.pk).update(
            acknowledged_by=user, acknowledged_at=timezone.now(), acknowledged_until=until,
            reason=words,
        )  # fmt: skip
        _audited(
            finding, user, origin, "acknowledge finding", reason=words, until=until.isoformat()
        )


def reopen(finding: Finding, user: User | None, origin: str) -> None:
    """Take an acknowledgement back; raises NotAllowedError."""
    check(user, Action.SCAN)
    with transaction.atomic():
        Finding.objects.filter(pk=finding.pk).update(
            acknowledged_by=None, acknowledged_at=None, acknowledged_until=None, reason=""
        )
        _audited(finding, user, origin, "reopen finding")


def _audited(finding: Finding, user: User | None, origin: str, action: str, **details: Any) -> None:
    subject = f"{finding.code}: {finding.path_text or finding.domain.name}"
    audit.record(user, origin, action, subject, domain=finding.domain_id,
                 finding=finding.pk, **details)  # fmt: skip
    count(finding.domain)
