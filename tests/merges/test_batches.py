"""Batches on real images: what is planned, what is started, what is left out, and that guests read on."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chains.core.scopes import Scope, ScopeKind
from chains.inventory import blockmaps
from chains.inventory.asking import BadRequestError, NotAllowedError
from chains.inventory.scan import scan_domain
from chains.merges import batches, runner, services
from chains.merges.batch_plans import BatchPlan, plan_batch
from chains.merges.choosing import MOST_DISKS, Selection, select_disks
from chains.merges.scoped import NothingToJoinError, run_of_disk
from chains.models import (
    AuditRecord,
    Batch,
    BlockMap,
    Disk,
    Merge,
    Scan,
    StorageDomain,
    User,
    Volume,
)
from tests import images
from tests.merges.samples import clones, line

ALL = Selection(everything=True)
WHOLE = Scope(ScopeKind.WHOLE)
OLDER = Scope(ScopeKind.OLDER, seconds=72 * 3600)
Prepare = Callable[[], StorageDomain]


@pytest.fixture
def ready(domain: StorageDomain) -> Prepare:
    """Scan the domain, and read every block map."""

    def prepare() -> StorageDomain:
        scan_domain(domain)
        for disk in domain.disks.select_related("active", "domain"):
            if disk.severity != "critical":
                blockmaps.read_disk(disk)
        domain.refresh_from_db()
        return domain

    return prepare


def verdicts(plan: BatchPlan) -> dict[str, str]:
    return {row.name: row.verdict.value for row in plan.rows}


def carry_out(batch: Batch) -> list[Merge]:
    for merge in batches.merges_of(batch):
        asyncio.run(runner.run(merge.pk))
    return batches.merges_of(batch)


def test_a_batch_of_five_disks_is_carried_out(
    domain: StorageDomain, ready: Prepare, operator: User
) -> None:
    root = Path(domain.path)
    ages = [100, 90, 80, 10, 1]
    leaves = [line(root, f"vm{number}", 5, ages)[-1] for number in range(5)]
    young = line(root, "young", 3, [3, 2, 1])
    seen = {leaf: images.view(leaf) for leaf in [*leaves, young[-1]]}
    ready()
    plan = plan_batch(domain, ALL, OLDER, operator)
    assert sorted(verdicts(plan).values()) == ["merge"] * 5 + ["nothing"]
    batch = batches.request_batch(
        domain, ALL, OLDER, operator, "test", confirmed=plan.confirmation, queue=False
    )
    assert batch.merges.count() == 5
    merges = carry_out(batch)
    assert {merge.state for merge in merges} == {"succeeded"}
    assert {(m.base_text, m.top_text) for m in merges} == {
        (f"vm{n}/l0.qcow2", f"vm{n}/l3.qcow2") for n in range(5)
    }
    for leaf, view in seen.items():
        assert images.view(leaf) == view
    assert set(Disk.objects.values_list("layers", flat=True)) == {2, 3}
    story = batches.detail(batches.batches().get(pk=batch.pk))
    assert (story["finished"], story["percent"], story["ended"], story["open_count"]) == (
        True,
        100.0,
        5,
        0,
    )
    assert story["counts"] == {"succeeded": 5}
    assert not story["can_cancel"]
    assert [row["name"] for row in story["left_out"]] == ["young/l2.qcow2"]
    assert "older than 3d" in story["left_out"][0]["reasons"][0]
    assert AuditRecord.objects.get(action="batch", result="asked").details["started"] == 5
    assert AuditRecord.objects.get(action="batch", result="succeeded").details["merges"] == {
        "succeeded": 5
    }
    for result in ("asked", "started", "succeeded"):
        assert AuditRecord.objects.filter(action="merge", result=result).count() == 5


def test_the_totals_are_those_of_the_merges(domain: StorageDomain, ready: Prepare) -> None:
    root = Path(domain.path)
    for number in range(3):
        line(root, f"vm{number}", 3)
    ready()
    plan = plan_batch(domain, ALL, WHOLE, None)
    single = [
        services.plan_from_inventory(run.base, run.top)
        for run in (run_of_disk(disk, WHOLE) for disk in domain.disks.order_by("name"))
    ]
    assert [row.plan for row in plan.merges] == single, "the one truth about a plan"
    totals = plan.totals
    assert totals.merges == totals.disks == 3
    assert totals.bytes_to_copy == sum(p.bytes_to_copy or 0 for p in single) > 0
    assert totals.restore_points == 6
    needed = [p.space_needed or 0 for p in single]
    assert max(needed) <= totals.space_needed <= sum(needed)
    StorageDomain.objects.update(keep_seconds=3600)
    domain.refresh_from_db()
    kept = plan_batch(domain, ALL, WHOLE, None)
    if all(row.plan and row.plan.keep_seconds for row in kept.merges):
        assert kept.totals.space_needed == sum(
            row.plan.space_needed or 0 for row in kept.merges if row.plan
        )
    StorageDomain.objects.update(free=1)
    domain.refresh_from_db()
    assert set(verdicts(plan_batch(domain, ALL, WHOLE, None)).values()) == {"refused"}


def test_a_family_that_two_disks_share(domain: StorageDomain, ready: Prepare) -> None:
    root = Path(domain.path)
    leaves = clones(root, 2)
    seen = [images.view(leaf) for leaf in leaves]
    ready()
    plan = plan_batch(domain, ALL, WHOLE, None)
    assert verdicts(plan) == {"clones/d0.qcow2": "merge", "clones/d1.qcow2": "after"}
    assert "clones/d0.qcow2, which comes first" in plan.left_out[0].reasons[0]
    batch = batches.request_batch(domain, ALL, WHOLE, None, "test", queue=False)
    assert [merge.state for merge in carry_out(batch)] == ["succeeded"]
    ready()
    again = batches.request_batch(domain, ALL, WHOLE, None, "test", queue=False)
    assert [merge.state for merge in carry_out(again)] == ["succeeded"]
    story = batches.journal(again)
    assert "tmpl.qcow2 is shared by 2 overlays" in story["left_out"][0]["reasons"][0]
    assert (root / "clones" / "tmpl.qcow2").exists()
    assert [images.view(leaf) for leaf in leaves] == seen


def test_what_is_left_out_and_why(domain: StorageDomain, ready: Prepare) -> None:
    root = Path(domain.path)
    line(root, "good", 3)
    line(root, "lone", 1)
    line(root, "held", 3)
    snapshot = line(root, "carrying", 3)[1]
    images.qemu_img("snapshot", "-c", "inner", snapshot)
    busy = line(root, "busy", 3)[-1]
    with images.opened(busy):
        ready()
    base, top = (Volume.objects.get(path=f"held/l{n}.qcow2") for n in (0, 1))
    held = services.request_merge(base, top, None, "test", queue=False)
    line(root, "unread", 2)
    scan_domain(domain)
    gone = Selection(ids=(*domain.disks.values_list("pk", flat=True), 10**9))
    Volume.objects.filter(path="busy/l2.qcow2").update(in_use=True)
    plan = plan_batch(domain, gone, WHOLE, None)
    assert verdicts(plan) == {
        "busy/l2.qcow2": "refused", "carrying/l2.qcow2": "refused", "good/l2.qcow2": "merge",
        "held/l2.qcow2": "refused", "lone/l0.qcow2": "nothing", "unread/l1.qcow2": "reading",
        "disk 1000000000": "refused",
    }  # fmt: skip
    why = {row.name.split("/")[0]: " ".join(row.reasons) for row in plan.left_out}
    assert "Open in another process" in why["busy"]
    assert "internal snapshot" in why["carrying"]
    assert f"Merge {held.pk} of" in why["held"]
    assert "one layer" in why["lone"]
    assert "no such disk" in why["disk 1000000000"]
    asked = Scan.objects.filter(kind="blocks")
    assert [scan.disk.name for scan in asked if scan.disk] == ["unread/l1.qcow2"]
    plan_batch(domain, gone, WHOLE, None)
    assert asked.count() == 1, "asked once"
    assert plan.to_json()["totals"]["merges"] == 1


def test_layers_that_can_not_be_read_are_not_asked_for_again(
    domain: StorageDomain, ready: Prepare
) -> None:
    line(Path(domain.path), "cut", 2)
    scan_domain(domain)
    disk = domain.disks.get()
    BlockMap.objects.create(disk=disk, fingerprint="", error="The file is cut.")
    plan = plan_batch(domain, ALL, WHOLE, None)
    assert verdicts(plan) == {"cut/l1.qcow2": "refused"}
    assert "can not be read: The file is cut." in plan.rows[0].reasons[0]
    assert not Scan.objects.filter(kind="blocks").exists()


def test_two_operators_ask_for_overlapping_batches_at_once(
    domain: StorageDomain, ready: Prepare
) -> None:
    root = Path(domain.path)
    for number in range(4):
        line(root, f"vm{number}", 3)
    ready()
    people = [User.objects.create_user(name, role="operator") for name in ("ann", "ben")]
    pks = list(domain.disks.order_by("name").values_list("pk", flat=True))
    chosen = [Selection(ids=tuple(pks[:3])), Selection(ids=tuple(pks[1:]))]
    plans = [plan_batch(domain, ids, WHOLE, None) for ids in chosen]
    barrier = threading.Barrier(2)
    found: list[Batch | Exception] = []

    def ask(number: int) -> None:
        barrier.wait()
        try:
            found.append(batches.request_batch(
                domain, chosen[number], WHOLE, people[number], "test",
                confirmed=plans[number].confirmation, queue=False,
            ))  # fmt: skip
        except services.RefusedError as error:
            found.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merges = Merge.objects.all()
    assert merges.count() == 4, "every disk once"
    assert {merge.disk_id for merge in merges} == set(pks)
    for batch in (row for row in found if isinstance(row, Batch)):
        story = batches.journal(Batch.objects.get(pk=batch.pk))
        assert len(story["merges"]) + len(story["left_out"]) == 3
        for row in story["left_out"]:
            assert "holds this chain" in row["reasons"][0] or "held this chain" in row["reasons"][0]
    assert Batch.objects.count() == sum(isinstance(row, Batch) for row in found)


def test_only_what_was_confirmed_is_done(
    domain: StorageDomain, ready: Prepare, operator: User
) -> None:
    root = Path(domain.path)
    for number in range(3):
        line(root, f"vm{number}", 3)
    ready()
    plan = plan_batch(domain, ALL, WHOLE, operator)
    images.overlay(root / "vm0" / "l3.qcow2", "l2.qcow2", "qcow2", "write -P 5 0 64k")
    line(root, "new", 2)
    ready()
    batch = batches.request_batch(
        domain, ALL, WHOLE, operator, "test", confirmed=plan.confirmation, queue=False
    )
    assert sorted(m.top_text for m in batches.merges_of(batch)) == [
        "vm1/l2.qcow2", "vm2/l2.qcow2",
    ]  # fmt: skip
    why = {row["name"]: row["reasons"][0] for row in batches.journal(batch)["left_out"]}
    assert why == {"new/l1.qcow2": batches.NOT_CONFIRMED, "vm0/l3.qcow2": batches.CHANGED}


def test_nothing_started_is_no_batch(domain: StorageDomain, ready: Prepare, operator: User) -> None:
    root = Path(domain.path)
    line(root, "vm", 3)
    ready()
    with pytest.raises(services.RefusedError, match=r"vm/l2\.qcow2: No restore point"):
        batches.request_batch(domain, ALL, OLDER, operator, "test")
    with pytest.raises(services.RefusedError, match="look at the new plan"):
        batches.request_batch(domain, ALL, WHOLE, operator, "test", confirmed={})
    auditor = User.objects.create_user("auditor", role="auditor")
    with pytest.raises(NotAllowedError):
        batches.request_batch(domain, ALL, WHOLE, auditor, "test")
    assert plan_batch(domain, ALL, WHOLE, auditor).merges, "who may look may plan"
    StorageDomain.objects.update(read_only=True)
    domain.refresh_from_db()
    with pytest.raises(services.RefusedError, match="read-only"):
        batches.request_batch(domain, ALL, WHOLE, operator, "test")
    assert (Batch.objects.count(), Merge.objects.count()) == (0, 0)
    assert not AuditRecord.objects.filter(action="batch").exists()


def test_the_rest_is_cancelled(domain: StorageDomain, ready: Prepare, operator: User) -> None:
    root = Path(domain.path)
    leaves = [line(root, f"vm{number}", 3)[-1] for number in range(3)]
    seen = [images.view(leaf) for leaf in leaves]
    ready()
    batch = batches.request_batch(domain, ALL, WHOLE, operator, "test", queue=False)
    first = batches.merges_of(batch)[0]
    asyncio.run(runner.run(first.pk))
    assert batches.cancel_batch(batch, operator, "test") == 2
    with pytest.raises(services.RefusedError, match="any more"):
        batches.cancel_batch(batch, operator, "test")
    assert [merge.state for merge in carry_out(batch)] == ["succeeded", "cancelled", "cancelled"]
    assert batches.journal(batch)["counts"] == {"succeeded": 1, "cancelled": 2}
    assert [images.view(leaf) for leaf in leaves] == seen
    assert AuditRecord.objects.get(action="cancel batch").details["merges"] == 2
    auditor = User.objects.create_user("auditor", role="auditor")
    with pytest.raises(NotAllowedError):
        batches.cancel_batch(batch, auditor, "test")


def test_a_batch_stands_in_the_domain_s_queue(
    domain: StorageDomain, ready: Prepare, operator: User
) -> None:
    from procrastinate.contrib.django.models import ProcrastinateJob

    for number in range(3):
        line(Path(domain.path), f"vm{number}", 2)
    ready()
    batch = batches.request_batch(domain, ALL, WHOLE, operator, "test")
    merges = [merge.pk for merge in batches.merges_of(batch)]
    jobs = ProcrastinateJob.objects.filter(task_name="chains.merge", args__pk__in=merges)
    assert [job.args["pk"] for job in jobs] == merges[:1], "one at a time"


def test_a_request_that_was_broken_off_tells_what_it_did(
    domain: StorageDomain, ready: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        line(Path(domain.path), f"vm{number}", 2)
    ready()
    begin, calls = services.request_merge, []

    def dies(*arguments: object, **more: object) -> Merge:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return begin(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "request_merge", dies)
    with pytest.raises(KeyboardInterrupt):
        batches.request_batch(domain, ALL, WHOLE, None, "test", queue=False)
    story = batches.journal(Batch.objects.get())
    assert [merge["disk_name"] for merge in story["merges"]] == ["vm0/l1.qcow2"]
    assert [row["name"] for row in story["left_out"]] == ["vm1/l1.qcow2", "vm2/l1.qcow2"]
    assert "broken off" in story["left_out"][0]["reasons"][0]


def test_disks_are_chosen_by_ids_search_and_policy(domain: StorageDomain) -> None:
    root = Path(domain.path)
    line(root, "web", 4, [200, 100, 3, 1])
    line(root, "db", 2, [5, 1])
    line(root, "lone", 1)
    scan_domain(domain)

    def names(**parts: object) -> list[str]:
        return [disk.name.split("/")[0] for disk in select_disks(domain, Selection(**parts))]  # type: ignore[arg-type]

    assert names(everything=True) == ["db", "lone", "web"]
    assert names(query="WEB") == ["web"]
    assert names(deeper_than=1) == ["db", "web"]
    assert names(deeper_than=3) == ["web"]
    assert names(older_than=72 * 3600) == ["web"]
    assert names(older_than=3600, deeper_than=1, query="d") == ["db"]
    lone = domain.disks.get(name__startswith="lone").pk
    assert names(ids=(lone,)) == ["lone"]
    assert names(ids=(lone, 10**9)) == ["lone"]
    assert names(ids=()) == []
    with pytest.raises(BadRequestError, match="Choose disks"):
        select_disks(domain, Selection())
    disk = domain.disks.get(pk=lone)
    with pytest.raises(NothingToJoinError, match="one layer"):
        run_of_disk(disk, WHOLE)


def many(domain: StorageDomain, count: int, depth: int, name: str = "many") -> None:
    """Rows of disks as a scan and a worker leave them, without files: copies of a real chain."""
    model = list(Volume.objects.filter(domain=domain).order_by("pk"))[:depth]
    maps = {row.pk: row.map for row in model}
    for number in range(count):
        below = None
        for place, row in enumerate(model):
            found = maps[row.pk]
            copy = Volume.objects.get(pk=row.pk)
            copy.pk, copy.path = None, f"{name}{number}/l{place}.qcow2"
            copy.path_text, copy.backing = copy.path, below
            copy.backing_path = below.path if below else None
            copy.save(force_insert=True)
            type(found).objects.create(volume=copy, fingerprint=found.fingerprint, data=found.data)
            below = copy
        Disk.objects.create(domain=domain, active=below, name=f"{name}{number}", layers=depth)


def test_two_hundred_disks_are_planned_in_seconds(domain: StorageDomain, ready: Prepare) -> None:
    line(Path(domain.path), "model", 5)
    ready()
    many(domain, 199, 5)
    with CaptureQueriesContext(connection) as queries:
        begun = time.process_time()  # the tests share the machine: time that was ours
        plan = plan_batch(domain, ALL, WHOLE, None)
        taken = time.process_time() - begun
    assert set(verdicts(plan).values()) == {"merge"}
    assert len(plan.rows) == 200
    assert len(queries) < 30
    assert taken < 3, taken
    many(domain, MOST_DISKS - 199, 1, "more")
    with pytest.raises(BadRequestError, match="501 disks, and a batch has 500 at most"):
        plan_batch(domain, ALL, WHOLE, None)
