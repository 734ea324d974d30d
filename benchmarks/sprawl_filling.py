"""A datacenter for the sprawl report, written straight into the database: nothing of it is on storage.

Twenty domains in four datacenters, two disks a VM, some of whose disks lie in two domains; chains of one
to ten layers; two of three disks mapped. A quarter of a year of notes of the domains, a note of each disk
of sixty days ago and a newer one of every third.
"""

# ruff: noqa: S608 - every word of these statements is our own; what is asked for goes in as parameters

from django.db import connection

DOMAINS, PAST_DAYS = 20, 90
DEPTHS = "('{1,1,2,3,4,5,5,6,8,10}'::int[])"

_DISKS = f"""
WITH made AS (
    SELECT n, n / 2 %% {DOMAINS} + %(domain)s AS domain_id, nextval('chains_volume_id_seq') AS volume,
        {DEPTHS}[n %% 10 + 1] AS layers, hashint8(n)::bigint & 1048575 AS luck
    FROM generate_series(1, %(disks)s) n
), active AS (
    INSERT INTO chains_volume (id, domain_id, path, path_text, format, virtual_size, file_size, on_disk,
        features, fingerprint, modified)
    SELECT volume, domain_id, convert_to('vm/' || n, 'UTF8'), 'vm/' || n, 'qcow2', 10737418240, luck * 4096,
        luck * 4096, '[]', '2049:' || n || ':0:0:0', now() FROM made
)
INSERT INTO chains_disk (domain_id, active_id, name, vm, key, layers, virtual_size, on_disk, findings,
    severity, oldest_snapshot, snapshots, snapshot_bytes, snapshot_since, shadowed, winnable, to_copy, breaches)
SELECT domain_id, volume, 'vm' || lpad(n::text, 6, '0') || '_Disk' || n %% 2,
    CASE WHEN n %% 50 > 0 THEN 'guest-' || lpad((n / 2)::text, 6, '0') ELSE '' END, '', layers, 10737418240,
    luck * 4096 * layers, 0, '', since, layers - 1, (layers - 1) * luck * 3000, since,
    CASE WHEN layers = 1 THEN 0 WHEN n %% 3 > 0 THEN luck * layers * 100 END,
    CASE WHEN layers > 1 THEN luck * layers * 90 ELSE 0 END, CASE WHEN layers > 1 THEN luck * 4000 ELSE 0 END,
    (layers > 8)::int + coalesce(since < now() - interval '30 days', false)::int
FROM (SELECT *, CASE WHEN layers > 1 THEN date_trunc('hour', now()) - (luck %% 700) * interval '1 day' END AS since
      FROM made) m
"""
_NOTES = """
INSERT INTO chains_diskhistory (domain_id, disk_id, disk_number, name, at, layers, virtual_size, on_disk, findings,
    severity, gone, vm, snapshots, snapshot_bytes, snapshot_since, shadowed, winnable, to_copy, breaches)
SELECT domain_id, id, id, name, now() - days * interval '1 day', layers, virtual_size, on_disk, findings, severity,
    false, vm, snapshots, snapshot_bytes, snapshot_since, shadowed, winnable, to_copy, breaches
FROM chains_disk, unnest('{60,20}'::int[]) days WHERE days = 60 OR id % 3 = 0
"""
_DAYS = f"""
INSERT INTO chains_domainhistory (domain_id, at, volumes, disks, deepest, virtual, on_disk, capacity, free,
    critical, warning, info, snapshots, snapshot_bytes, shadowed, winnable, breaches, made_up)
SELECT t.domain_id, now() - days * interval '1 day', 1, t.disks, t.deepest, 1, 1, 1e14, 1e12 * (10 + days), 0, 0, 0,
    t.snapshots, t.bytes * (1 - days / 300.0), 0, t.won, t.breaches, false
FROM (SELECT domain_id, count(*) AS disks, max(layers) AS deepest, sum(snapshots) AS snapshots,
          sum(snapshot_bytes) AS bytes, sum(winnable) AS won, sum(breaches) AS breaches
      FROM chains_disk GROUP BY domain_id) t, generate_series(0, {PAST_DAYS}) days
"""


def fill(disks: int) -> None:
    """Write it all, and let the planner know."""
    from chains.inventory.sprawl_sums import keep
    from chains.models import StorageDomain

    rows = [
        StorageDomain.objects.create(
            name=f"domain{number:02}", path=f"/srv/{number}", path_text=f"/srv/{number}",
            storage_host="benchmark", datacenter=f"dc{number % 4}", capacity=10**14, free=10**13,
            disk_count=disks // DOMAINS,
        )
        for number in range(DOMAINS)
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_DISKS, {"disks": disks, "domain": rows[0].pk})
        cursor.execute(_NOTES)
        cursor.execute(_DAYS)
        cursor.execute("VACUUM ANALYZE")
    for row in rows:
        keep(row)
