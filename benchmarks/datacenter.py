"""The inventory of a datacenter, written straight into the database: nothing of it is on storage.

A million volumes in two hundred thousand disks, more than half of them in one domain; chains of one to
ten layers, one template with ten thousand clones, three hundred thousand findings, half of them resolved.
"""

from dataclasses import dataclass

from django.db import connection

# Layers of a chain, by its number modulo ten: five on average.
DEPTHS = "'{1,2,3,4,5,5,6,7,7,10}'::int[]"
CHAIN = 5
SHARES = {"large": 600, "second": 250, "third": 100, "fourth": 45, "small": 3, "smallest": 2}
CLONES_EACH = 12  # of the large domain every so manieth chain stands on the template
FINDINGS = 0.3  # of a volume
CODES = [
    "deep",
    "snapshot-old",
    "snapshot-large",
    "merge-wins",
    "dirty",
    "unreferenced",
    "backing-missing",
]

_HEADER = """'{"version": 3, "refcount_bits": 16, "lazy_refcounts": false, "compression": "zlib",
 "encryption": null, "extended_l2": false, "data_file": null, "data_file_raw": false, "dirty": false,
 "corrupt": false, "features": {"incompatible": [], "compatible": [], "autoclear": []},
 "snapshot_count": 0, "snapshots": [], "bitmap_count": 0, "bitmaps": [], "extensions": []}'::jsonb"""

_VOLUMES = """
INSERT INTO chains_volume (
    id, domain_id, path, path_text, format, virtual_size, file_size, on_disk, cluster_size,
    backing_file, backing_format, backing_id, backing_path, features, header, fingerprint, modified,
    in_use, allocated, not_seen_since)
SELECT v.id, %(domain)s, convert_to(v.path, 'UTF8'), v.path, v.format, 10737418240::bigint * (1 + v.c %% 50),
    v.size, v.size, CASE WHEN v.format = 'qcow2' THEN 65536 END, convert_to(v.below, 'UTF8'), v.below_format,
    v.backing, convert_to(v.below, 'UTF8'), '[]', CASE WHEN v.format = 'qcow2' THEN HEADER END,
    '2049:' || v.id || ':1700000000', now() - (v.id %% 900) * interval '1 day',
    CASE WHEN %(told)s THEN v.l = v.d - 1 AND v.c %% 5 < 2 END, NULL,
    CASE WHEN v.c %% 997 = 1 THEN now() - interval '3 days' END
FROM (
    SELECT p.*, l, %(first)s + p.before + l AS id, 65536 * (1 + (p.c * 7919 + l * 104729) %% 400000)::bigint AS size,
        p.folder || l || CASE WHEN l = 0 AND p.c %% 3 = 0 THEN '.raw' ELSE '.qcow2' END AS path,
        CASE WHEN l = 0 AND p.c %% 3 = 0 THEN 'raw' ELSE 'qcow2' END AS format,
        CASE WHEN l > 0 THEN p.folder || (l - 1) || CASE WHEN l = 1 AND p.c %% 3 = 0 THEN '.raw' ELSE '.qcow2' END END AS below,
        CASE WHEN l > 0 THEN CASE WHEN l = 1 AND p.c %% 3 = 0 THEN 'raw' ELSE 'qcow2' END END AS below_format,
        CASE WHEN l > 0 THEN %(first)s + p.before + l - 1 END AS backing
    FROM (
        SELECT c, d, sum(d) OVER (ORDER BY c) - d AS before,
            substr(md5(c || %(name)s), 1, 2) || '/vm' || lpad(c::text, 6, '0') || '-' || substr(md5(c || %(name)s), 3, 8) || '/' AS folder
        FROM (SELECT c, DEPTHS[c %% 10 + 1] AS d FROM generate_series(0, %(chains)s - 1) c) counted
    ) p, generate_series(0, p.d - 1) l
) v
"""
_CLONES = """
UPDATE chains_volume v SET backing_id = t.id, backing_file = t.path, backing_path = t.path, backing_format = t.format
FROM chains_volume t
WHERE t.id = %(first)s AND v.domain_id = %(domain)s AND v.backing_id IS NULL AND v.format = 'qcow2'
  AND substr(split_part(v.path_text, '/', 2), 3, 6)::int %% %(each)s = 1
"""
_DISKS = """
INSERT INTO chains_disk (
    id, domain_id, active_id, name, vm, key, layers, virtual_size, on_disk, oldest_snapshot, findings, severity)
SELECT a.id, a.domain_id, a.id, a.path_text,
    CASE WHEN %(told)s THEN 'guest-' || substr(md5(a.id::text), 1, 6) ELSE '' END, '',
    c.d, a.virtual_size, a.on_disk * c.d, CASE WHEN c.d > 1 THEN now() - (a.id %% 700) * interval '1 day' END,
    f.n, CASE f.worst WHEN 1 THEN 'critical' WHEN 2 THEN 'warning' WHEN 3 THEN 'info' ELSE '' END
FROM chains_volume a
CROSS JOIN LATERAL (
    SELECT DEPTHS[substr(split_part(a.path_text, '/', 2), 3, 6)::int %% 10 + 1] AS d
) c
LEFT JOIN (
    SELECT volume_id, count(*) AS n, min(rank) AS worst FROM chains_finding
    WHERE resolved_at IS NULL GROUP BY volume_id
) counted ON counted.volume_id = a.id
CROSS JOIN LATERAL (SELECT coalesce(counted.n, 0) AS n, counted.worst) f
WHERE a.domain_id = %(domain)s
  AND NOT EXISTS (SELECT FROM chains_volume o WHERE o.backing_id = a.id)
"""
_FINDINGS = """
INSERT INTO chains_finding (
    domain_id, volume_id, path, path_text, code, severity, rank, detail, space, endangers, endangered,
    first_seen, last_seen, resolved_at, acknowledged_at, acknowledged_until, reason)
SELECT v.domain_id, v.id, v.path, v.path_text,
    (%(codes)s::text[])[1 + n %% 7],
    (ARRAY['critical', 'warning', 'info'])[r.rank], r.rank,
    'This chain has more layers than it should: each of them costs every read that it does not answer. Merge the oldest.',
    CASE WHEN n %% 2 = 0 THEN n * 65536 END, '["guest-1", "guest-2"]', 2, now() - (n %% 300) * interval '1 day',
    CASE WHEN n %% 2 = 1 THEN now() - (n %% 30) * interval '1 day' END,
    CASE WHEN n %% 2 = 1 THEN now() - (n %% 30) * interval '1 day' END,
    CASE WHEN n %% 50 = 0 THEN now() END, CASE WHEN n %% 50 = 0 THEN now() + interval '30 days' END,
    CASE WHEN n %% 50 = 0 THEN 'It is known.' ELSE '' END
FROM (
    SELECT v.*, row_number() OVER (ORDER BY hashint8(v.id)) AS n FROM chains_volume v WHERE domain_id = %(domain)s
    ORDER BY hashint8(v.id) LIMIT %(findings)s
) v
CROSS JOIN LATERAL (SELECT CASE WHEN n %% 10 = 0 THEN 1 WHEN n %% 10 < 5 THEN 2 ELSE 3 END AS rank) r
"""
_TOTALS = """
UPDATE chains_storagedomain d SET
    volume_count = (SELECT count(*) FROM chains_volume WHERE domain_id = d.id),
    disk_count = (SELECT count(*) FROM chains_disk WHERE domain_id = d.id),
    deepest = 10, capacity = 1e15, free = 3e14,
    critical_count = (SELECT count(*) FROM chains_finding WHERE domain_id = d.id AND rank = 1
        AND resolved_at IS NULL AND acknowledged_at IS NULL),
    warning_count = (SELECT count(*) FROM chains_finding WHERE domain_id = d.id AND rank = 2
        AND resolved_at IS NULL AND acknowledged_at IS NULL)
"""


