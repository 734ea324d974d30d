"""Reading the audit trail's chain: where it stands, whether a record fits its seal, and all of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from chains.core.seals import GENESIS, Fault, Kind, Link, Walk, digest
from chains.inventory.exports import DETAILS_AS_TEXT
from chains.models import AuditRecord, AuditSeal

PART = 10_000
# Faults told one by one; of more only the number is said.
TOLD = 100
_MOMENT = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_LINKS = f"""
SELECT s.seq, s.record_id, s.previous, s.hash, {_MOMENT.format("s.sealed_at")}, r.id::text,
       {_MOMENT.format("r.at")}, r.actor, r.origin, r.action, r.subject, r.result, r.details::text
FROM chains_auditseal s LEFT JOIN chains_auditrecord r ON r.id = s.record_id
WHERE s.seq > %s AND s.seq <= %s ORDER BY s.seq LIMIT {PART}
"""  # noqa: S608 - our own text
_UNSEALED = """
SELECT r.id FROM chains_auditrecord r
WHERE NOT EXISTS (SELECT FROM chains_auditseal s WHERE s.record_id = r.id)
"""
# (table, trigger) of what keeps the trail append-only, and seals it.
_GUARDS = (
    ("chains_auditrecord", "chains_audit_refuse"), ("chains_auditrecord", "chains_audit_queue"),
    ("chains_auditseal", "chains_audit_refuse"), ("chains_auditseal", "chains_audit_only_sealed"),
    ("chains_auditqueue", "chains_audit_only_sealed"), ("chains_auditqueue", "chains_audit_seal"),
)  # fmt: skip
_ENABLED = """
SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger
WHERE tgenabled IN ('O', 'A') AND NOT tgisinternal AND tgname LIKE 'chains_audit%%'
"""
_OWNED = """
SELECT current_user, bool_or(pg_has_role(current_user, relowner, 'USAGE')) FROM pg_class
WHERE oid IN ('chains_auditrecord'::regclass, 'chains_auditseal'::regclass)
"""


@dataclass
class Report:
    """What a walk along the whole chain found; `notes` are no faults, but worth knowing."""

    count: int = 0
    head: str = GENESIS
    faults: list[Fault] = field(default_factory=list)
    more: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing was tampered with, as far as the chain can tell."""
        return not self.faults

    def add(self, fault: Fault) -> None:
        """One more thing wrong."""
        if len(self.faults) < TOLD:
            self.faults.append(fault)
        else:
            self.more += 1

    def to_json(self) -> dict[str, Any]:
        """As docs/wire-formats.md says."""
        return {
            "sound": self.sound, "records": self.count, "head": self.head,
            "faults": [{"kind": fault.kind.value, "text": fault.text} for fault in self.faults],
            "more_faults": self.more, "notes": self.notes,
        }  # fmt: skip


def records() -> QuerySet[AuditRecord]:
    """All records, each with its seal."""
    return AuditRecord.objects.select_related("seal")


def with_texts(rows: QuerySet[AuditRecord]) -> QuerySet[AuditRecord]:
    """The same for a file: the details also as the text that was hashed."""
    return rows.annotate(**{DETAILS_AS_TEXT: Cast("details", TextField())})


def head() -> tuple[int, str]:
    """How many records are sealed, and the hash of the last one."""
    row = AuditSeal.objects.order_by("-seq").values_list("seq", "hash").first()
    return row or (0, GENESIS)


def message() -> dict[str, Any]:
    """The same for the socket and the API."""
    count, last = head()
    return {"type": "audit", "seq": count, "records": count, "head": last}


def fits(record: AuditRecord) -> bool | None:
    """Whether a record is the one that was sealed; None where it has no seal."""
    seal = AuditSeal.objects.filter(record_id=record.pk).first()
    if seal is None:
        return None
    link = next(_links(seal.seq - 1, seal.seq))
    return link.texts is not None and digest(link.previous, link.sealed_at, link.texts) == link.hash


def verify(expect: str = "") -> Report:
    """Walk the whole chain, which must hold the hash `expect` where one is given. Memory is bounded.

    What is written meanwhile is not looked at: a record and its seal are seen together or not at all.
    """
    report = Report()
    walk = Walk(_place_of)
    found = expect in {"", GENESIS}
    last, _ = head()
    for link in _links(0, last):
        found = found or link.hash == expect
        for fault in walk.step(link):
            report.add(fault)
    report.count, report.head = walk.count, walk.head
    for pk in _column(_UNSEALED):
        report.add(
            Fault(Kind.INSERTED, f"Record {pk} has no seal: it was put in beside the chain.")
        )
    if not found:
        text = f"No seal has the hash {expect}: the end of the chain was cut off, or all of it rewritten."
        report.add(Fault(Kind.TRUNCATED, text))
    _look_at_guards(report)
    return report


def _links(after: int, last: int) -> Iterator[Link]:
    while after < last:
        with connection.cursor() as cursor:
            cursor.execute(_LINKS, [after, last])
            rows = cursor.fetchall()
        for seq, record, previous, own, sealed_at, pk, *texts in rows:
            there = None if pk is None else (pk, *texts)
            yield Link(seq, record, previous, own, sealed_at, there)
        if not rows:
            return
        after = rows[-1][0]


def _column(query: str) -> Iterator[Any]:
    """The first column, a part at a time: nobody knows how many rows somebody put in."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(PART):
            yield from (row[0] for row in rows)


def _place_of(own: str) -> int | None:
    return AuditSeal.objects.filter(hash=own).values_list("seq", flat=True).first()


def _look_at_guards(report: Report) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_ENABLED)
        enabled = set(cursor.fetchall())
        cursor.execute(_OWNED)
        name, owns = cursor.fetchone()
    for table, trigger in _GUARDS:
        if (table, trigger) not in enabled:
            text = f"The trigger {trigger} of {table} is gone or disabled: nothing keeps the trail as it is."
            report.add(Fault(Kind.UNPROTECTED, text))
    if owns:
        report.notes.append(
            f"The role {name} may switch the protection of the trail off: let Strata run as a role"
            " that does not own its tables (docs/deployment.md)."
        )
