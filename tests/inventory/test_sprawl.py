"""The sprawl report against a plain model over random forests, and against real images."""

import json
import os
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chains.core.chain import link
from chains.core.layer import Fingerprint, Layer
from chains.core.notes import Notes
from chains.inventory import blockmaps, history, scan, scanning, services, sprawl
from chains.inventory.asking import BadRequestError
from chains.inventory.known import known_volumes
from chains.inventory.reading import Reading
from chains.inventory.registering import set_datacenter
from chains.inventory.sprawl_asked import BYS, NONE, SORTS, Asked
from chains.inventory.sprawl_sums import summed
from chains.inventory.usage import Usage
from chains.models import Disk, DiskHistory, DomainHistory, StorageDomain
from chains.storage.types import Space
from project.builders import ovirt
from tests import images
from tests.inventory.conftest import disk

MIB = 1024**2
GIB = 1024**3
DAY = timedelta(days=1)
CENTERS = ("", "north", "south")


# A layer of a random domain: what it lies over (by number), bytes held, days since it was written, its VM.
layers = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 400), st.integers(0, 90), st.integers(0, 2)), max_size=14
)  # fmt: skip


def forest(described, now):
    """Each layer lies over an earlier one, or over nothing."""
    found = {}
    for number, (below, held, days, _) in enumerate(described):
        backing = f"l{number - below - 1}" if number - below - 1 >= 0 and below < 5 else None
        moment = int((now.timestamp() - days * 86_400 - number) * 10**9)
        found[f"l{number}"] = Layer(
            f"l{number}", "qcow2", 100 * MIB, held * MIB, backing, "qcow2" if backing else None, backing,
            Fingerprint(1, 100 + number, held, moment, moment), None, (),
        )  # fmt: skip
    return link(found)


def store(domain, described, now):
    """As a scan would; returns what a plain model makes of it: a row for each disk."""
    found = forest(described, now)
    notes = {f"l{n}": Notes(vm=f"vm{vm}" if vm else "") for n, (*_, vm) in enumerate(described)}
    reading = Reading(found, notes, set(found.layers))
    known = known_volumes(domain)
    usage = Usage(dict.fromkeys(found.layers, False))
    domain.refresh_from_db()
    with transaction.atomic():
        scan._save(domain, reading, known, usage, space=Space(10**12, 10**11), now=now)
    users = defaultdict(set)
    chains = {}
    for leaf in (path for path in found.layers if path not in found.overlays):
        chain, path = [], leaf
        while path is not None:
            chain.append(found.layers[path])
            path = found.layers[path].backing_path
        chains[leaf] = chain
        for layer in chain:
            users[layer.path].add(leaf)
    rows = []
    for leaf, chain in chains.items():
        own = [layer for layer in chain if users[layer.path] == {leaf}]
        frozen = own[1:]
        rows.append({
            "name": leaf, "vm": notes[leaf].vm, "layers": len(chain), "snapshots": len(frozen),
            "bytes": sum(layer.on_disk for layer in frozen),
            "since": min((layer.modified for layer in frozen), default=None),
            "won": max(0, sum(layer.on_disk for layer in own) - 100 * MIB) if frozen else 0,
        })  # fmt: skip
    return rows


def grouped(model, by):
    """The model's rows by what the report groups them by: name and place."""
    found = defaultdict(list)
    for domain, rows in model.items():
        for row in rows:
            key = {
                "datacenter": (domain.datacenter, ""), "domain": (domain.name, domain.datacenter),
                "vm": (row["vm"], domain.datacenter), "disk": (row["name"], domain.name),
            }[by]  # fmt: skip
            found[key].append(row)
    return found


def told(figures):
    return (
        figures.disks, figures.snapshots, figures.depth, figures.oldest_snapshot,
        figures.snapshot_bytes, figures.winnable,
    )  # fmt: skip


def modelled(rows):
    return (
        len(rows), sum(row["snapshots"] for row in rows), max((row["layers"] for row in rows), default=None),
        min((row["since"] for row in rows if row["since"]), default=None),
        sum(row["bytes"] for row in rows), sum(row["won"] for row in rows),
    )  # fmt: skip


def same_as(asked, model):
    """The report says what the model says, page by page, whole, and in all."""
    for by in BYS:
        wanted = {key: modelled(rows) for key, rows in grouped(model, by).items()}
        for sort in ("-snapshot_bytes", "oldest_snapshot"):
            mine = replace(asked, by=by, sort=sort)
            paged, cursor = [], ""
            while True:
                page = sprawl.report(mine, cursor, 3)
                paged += page.rows
                if not (cursor := page.next):
                    break
            whole = [row for some in sprawl.walk(mine) for row in some]
            assert [(r.label, r.place) for r in paged] == [(r.label, r.place) for r in whole]
            assert {(r.label, r.place): told(r.figures) for r in paged} == wanted
            assert told(page.total) == modelled([row for rows in model.values() for row in rows])
    assert summed(r.figures for r in whole) == page.total