@dataclass(frozen=True)
class Place:
    """A domain of the datacenter; `first` is the id of its first volume."""

    pk: int
    name: str
    first: int
    volumes: int


def _with_parts(sentence: str) -> str:
    return sentence.replace("HEADER", _HEADER).replace("DEPTHS", f"({DEPTHS})")


def fill(volumes: int) -> list[Place]:
    """Write the inventory; returns its domains, the largest first."""
    from chains.models import Scan, ScanState, StorageDomain

    places, first = [], 1
    for name, share in SHARES.items():
        count = max(10 * CHAIN, volumes * share // 1000 // (10 * CHAIN) * 10 * CHAIN)
        domain = StorageDomain.objects.create(
            name=name, path=f"/srv/{name}", path_text=f"/srv/{name}", storage_host="benchmark"
        )
        scan = Scan.objects.create(domain=domain, state=ScanState.SUCCEEDED)
        StorageDomain.objects.filter(pk=domain.pk).update(last_scan=scan)
        places.append(Place(domain.pk, name, first, count))
        first += count
    with connection.cursor() as cursor:
        for place in places:
            facts: dict[str, str | int | bool | list[str]] = {
                "domain": place.pk, "name": place.name, "first": place.first,
                "chains": place.volumes // CHAIN, "told": place.name != "third",
                "findings": int(place.volumes * FINDINGS), "each": CLONES_EACH, "codes": CODES,
            }  # fmt: skip
            cursor.execute(_with_parts(_VOLUMES), facts)
            if place is places[0]:
                cursor.execute(_CLONES, facts)
            cursor.execute(_FINDINGS, facts)
            cursor.execute("ANALYZE chains_volume, chains_finding")
            cursor.execute(_with_parts(_DISKS), facts)
        cursor.execute(_TOTALS)
        cursor.execute("VACUUM ANALYZE")
    return places
