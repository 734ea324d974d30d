"""The life of findings: seen, seen again, acknowledged, resolved, and back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from chains.inventory import findings
from chains.inventory.asking import BadRequestError, NotAllowedError
from chains.models import AuditRecord, Finding, GlobalThresholds, StorageDomain, User
from tests import images

MIB = images.MIB


@pytest.fixture
def operator(db):
    return User.objects.create_user("operator", password="x", role="operator")


def lose_base(root):
    return (root / "base.img").rename(root.parent / "aside")


def only(domain, code="backing-missing"):
    return domain.findings.get(code=code)


def test_a_finding_is_seen_resolved_and_comes_back(root, domain, scan):
    images.lesson(root)
    scan()
    aside = lose_base(root)
    scan()
    row = only(domain)
    first = row.first_seen
    assert (row.resolved_at, row.last_seen) == (None, None)
    assert row.endangers == ["snap2.img"]
    assert (domain.critical_count, row.rank) == (1, 1)
    scan()
    assert only(domain).pk == row.pk
    aside.rename(root / "base.img")
    scan()
    row.refresh_from_db()
    assert row.resolved_at is not None
    assert row.first_seen == first <= row.last_seen <= row.resolved_at
    assert domain.critical_count == 0
    lose_base(root)
    scan()
    again = only(domain)
    assert (again.pk, again.first_seen, again.resolved_at) == (row.pk, first, None)
    assert domain.critical_count == 1


def test_a_finding_of_a_volume_that_is_gone_is_kept(root, domain, scan):
    images.lesson(root)
    lose_base(root)
    scan()
    for name in ("snap1.img", "snap2.img"):
        (root / name).unlink()
    scan()
    row = only(domain)
    assert (row.volume, row.path_text) == (None, "snap1.img")
    assert row.resolved_at is not None
    assert not domain.findings.open().exists()


def test_one_that_is_acknowledged_is_not_counted_until_its_day(root, domain, scan, operator):
    images.lesson(root)
    lose_base(root)
    scan()
    row = only(domain)
    findings.acknowledge(
        row, "a\x00 restore is under way", timezone.now() + timedelta(days=2), operator, "test"
    )
    domain.refresh_from_db()
    assert domain.critical_count == 0
    assert not domain.findings.to_see().exists()
    assert domain.findings.open().exists(), "it still keeps operations off the chain"
    scan()
    row.refresh_from_db()
    assert (row.acknowledged_by, row.reason) == (operator, "a\\x00 restore is under way")
    assert domain.critical_count == 0
    Finding.objects.update(acknowledged_until=timezone.now())
    scan()
    assert domain.critical_count == 1
    findings.reopen(row, operator, "test")
    row.refresh_from_db()
    assert (row.acknowledged_at, row.reason) == (None, "")
    said = list(
        AuditRecord.objects.filter(subject="backing-missing: snap1.img").values_list(
            "action", flat=True
        )
    )
    assert sorted(said) == ["acknowledge finding", "reopen finding"]


@pytest.mark.parametrize(
    ("reason", "days", "words"),
    [("", 1, "Say why"), ("  ", 1, "Say why"), ("x" * 2001, 1, "2000"), ("x", -1, "future"), ("x", None, "future")],
)  # fmt: skip
def test_what_is_no_acknowledgement(reason, days, words, root, domain, scan, operator):
    images.overlay(images.raw(root / "base.img", MIB).with_name("o.qcow2"), "base.img", "raw")
    (root / "base.img").unlink()
    scan()
    until = None if days is None else timezone.now() + timedelta(days=days)
    with pytest.raises(BadRequestError, match=words):
        findings.acknowledge(only(domain), reason, until, operator, "test")


def test_an_auditor_acknowledges_nothing(root, domain, scan):
    images.lesson(root)
    lose_base(root)
    scan()
    auditor = User.objects.create_user("auditor", password="x", role="auditor")
    for act in (
        lambda: findings.acknowledge(
            only(domain), "x", timezone.now() + timedelta(1), auditor, "t"
        ),
        lambda: findings.reopen(only(domain), auditor, "t"),
    ):
        with pytest.raises(NotAllowedError):
            act()
    assert only(domain).acknowledged_at is None


def test_thresholds_of_all_domains_and_of_one(root, domain, scan):
    images.deep(root, 5)
    scan()
    assert not domain.findings.open().exists()
    row = GlobalThresholds.objects.create(values={"depth": 3})
    scan()
    assert "5 layers, more than 3" in only(domain, "deep").detail
    StorageDomain.objects.filter(pk=domain.pk).update(thresholds={"depth": 4})
    scan()
    assert "more than 4" in only(domain, "deep").detail, "the same finding, in new words"
    StorageDomain.objects.filter(pk=domain.pk).update(thresholds={"depth": 0})
    scan()
    assert not domain.findings.open().exists()
    row.delete()


def test_what_a_merge_left_behind(root, domain, scan):
    images.lesson(root)
    (root / ".strata-merge-77.tmp").write_bytes(b"x")
    (root / ".strata-kept-78-abc").mkdir()
    scan()
    found = set(domain.findings.open().values_list("path_text", "code", "severity"))
    assert found == {
        (".strata-merge-77.tmp", "leftover", "warning"), (".strata-kept-78-abc", "leftover", "warning"),
    }  # fmt: skip
    assert domain.volumes.count() == 3


def test_many_guests_are_counted_and_a_few_are_named(root, domain, scan):
    base = images.qcow2(root / "base.qcow2", MIB)
    middle = images.overlay(root / "middle.qcow2", base.name, "qcow2")
    for number in range(25):
        images.overlay(root / f"vm{number:02}.qcow2", middle.name, "qcow2")
    base.unlink()
    scan()
    row = only(domain)
    assert row.endangered == 25
    assert row.endangers == [f"vm{number:02}.qcow2" for number in range(20)]
