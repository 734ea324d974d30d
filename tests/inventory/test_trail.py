"""The audit trail in the real database: sealed at commit, append-only, and no tampering goes unseen."""

# ruff: noqa: S608 - what tampers is put together here, and nowhere else

import hashlib
import io
import json
import threading
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, connections, transaction

from chains.core.seals import GENESIS, Kind
from chains.inventory import audit, trail
from chains.merges.fence import conninfo
from chains.models import AuditRecord, AuditSeal, Scan, StorageDomain
from tests.conftest import AUDIT_TABLES


@pytest.fixture
def records(transactional_db):
    """Seven of them, each with its own transaction; ids in their order."""
    return [
        audit.record("ann", "10.0.0.1", "scan", f"d{n}", audit.Result.ASKED, scan=n, text="ж\n").pk
        for n in range(7)
    ]


def kinds(expect: str = "") -> list[str]:
    report = trail.verify(expect)
    return [fault.kind.value for fault in report.faults]


def texts() -> str:
    return " ".join(fault.text for fault in trail.verify().faults)


@contextmanager
def owner():
    """As somebody who owns the tables and switches their protection off, and on again."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in AUDIT_TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield cursor
        for table in AUDIT_TABLES:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def tamper(*statements: str) -> None:
    with owner() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_sound_chain(records):
    report = trail.verify()
    assert (report.faults, report.count) == ([], 7)
    assert report.head == AuditSeal.objects.get(seq=7).hash
    assert [seal.record_id for seal in AuditSeal.objects.all()] == records
    assert all(trail.fits(row) for row in AuditRecord.objects.all())
    first = AuditSeal.objects.get(seq=1)
    assert first.previous == GENESIS


def test_a_hash_by_hand(records):
    """As docs/wire-formats.md tells it, without a line of Strata's own."""
    with connection.cursor() as cursor:
        moment = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
        cursor.execute(
            f"SELECT s.hash, s.previous, {moment.format('s.sealed_at')}, r.id::text, {moment.format('r.at')},"
            " r.actor, r.origin, r.action, r.subject, r.result, r.details::text"
            " FROM chains_auditseal s JOIN chains_auditrecord r ON r.id = s.record_id WHERE s.seq = 3"
        )
        wanted, *fields = cursor.fetchone()
    text = b"".join(b"%d:%s," % (len(field.encode()), field.encode()) for field in fields)
    assert hashlib.sha256(text).hexdigest() == wanted


def test_the_statement_of_the_docs_finds_what_does_not_fit(records):
    docs = (settings.BASE_DIR / "docs" / "wire-formats.md").read_text()
    statement = next(part for part in docs.split("```") if "chains_auditseal" in part)
    tamper(f"UPDATE chains_auditrecord SET subject = 'x' WHERE id = {records[4]}")
    with connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.fetchall() == [(seq, seq != 5) for seq in range(1, 8)]


def test_what_is_rolled_back_leaves_no_gap(records):
    def rolled_back():
        with transaction.atomic():
            audit.record("ann", "here", "scan", "never")
            transaction.set_rollback(True)

    rolled_back()
    with transaction.atomic():
        rolled_back()
        last = audit.record("ann", "here", "scan", "x").pk
    assert last == records[-1] + 3
    assert kinds() == []
    assert trail.verify().count == 8


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chains_auditrecord SET actor = 'eve'", "DELETE FROM chains_auditrecord",
        "TRUNCATE chains_auditrecord", "UPDATE chains_auditseal SET hash = previous",
        "DELETE FROM chains_auditseal", "TRUNCATE chains_auditseal",
        "TRUNCATE chains_auditrecord CASCADE", "DELETE FROM chains_auditrecord WHERE false",
        ("INSERT INTO chains_auditseal (seq, record_id, previous, hash, sealed_at)"
        " SELECT seq + 100, record_id + 100, previous, hash, sealed_at FROM chains_auditseal"),
        "INSERT INTO chains_auditqueue VALUES (1)",
    ],
)  # fmt: skip
def test_the_database_refuses(statement, records):
    with (
        pytest.raises(DatabaseError, match="audit"),
        transaction.atomic(),
        connection.cursor() as c,
    ):
        c.execute(statement)
    assert kinds() == []
    assert trail.verify().count == 7