@pytest.mark.django_db
@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    first=st.lists(layers, min_size=3, max_size=3), then=st.lists(layers, min_size=3, max_size=3)
)
def test_the_report_is_a_plain_sum(first, then):
    now = timezone.now()
    before = now - 40 * DAY
    with transaction.atomic():
        domains = [
            StorageDomain.objects.create(
                name=f"d{n}", path=f"/d{n}", path_text=f"/d{n}", storage_host="x", datacenter=center
            )
            for n, center in enumerate(CENTERS)
        ]  # fmt: skip
        earlier = {
            d: store(d, described, before) for d, described in zip(domains, first, strict=True)
        }
        model = {d: store(d, described, now) for d, described in zip(domains, then, strict=True)}
        same_as(Asked(), model)
        StorageDomain.objects.update(sprawl=None)  # as before the first scan: added up now
        same_as(Asked(), model)
        same_as(Asked(as_of=now), model)
        same_as(Asked(as_of=before + DAY), earlier)
        for by in BYS:
            one = Asked(by=by, as_of=before, with_=before)
            assert sprawl.report(one).rows == []
            both = replace(one, with_=now)
            changes = [row for some in sprawl.walk(both) for row in some]
            page = sprawl.report(both)
            moved = sum(row.step("snapshot_bytes") for row in changes)
            assert moved == page.total_after.snapshot_bytes - page.total.snapshot_bytes
        for row in DomainHistory.objects.filter(at=now):
            assert row.snapshot_bytes == sum(r["bytes"] for r in model[row.domain])
        transaction.set_rollback(True)


def test_what_real_snapshots_hold(root, domain, scan):
    paths = images.lesson(root)
    scan()
    row = sprawl.report(Asked(by="disk")).rows[0]
    frozen = paths[:2]
    infos = [json.loads(images.qemu_img("info", "--output=json", "-U", path)) for path in frozen]
    held = sum(info["actual-size"] for info in infos)
    assert held == sum(os.stat(path).st_blocks * 512 for path in frozen), "as du counts"
    found = row.figures
    assert (found.snapshots, found.depth, found.snapshot_bytes) == (2, 3, held)
    newest = datetime.fromtimestamp(min(os.stat(path).st_mtime for path in frozen), UTC)
    assert abs((found.oldest_snapshot - newest).total_seconds()) < 0.01
    assert (found.shadowed, found.is_mapped) == (None, False), "nobody has read its blocks yet"
    estimate = found.to_copy
    asked = services.request_blocks(disk(domain, "snap2.img"), None, queue=False)
    scanning.run_scan(asked.pk)
    layers = blockmaps.stored_measures(disk(domain, "snap2.img"))["layers"]
    found = sprawl.report(Asked()).rows[0].figures
    assert found.shadowed == sum(layer["shadowed"] for layer in layers) > 0
    assert found.winnable >= found.shadowed
    assert 0 < found.to_copy <= estimate
    noted = domain.history.latest("at")
    assert (noted.snapshots, noted.winnable) == (2, found.winnable), (
        "the trend ends with what is shown"
    )
    written = DiskHistory.objects.count()
    scan()
    assert sprawl.report(Asked()).rows[0].figures == found, "a scan keeps what a map has told"
    assert DiskHistory.objects.count() == written


def test_a_new_layer_in_the_active_ones_place_is_not_mapped(root, domain, scan):
    images.lesson(root)
    scan()
    asked = services.request_blocks(disk(domain, "snap2.img"), None, queue=False)
    scanning.run_scan(asked.pk)
    images.write(root / "snap2.img", "qcow2", "write -P 9 50M 64k")
    scan()
    assert sprawl.report(Asked()).total.is_mapped, "what a guest writes shows nothing again"
    (root / "snap2.img").rename(root / "old")  # (the inode is not given to the new file)
    images.overlay(root / "snap2.img", "snap1.img", "qcow2")
    (root / "old").unlink()
    scan()
    assert not sprawl.report(Asked()).total.is_mapped, "its snapshot was gone back to"


def test_a_template_is_counted_with_no_disk(root, domain, scan):
    images.qcow2(root / "template.qcow2", 32 * MIB, "write -P 1 0 4M")
    for number in range(2):
        images.overlay(root / f"clone{number}.qcow2", "template.qcow2", "qcow2")
    scan()
    assert told(sprawl.report(Asked()).total) == (2, 0, 2, None, 0, 0)


