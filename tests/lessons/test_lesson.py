"""The whole lesson, run by the real tools on real files."""

import json
import os

import pytest

from chains.core.plans import Plan
from chains.lessons import selectors, services
from chains.lessons.steps import BLOCK, LAST, STEPS
from chains.models import AuditRecord, Disk, Lesson, StorageDomain, User, Volume
from tests.lessons.conftest import carry_out

OWNERS = {
    2: ["base.img"] * 16,
    4: ["base.img"] * 4 + ["snap1.img"] * 4 + ["base.img"] * 3 + ["snap1.img"] + ["base.img"] * 4,
}
TOP = ["snap1.img"] * 2 + ["snap2.img"] * 3
OWNERS[6] = ["base.img"] * 4 + TOP + ["base.img"] * 2 + ["snap1.img", "base.img", "snap2.img"] + ["base.img"] * 2  # fmt: skip
OWNERS[9] = [name if name == "snap2.img" else "newbase.img" for name in OWNERS[6]]
STILL = {
    1: ["base.img"], 2: ["base.img"], 3: ["base.img", "snap1.img"], 4: ["base.img", "snap1.img"],
    5: ["base.img", "snap1.img", "snap2.img"], 6: ["base.img", "snap1.img", "snap2.img"],
    7: ["base.img", "newbase.img", "snap1.img", "snap2.img"],
    8: ["base.img", "newbase.img", "snap1.img", "snap2.img"],
    9: ["base.img", "newbase.img", "snap1.img", "snap2.img"],
    10: ["base.img", "newbase.img", "snap1.img", "snap2.img"], 11: ["newbase.img", "snap2.img"],
}  # fmt: skip


def owners(seen):
    """Which file answers each block."""
    found = []
    for column in zip(*seen["answered"], strict=True):
        assert sum(column) == BLOCK
        found.append(seen["chain"][max(range(len(column)), key=column.__getitem__)])
    return found


def test_from_the_first_command_to_the_last(step, learner, sandboxes):
    place = sandboxes / str(learner.pk)
    written = 0
    for number in range(1, LAST + 1):
        row = step()
        assert (row.state, row.done, row.message) == ("ready", number, ""), row.message
        result = selectors.result_of(row, number)
        assert [run["code"] for run in result.runs] == [0] * len(STEPS[number - 1].commands)
        assert sorted(result.seen["files"]) == STILL[number]
        if number < LAST:
            assert sorted(os.listdir(place)) == STILL[number]
            assert set(row.files) == set(STILL[number])
            written = max(written, sum((place / name).stat().st_blocks * 512 for name in row.files))
        if number in OWNERS:
            assert owners(result.seen) == OWNERS[number]
    assert owners(selectors.result_of(row, 11).seen) == OWNERS[9], "the guest reads as before"
    said = {n: selectors.result_of(row, n).runs[-1]["stdout"] for n in (2, 6, 8, 10)}
    assert "virtual size: 64 MiB" in said[2]
    assert "snap1.img" in said[6]
    assert "Images are identical." in said[8]
    assert "read 65536/65536" in said[10]
    assert not place.exists(), "the last step tidies up"
    assert row.files == {}
    told = AuditRecord.objects.filter(action="lesson").values_list("actor", "result")
    assert sorted(told) == sorted([("learner", "asked"), ("strata", "succeeded")] * LAST)
    assert written < 4 * 1024**2


def test_the_merge_step_knows_what_strata_would_do(step):
    for _ in range(6):
        row = step()
    seen = selectors.result_of(row, 6).seen
    ways = [Plan.from_json(plan) for plan in seen["plans"]]
    assert {way.strategy for way in ways} == {"commit", "convert", "rebase"}
    assert all(way.refusals == () and way.bytes_to_copy for way in ways)
    assert seen["advice"].startswith(f"Take {ways[0].strategy}")
    json.dumps(seen)


def test_nothing_of_it_is_in_the_inventory(step):
    for _ in range(3):
        step()
    assert not Volume.objects.exists()
    assert not Disk.objects.exists()
    assert not StorageDomain.objects.exists()


def test_each_person_has_a_lesson_of_their_own(step, learner, sandboxes):
    other = User.objects.create(username="other", role="admin")
    for _ in range(3):
        step()
    step(user=other)
    assert sorted(os.listdir(sandboxes / str(other.pk))) == ["base.img"]
    assert step().done == 4
    assert Lesson.objects.get(user=other).done == 1
    services.start_over(learner, "test")
    assert carry_out(learner).done == 0
    assert os.listdir(sandboxes) == [str(other.pk)]


def test_a_recorded_run_is_what_a_run_is(step, request):
    """Recorded anew by `RECORD_LESSON=1 bin/test tests/lessons -k recorded`."""
    found = []
    for number in range(1, LAST + 1):
        result = selectors.result_of(step(), number)
        found.append({"runs": result.runs, "seen": result.seen})
    if os.environ.get("RECORD_LESSON"):
        selectors.RECORDED.write_text(json.dumps(found, indent=1) + "\n")
        selectors.recorded.cache_clear()
    for number, facts in enumerate(found, 1):
        known = selectors.recorded()[number]
        assert [run["command"] for run in known.runs] == [run["command"] for run in facts["runs"]]
        for name in ("chain", "answered", "held"):
            assert known.seen[name] == facts["seen"][name]
        assert {
            name: (file["format"], file["virtual_size"], file["backing_file"])
            for name, file in known.seen["files"].items()
        } == {
            name: (file["format"], file["virtual_size"], file["backing_file"])
            for name, file in facts["seen"]["files"].items()
        }


@pytest.mark.parametrize("role", ["auditor", "operator", "admin"])
def test_who_may_run_it(role, sandboxes, transactional_db):
    person = User.objects.create(username=role, role=role)
    if role == "auditor":
        for ask in (
            lambda: services.request_step(person, 1, "test"),
            lambda: services.start_over(person, "test"),
        ):
            with pytest.raises(services.StrataError, match=r"auditor.*may not run the lesson"):
                ask()
        assert not Lesson.objects.exists()
    else:
        assert services.request_step(person, 1, "test").state == "queued"
