"""The audit trail: what a seal costs, and its page, its files and its verification at a million records.

    python -m benchmarks.audit [--records N] [--views N] [--dir DIR]

Eight writers record at once, each record its own transaction, with the chain and without it (the named
peer: the same table without its triggers). The page is asked for through Django's test client, as a
browser does: middleware, session, template and all.
"""

import argparse
import resource
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.database import embedded
from benchmarks.inventory_pages import percentiles, timed
from benchmarks.measuring import machine, verdict

LIMIT_MS = 100.0
WRITERS, EACH = 8, 250
PART = 50_000
# As a year of a datacenter: mostly scans, a few people from a few addresses, a failure now and then.
_FILL = """
INSERT INTO chains_auditrecord (at, actor, origin, action, subject, result, details)
SELECT now() - (%(left)s - n) * interval '31 s',
       CASE WHEN n %% 10 < 7 THEN 'strata' ELSE 'person' || n %% 40 END,
       CASE WHEN n %% 10 < 7 THEN 'worker' ELSE '10.0.' || n %% 7 || '.' || n %% 250 END,
       (ARRAY['scan', 'scan', 'scan', 'scan', 'scan', 'scan', 'check', 'merge', 'sign in', 'sign out'])[n %% 10 + 1],
       'disk ' || md5((n %% 20000)::text) || ' of domain ' || n %% 300,
       CASE WHEN n %% 997 = 0 THEN 'failed' WHEN n %% 10 < 8 THEN 'succeeded' ELSE 'done' END,
       jsonb_build_object('domain', n %% 300, 'scan', n, 'seconds', n %% 90)
FROM generate_series(%(first)s, %(last)s) n
"""


def fill(count: int) -> float:
    """Write the records, and have them sealed; the seconds."""
    from django.db import connection

    start = time.perf_counter()
    for first in range(0, count, PART):
        last = min(first + PART, count) - 1
        with connection.cursor() as cursor:
            cursor.execute(_FILL, {"first": first, "last": last, "left": count})
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return time.perf_counter() - start


def writers() -> float:
    """Records a second that eight writers get in."""
    from django.db import connections

    from chains.inventory import audit

    def write(number: int) -> None:
        for turn in range(EACH):
            audit.record(f"w{number}", "x", "scan", f"d{turn}")
        connections.close_all()

    threads = [threading.Thread(target=write, args=[n]) for n in range(WRITERS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return WRITERS * EACH / (time.perf_counter() - start)


def addresses(count: int) -> dict[str, str]:
    """What auditors ask for."""
    return {
        "the newest": "/audit/",
        "of a person": "/audit/?person=person9",
        "of one who never was": "/audit/?person=nobody",
        "an action": "/audit/?action=merge",
        "an action of a person": "/audit/?action=merge&person=person7",
        "an action that he never did": "/audit/?action=purge&person=person7",
        "failures": "/audit/?result=failed",
        "failures of an action": "/audit/?result=failed&action=merge",
        "from an address": "/audit/?origin=10.0.3.17",
        "a disk, by a part of its name": "/audit/?q=c4ca4238",
        "a common word": "/audit/?q=domain",
        "a common word of a person": "/audit/?q=domain+17&person=person9",
        "no such word": "/audit/?q=nosuchword",
        "long ago": "/audit/?from=2026-01-01&to=2026-02-01",
        "long ago, of a person": "/audit/?to=2026-02-01&person=person9",
        "failures of some days": "/audit/?from=2026-03-01&to=2026-03-08&result=failed",
    }


def measure(folder: Path, records: int, views: int) -> None:
    """Fill a database and ask for everything."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client

    from chains.inventory import trail

    print(f"{machine()}; in {folder}")
    sealed = writers()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE chains_auditrecord DISABLE TRIGGER USER")
        bare = writers()
        cursor.execute("DELETE FROM chains_auditrecord r WHERE NOT EXISTS"
                       " (SELECT FROM chains_auditseal s WHERE s.record_id = r.id)")  # fmt: skip
        cursor.execute("ALTER TABLE chains_auditrecord ENABLE TRIGGER USER")
    print(
        f"{WRITERS} writers: {sealed:,.0f} records a second, {bare:,.0f} without the chain: {verdict(sealed / bare, 0.5)}"
    )
    taken = fill(records)
    print(f"{records:,} records written and sealed in {taken:.0f} s")
    client = Client()
    client.force_login(get_user_model().objects.create(username="benchmark", role="auditor"))
    slowest = 0.0

    def ask(url: str) -> None:
        assert client.get(url).status_code == 200, url

    for name, url in addresses(records).items():
        ask(url)
        middle, most = percentiles([timed(partial(ask, url)) for _ in range(views)])
        slowest = max(slowest, most)
        print(f"{name:34} {middle:7.0f} {most:7.0f} ms")
    print(f"the slowest p95: {verdict(slowest, LIMIT_MS, at_least=False)} ms")
    _whole(client.get, trail.verify)


def _whole(get: Callable[..., object], verify: Callable[[], object]) -> None:
    """What reads all of it: seconds, and how much the memory of this process grew at most."""
    for name, run in (("verify_audit", verify), ("CSV", lambda: _drain(get("/audit/?format=csv")))):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        found = run()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        words = getattr(found, "faults", found)
        print(f"{name}: {time.perf_counter() - start:.1f} s, {grown:.0f} MiB more memory; {words}")


def _drain(answer: Any) -> str:
    return f"{sum(map(len, answer.streaming_content)) / 2**20:.0f} MiB"


def main() -> None:
    """Run the benchmark on an embedded database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--dir", help="where the database is (default: the temporary directory)")
    options = parser.parse_args()
    embedded(options.dir, partial(measure, records=options.records, views=options.views))


if __name__ == "__main__":
    main()