@pytest.fixture
def noted(domain):
    """Two notes of one disk, the older of before any of this was recorded."""
    now = timezone.now()
    facts = {
        "domain": domain,
        "disk_number": 7,
        "name": "old",
        "virtual_size": 1,
        "on_disk": 1,
        "findings": 0,
    }
    DiskHistory.objects.create(**facts, at=now - 50 * DAY, layers=3)
    DiskHistory.objects.create(
        **facts, at=now - 20 * DAY, layers=4, vm="mail", snapshots=3, snapshot_bytes=9, winnable=2, to_copy=1,
        breaches=1, snapshot_since=now - 90 * DAY,
    )  # fmt: skip
    return now


def test_what_was_not_recorded_is_no_zero(noted):
    found = sprawl.report(Asked(by="disk", as_of=noted - 40 * DAY)).rows[0]
    assert (found.vm, found.disk) == (None, None)
    figures = found.figures
    assert (figures.depth, figures.unknown) == (3, 1)
    assert {figures.snapshots, figures.snapshot_bytes, figures.winnable, figures.breaches} == {None}
    change = sprawl.report(Asked(by="disk", as_of=noted - 40 * DAY, with_=noted)).rows[0]
    assert (change.step("snapshots"), change.step("depth")) == (None, 1)
    late = sprawl.report(Asked(by="vm", as_of=noted)).rows[0]
    assert (late.label, late.figures.snapshots) == ("mail", 3)
    assert sprawl.report(Asked(as_of=noted - 60 * DAY)).rows == []


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ({"q": "ol"}, 1), ({"q": "MAIL"}, 1), ({"q": "x%"}, 0), ({"vm": "mail"}, 1), ({"vm": NONE}, 0),
        ({"snapshots": "3"}, 1), ({"snapshots": "4"}, 0), ({"older": "30d"}, 1), ({"older": "100d"}, 0),
        ({"breaches": "1"}, 1), ({"datacenter": NONE}, 1), ({"datacenter": "north"}, 0), ({"domain": "999999"}, 0),
    ],
)  # fmt: skip
def test_filters(words, count, noted):
    for by in BYS:
        for sort in SORTS:
            asked = Asked.from_words({**words, "by": by, "sort": sort, "as_of": noted.isoformat()})
            assert len(sprawl.report(asked).rows) == count


@pytest.mark.parametrize(
    "words",
    [{"by": "x"}, {"domain": "x"}, {"snapshots": "-1"}, {"older": "x"}, {"as_of": "x"}, {"with": "2026-01-01"},
     {"breaches": "2"}],
)  # fmt: skip
def test_what_makes_no_sense(words):
    with pytest.raises(BadRequestError):
        Asked.from_words(words)


@pytest.mark.parametrize("cursor", ["x", "W10", "9" * 20_000, "🦀", "WyJkb21haW4iXQ"])
def test_a_wrong_cursor(cursor, domain):
    with pytest.raises(BadRequestError):
        sprawl.report(Asked(), cursor)


def test_sums_larger_than_a_bigint(domain):
    for number in range(3):
        volume = domain.volumes.create(
            path=f"v{number}", path_text="v", format="qcow2", virtual_size=1, file_size=1, on_disk=1,
            modified=timezone.now(), fingerprint="x",
        )  # fmt: skip
        Disk.objects.create(
            domain=domain, active=volume, name="v", snapshots=1, snapshot_bytes=2**62, winnable=2**62,
            to_copy=2**62, breaches=0, snapshot_since=timezone.now(),
        )  # fmt: skip
    assert sprawl.report(Asked()).total.snapshot_bytes == 3 * 2**62
    history.record_domain(domain, timezone.now())
    assert domain.history.get().winnable == 3 * 2**62


def test_a_domain_s_datacenter_is_what_ovirt_calls_it(tmp_path, db):
    def again(domain):
        scanning.run_scan(services.request_scan(domain, None, "test", queue=False).pk)
        domain.refresh_from_db()
        return domain.datacenter

    lab = ovirt.Domain(
        tmp_path, 5, "11111111-2222-4333-8444-555555555555", POOL_DESCRIPTION="Prague"
    )
    other = ovirt.Domain(tmp_path, 5, "21111111-2222-4333-8444-555555555555")
    one, two = (
        services.add_domain(name, str(made.root), "ovirt-file", "here")
        for name, made in (("master", lab), ("regular", other))
    )  # fmt: skip
    assert again(one) == "Prague"
    assert again(two) == "Prague", "the master of its pool says so"
    lab.seal(POOL_DESCRIPTION="Brno")
    assert again(one) == "Brno"
    set_datacenter(one, "by hand", None, "test")
    assert again(one) == "by hand"
    set_datacenter(one, "", None, "test")
    assert again(one) == "Brno"
