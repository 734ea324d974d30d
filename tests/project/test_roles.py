"""Strata's own role on the embedded server: it can do its work, and nothing to the audit trail."""

import json
import shutil
import subprocess

import psycopg
import pytest

from project.postgres import APP_ROLE, acquire
from project.postgres_cluster import environment
from project.postgres_places import find_binaries, find_places
from tests.project.conftest import check_stopped, make_var
from tests.project.test_manage import start

RECORD = (
    "from chains.inventory import audit; from chains.models import Scan, StorageDomain\n"
    "for n in range(3): audit.record(None, 'command line', 'scan', f'd{n}')\n"
    "d = StorageDomain.objects.create(name='d', path='/x', storage_host='h'); Scan.objects.create(domain=d)\n"
    "d.delete(); from django.db import connection\n"
    "with connection.cursor() as c: c.execute('SELECT current_user'); print(c.fetchone()[0])"
)
FORBIDDEN = [
    "UPDATE chains_auditrecord SET actor = 'eve'", "DELETE FROM chains_auditrecord",
    "TRUNCATE chains_auditrecord", "DROP TABLE chains_auditrecord",
    "ALTER TABLE chains_auditrecord DISABLE TRIGGER USER",
    "DROP TRIGGER chains_audit_refuse ON chains_auditrecord",
    "SET session_replication_role = replica", "UPDATE chains_auditseal SET hash = previous",
    "DELETE FROM chains_auditseal", "INSERT INTO chains_auditseal (seq) VALUES (99)",
    "INSERT INTO chains_auditqueue VALUES (1)", "SELECT * FROM chains_auditqueue",
    ("CREATE TEMP TABLE t (id int); CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION"
    " chains_audit_seal()"),
    ("CREATE OR REPLACE FUNCTION chains_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN RETURN NEW; END'"), "CREATE ROLE eve SUPERUSER", "SET ROLE strata",
]  # fmt: skip
# Where a function that acts for its owner could be led astray.
ASTRAY = """
CREATE TEMP TABLE chains_auditseal (LIKE public.chains_auditseal);
CREATE TEMP TABLE chains_auditqueue (record_id bigint);
INSERT INTO public.chains_auditrecord (actor, origin, action, subject, result, details)
    VALUES ('x', 'y', 'scan', '', '', '{}');
"""


def command(*arguments: str, var) -> str:
    process = start(*arguments, var=var)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def verified(url: str, var) -> dict:
    process = start("verify_audit", "--json", var=var, DATABASE_URL=url)
    out, err = process.communicate(timeout=60)
    assert not err
    return json.loads(out)


@pytest.fixture(scope="module")
def var():
    """One server for both: neither changes what the other looks at."""
    path = make_var()
    yield path
    check_stopped(path)
    shutil.rmtree(path.parent)


@pytest.fixture(scope="module")
def lease(var):
    with acquire(var) as lease:
        assert command("shell", "--verbosity=0", "-c", RECORD, var=var) == APP_ROLE
        yield lease
    assert lease.wait_stopped(10)


def test_the_own_role_writes_and_changes_nothing_that_is_written(lease, var):
    with psycopg.connect(lease.app_url, autocommit=True) as link:
        for statement in FORBIDDEN:
            with pytest.raises(
                (psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateObject)
            ):
                link.execute(statement)
        link.execute(ASTRAY)
    report = verified(lease.app_url, var)
    assert (report["sound"], report["records"], report["notes"]) == (True, 4, [])


def test_a_dump_brings_the_trail_back(lease, var, tmp_path):
    before = verified(lease.url, var)
    assert "switch the protection" in before["notes"][0]
    binaries = find_binaries(find_places(var))
    dump = tmp_path / "strata.dump"
    for argv in (
        ["pg_dump", "--format=custom", f"--file={dump}", f"--dbname={lease.url}"],
        ["createdb", f"--maintenance-db={lease.url}", "again"],
        ["pg_restore", f"--dbname={lease.url.replace('/strata?', '/again?')}", str(dump)],
    ):
        argv[0] = str(binaries / argv[0])
        done = subprocess.run(argv, check=False, capture_output=True, env=environment())
        assert done.returncode == 0, done.stderr
    after = verified(lease.url.replace("/strata?", "/again?"), var)
    assert after == before
    with (
        psycopg.connect(lease.app_url.replace("/strata?", "/again?"), autocommit=True) as link,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        link.execute("DELETE FROM chains_auditrecord")