# What somebody does who can switch the protection off, and as what it is found.
MIDDLE = "(SELECT record_id FROM chains_auditseal WHERE seq = 4)"
SWAP = """
UPDATE chains_auditseal SET seq = -seq WHERE seq IN (4, 5);
UPDATE chains_auditseal SET seq = 9 + seq WHERE seq < 0
"""
DELETED = f"DELETE FROM chains_auditrecord WHERE id = {MIDDLE}"
TAMPERED = {
    "actor": ([f"UPDATE chains_auditrecord SET actor = 'eve' WHERE id = {MIDDLE}"], ["changed"]),
    "moment": (
        [f"UPDATE chains_auditrecord SET at = at - interval '1 us' WHERE id = {MIDDLE}"], ["changed"],
    ),
    "origin": ([f"UPDATE chains_auditrecord SET origin = '::1' WHERE id = {MIDDLE}"], ["changed"]),
    "action": ([f"UPDATE chains_auditrecord SET action = 'merge' WHERE id = {MIDDLE}"], ["changed"]),
    "subject": ([f"UPDATE chains_auditrecord SET subject = '' WHERE id = {MIDDLE}"], ["changed"]),
    "result": ([f"UPDATE chains_auditrecord SET result = 'done' WHERE id = {MIDDLE}"], ["changed"]),
    "details": (
        [f"UPDATE chains_auditrecord SET details = details || '{{\"scan\": 8}}' WHERE id = {MIDDLE}"],
        ["changed"],
    ),
    "a border between fields": (
        [f"UPDATE chains_auditrecord SET actor = 'an', origin = 'n10.0.0.1' WHERE id = {MIDDLE}"],
        ["changed"],
    ),
    "moment of the seal": (
        ["UPDATE chains_auditseal SET sealed_at = sealed_at + interval '1 s' WHERE seq = 4"], ["changed"],
    ),
    "hash": (
        ["UPDATE chains_auditseal SET hash = repeat('a', 64) WHERE seq = 4"], ["changed", "missing"],
    ),
    "deleted": ([DELETED], ["deleted"]),
    "deleted with its seal": (
        [DELETED, "DELETE FROM chains_auditseal WHERE seq = 4"], ["missing"],
    ),
    "the first ones deleted with their seals": (
        ["DELETE FROM chains_auditrecord WHERE id IN (SELECT record_id FROM chains_auditseal WHERE seq < 3)",
         "DELETE FROM chains_auditseal WHERE seq < 3"], ["missing"],
    ),
    "deleted, and the gap closed": (
        [DELETED, "DELETE FROM chains_auditseal WHERE seq = 4",
         "UPDATE chains_auditseal SET seq = seq + 100 WHERE seq > 4",
         "UPDATE chains_auditseal SET seq = seq - 101 WHERE seq > 100"], ["missing"],
    ),
    "seal alone": (["DELETE FROM chains_auditseal WHERE seq = 7"], ["inserted"]),
    "inserted": (
        [("INSERT INTO chains_auditrecord (actor, origin, action, subject, result, details)"
         " VALUES ('eve', 'x', 'scan', 'y', '', '{}')")], ["inserted"],
    ),
    "reordered": (SWAP.split(";"), ["inserted", "inserted", "reordered"]),
    "records swapped": (
        ["UPDATE chains_auditseal SET record_id = -record_id WHERE seq IN (4, 5)",
         ("UPDATE chains_auditseal s SET record_id = (SELECT -o.record_id FROM chains_auditseal o"
         " WHERE o.seq = 9 - s.seq) WHERE seq IN (4, 5)")], ["changed", "changed"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_named(how, records):
    statements, wanted = TAMPERED[how]
    tamper(*statements)
    assert sorted(kinds()) == wanted


def test_what_is_told_names_the_record(records):
    tamper(f"UPDATE chains_auditrecord SET actor = 'eve' WHERE id = {records[3]}")
    assert f"Record {records[3]} was changed" in texts()
    assert not trail.fits(AuditRecord.objects.get(pk=records[3]))
    assert trail.fits(AuditRecord.objects.get(pk=records[4]))


def forge(seq: int) -> str:
    """A record that fits itself and the seal before, squeezed in before `seq`."""
    return f"""
    UPDATE chains_auditseal SET seq = seq + 1000 WHERE seq >= {seq};
    UPDATE chains_auditseal SET seq = seq - 999 WHERE seq >= 1000;
    INSERT INTO chains_auditrecord (actor, origin, action, subject, result, details)
        VALUES ('eve', 'x', 'scan', 'y', '', '{{}}');
    INSERT INTO chains_auditseal (seq, record_id, previous, sealed_at, hash)
    SELECT {seq}, r.id, s.hash, s.sealed_at, encode(sha256(convert_to(
        chains_audit_text(s.hash) || chains_audit_text(chains_audit_moment(s.sealed_at))
        || chains_audit_text(r.id::text) || chains_audit_text(chains_audit_moment(r.at))
        || chains_audit_text(r.actor) || chains_audit_text(r.origin) || chains_audit_text(r.action)
        || chains_audit_text(r.subject) || chains_audit_text(r.result)
        || chains_audit_text(r.details::text), 'UTF8')), 'hex')
    FROM chains_auditseal s, chains_auditrecord r WHERE s.seq = {seq} - 1 AND r.actor = 'eve'
    """


def test_a_record_with_a_forged_seal_in_the_middle(records):
    tamper(forge(4))
    report = trail.verify()
    assert [fault.kind for fault in report.faults] == [Kind.INSERTED]
    assert report.faults[0].text.startswith("Seal 5 was written next after seal 3")


def test_a_tail_that_was_cut_off_is_found_by_the_head_that_was_noted(records):
    _, noted = trail.head()
    audit.record("ann", "x", "scan", "later")
    assert kinds(noted) == []
    tamper(
        "DELETE FROM chains_auditrecord WHERE id IN"
        " (SELECT record_id FROM chains_auditseal WHERE seq > 5)",
        "DELETE FROM chains_auditseal WHERE seq > 5",
    )
    assert kinds() == []
    assert kinds(noted) == ["truncated"]
    audit.record("ann", "x", "scan", "the chain goes on")
    assert kinds(noted) == ["truncated"]


def test_a_protection_that_is_off_is_told(records):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE chains_auditrecord DISABLE TRIGGER chains_audit_refuse")
        assert kinds() == ["unprotected"]
        transaction.set_rollback(True)


def test_many_faults_are_counted(records, monkeypatch):
    monkeypatch.setattr(trail, "TOLD", 3)
    monkeypatch.setattr(trail, "PART", 2)
    tamper("UPDATE chains_auditrecord SET actor = 'eve'")
    report = trail.verify()
    assert (len(report.faults), report.more) == (3, 4)


def in_threads(*works):
    """Each in a thread with a connection of its own; what they raised."""
    failures = []

    def run(work):
        try:
            work()
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failures


def test_eight_writers_at_once(records):
    def write(number):
        for turn in range(25):
            with transaction.atomic():
                audit.record(f"w{number}", "x", "scan", f"{turn}")
                if turn % 3 == 0:
                    audit.record(f"w{number}", "x", "check", f"{turn}")
                if turn % 5 == 0:
                    transaction.set_rollback(True)

    failures = in_threads(*(lambda n=n: write(n) for n in range(8)))
    assert failures == []
    report = trail.verify()
    assert report.faults == []
    # Of 25 turns 20 stay, and 7 of these have a second record.
    assert report.count == 7 + 8 * 27 == AuditRecord.objects.count()


def test_the_seal_is_the_last_lock_of_a_transaction(records):
    """A foreign key that waits for a row whose holder records, too: each comes to its end."""
    domain = StorageDomain.objects.create(name="d", path="/x", storage_host="h")
    first, second = threading.Event(), threading.Event()

    def holder():
        with transaction.atomic():
            StorageDomain.objects.select_for_update().get(pk=domain.pk)
            first.set()
            audit.record("a", "x", "scan", "holds the row")
            second.wait(10)
            # Long enough for the other one to be in the midst of its commit.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.5)")

    def asker():
        first.wait(10)
        with transaction.atomic():
            audit.record("b", "x", "scan", "before the row that refers")
            Scan.objects.create(domain=domain)
            second.set()

    assert in_threads(holder, asker) == []
    assert kinds() == []
    assert trail.verify().count == 9


def test_a_writer_in_a_long_transaction_keeps_nobody_waiting(records):
    with psycopg.connect(conninfo()) as long:
        long.execute(
            "INSERT INTO chains_auditrecord (actor, origin, action, subject, result, details)"
            " VALUES ('long', 'x', 'scan', 'y', '', '{}')"
        )
        audit.record("quick", "x", "scan", "y")
        assert trail.verify().count == 8
        long.commit()
    assert kinds() == []
    names = AuditSeal.objects.order_by("-seq").values_list("record__actor", flat=True)[:2]
    assert list(names) == ["long", "quick"]


def commanded(*arguments: str) -> tuple[int, str]:
    """The exit code of verify_audit, and what it printed."""
    out = io.StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def test_the_command_says_how_it_is_by_its_exit_code(records):
    count, noted = trail.head()
    code, out = commanded("--expect", noted)
    assert (code, out.splitlines()[-1]) == (0, f"sound: {count} records, head {noted}")
    tamper(f"DELETE FROM chains_auditrecord WHERE id = {records[1]}")
    code, out = commanded()
    assert code == 1
    assert out.startswith(f"deleted: Record {records[1]} was deleted")
    code, out = commanded("--json", "--expect", "0" * 63 + "1")
    assert code == 1
    assert [fault["kind"] for fault in json.loads(out)["faults"]] == ["deleted", "truncated"]


def test_the_command_can_not_read_what_is_not_there(records, monkeypatch):
    monkeypatch.setattr(trail, "_UNSEALED", "SELECT id FROM chains_nothing")
    code, text = commanded()
    assert code == 2
    assert "can not be read" in text
