"""plan_batch and run_batch, and scopes of plan_merge and run_merge, as a script calls them."""

import json
import os
import time

import pytest

from chains.models import AuditRecord, Batch, Disk, Merge
from tests import images
from tests.commands.conftest import manage, script

MIB = images.MIB


@pytest.fixture
def lab(root, transactional_db):
    """Three chains: two with old snapshots, one that is new."""
    for name, ages in (("a", (200, 100, 1)), ("b", (200, 90, 80, 1)), ("new", (3, 2))):
        (root / name).mkdir()
        below = images.qcow2(root / name / "l0.qcow2", 8 * MIB, "write -P 1 0 1M")
        for number in range(1, len(ages)):
            below = images.overlay(
                root / name / f"l{number}.qcow2", below.name, "qcow2", f"write -P {number} 1M 512k"
            )
        for number, hours in enumerate(ages):
            then = time.time() - hours * 3600
            os.utime(root / name / f"l{number}.qcow2", (then, then))
    assert manage("add_domain", "lab", root).code == 0
    assert manage("scan_domain", "lab").code == 0
    return root


def test_a_batch_is_planned(lab):
    asked = ("plan_batch", "lab", "--all", "--scope", "older", "--older-than", "72h")
    done = manage(*asked, "--json")
    assert (done.code, done.err) == (0, [])
    plan = json.loads(done.out)
    rows = {row["name"]: row for row in plan["rows"]}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "a/l2.qcow2": "merge", "b/l3.qcow2": "merge", "new/l1.qcow2": "nothing",
    }  # fmt: skip
    assert (rows["b/l3.qcow2"]["base_text"], rows["b/l3.qcow2"]["top_text"]) == (
        "b/l0.qcow2",
        "b/l3.qcow2",
    )
    assert plan["totals"]["restore_points"] == 5
    people = manage(*asked)
    assert "new/l1.qcow2: nothing: No restore point" in people.out
    assert "2 of 3 disks: copies" in people.out
    single = manage(
        "plan_merge", "lab", "--disk", "a/l2.qcow2", "--scope", "older", "--older-than", "72h",
        "--json",
    )  # fmt: skip
    assert single.code == 0, single
    assert json.loads(single.out)["bytes_to_copy"] == rows["a/l2.qcow2"]["bytes_to_copy"]
    assert json.loads(single.out)["strategy"] == rows["a/l2.qcow2"]["strategy"]
    none = manage("plan_batch", "lab", "--disk", "new/l1.qcow2", "--scope", "depth", "--depth", "2")
    assert (none.code, none.err) == (1, ["strata: nothing to merge"])
    assert Merge.objects.count() == 0


def test_a_batch_is_carried_out_here(lab):
    seen = {path: images.view(path) for path in (lab / "a/l2.qcow2", lab / "b/l3.qcow2")}
    done = script(
        "run_batch", "lab", "--deeper-than", "2", "--scope", "depth", "--depth", "2", "--here"
    )
    assert (done.code, done.err) == (0, []), done
    assert "batch" in done.out
    assert done.out.count("succeeded") == 2
    assert {path: images.view(path) for path in seen} == seen
    assert set(Disk.objects.values_list("layers", flat=True)) == {2}
    assert Batch.objects.get().merges.count() == 2
    assert AuditRecord.objects.get(action="batch", result="asked").origin == "command line"


def test_a_merge_by_its_scope(lab):
    done = manage("run_merge", "lab", "--disk", "a/l2.qcow2", "--scope", "whole", "--here")
    assert done.code == 0, done
    assert Disk.objects.get(name="a/l2.qcow2").layers == 1
    again = manage("run_merge", "lab", "--disk", "a/l2.qcow2", "--scope", "whole", "--here")
    assert (again.code, len(again.err)) == (1, 1)
    assert "nothing to join: It has one layer" in again.err[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["plan_batch", "lab", "--scope", "whole"], 2, "choose disks"),
        (["plan_batch", "lab", "--all"], 2, "--scope"),
        (["plan_batch", "none", "--all", "--scope", "whole"], 2, "no storage domain"),
        (["plan_batch", "lab", "--disk", "x", "--scope", "whole"], 2, "no disk named"),
        (["plan_batch", "lab", "--all", "--scope", "older"], 2, "how old"),
        (["plan_batch", "lab", "--all", "--scope", "depth", "--depth", "x"], 2, "whole number"),
        (["plan_batch", "lab", "--deeper-than", "x", "--scope", "whole"], 2, "whole number"),
        (["plan_batch", "lab", "--snapshots-older-than", "x", "--scope", "whole"], 2, "length of"),
        (["run_batch", "lab", "--all", "--scope", "whole"], 1, "no worker"),
        (["run_batch", "lab", "--all", "--scope", "whole", "--rate", "x", "--here"], 2, "no size"),
        (["run_batch", "lab", "--named-like", "new", "--scope", "depth", "--depth", "2", "--here"], 1, "refused: new"),
        (["plan_merge", "lab", "a/l0.qcow2"], 2, "give BASE and TOP"),
        (["plan_merge", "lab", "--disk", "a/l2.qcow2"], 2, "give BASE and TOP"),
        (["plan_merge", "lab", "x", "y", "--scope", "whole"], 2, "give BASE and TOP"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(arguments, code, words, lab):
    done = manage(*arguments)
    assert (done.code, len(done.err)) == (code, 1), done
    assert words in done.err[0]
    assert Merge.objects.count() == 0
