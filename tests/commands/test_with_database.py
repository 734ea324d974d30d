"""add_domain, scan_domain, plan_merge and run_merge, as a script calls them."""

import json
import os
import shutil

import pytest
from django.core.management import call_command

from chains.models import AuditRecord, Disk, Merge, StorageDomain, User, Volume
from tests import images
from tests.commands.conftest import manage, script


def test_a_domain_is_added_once(root, transactional_db):
    done = manage("add_domain", "lab", root, "--read-only")
    assert (done.code, done.err) == (0, [])
    row = StorageDomain.objects.get()
    assert (row.name, row.path, row.read_only) == ("lab", str(root), True)
    assert AuditRecord.objects.get().origin == "command line"
    again = script("add_domain", "lab", root)
    assert (again.code, again.out, len(again.err)) == (1, "", 1)
    assert "already" in again.err[0]
    assert StorageDomain.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add_domain", "lab"], 2, "required"),
        (["add_domain", "lab", "/no/such/place"], 2, "not a directory"),
        (["add_domain", "a/b", "{root}"], 2, "slash"),
        (["add_domain", "x" * 200, "{root}"], 2, "80"),
        (["add_domain", "lab", "{root}", "--kind", "tape"], 2, "invalid choice"),
        (["scan_domain", "nothing"], 2, "no storage domain"),
        (["scan_domain"], 2, "required"),
        (["plan_merge", "nothing", "a", "b"], 2, "no storage domain"),
        (["run_merge", "nothing", "a", "b"], 2, "no storage domain"),
        (["run_merge", "x", "a", "b", "--strategy", "magic"], 2, "invalid choice"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, code, words, root, transactional_db):
    done = manage(*[part.replace("{root}", str(root)) for part in arguments])
    assert (done.code, len(done.err)) == (code, 1), done
    assert words in done.err[0]
    assert StorageDomain.objects.count() == 0


def test_a_domain_that_went_away(lesson):
    shutil.rmtree(lesson)
    done = manage("scan_domain", "lab")
    assert (done.code, done.out, len(done.err)) == (1, "", 1)
    assert "can not be read" in done.err[0]
    assert Volume.objects.count() == 3


def test_a_plan(lesson):
    done = manage("plan_merge", "lab", "base.img", "snap1.img", "--strategy", "convert", "--json")
    assert (done.code, done.err) == (0, [])
    plan = json.loads(done.out)
    # A rebase copies least here, and looks through the whole disk for it.
    assert plan["recommended"] == plan["strategies"][0]["strategy"] == "commit"
    assert "Take commit" in plan["advice"]
    costs = {way["strategy"]: way["bytes_to_copy"] for way in plan["strategies"]}
    assert costs["rebase"] < costs["commit"] < costs["convert"]
    assert (plan["base"], plan["top"], plan["strategy"]) == ("base.img", "snap1.img", "convert")
    assert plan["layers"] == ["snap1.img", "base.img"]
    assert plan["overlays"] == ["snap2.img"]
    assert sorted(plan["removed"]) == ["base.img", "snap1.img"]
    assert plan["space_free"] > plan["space_needed"] > 0
    assert plan["refusals"] == []
    assert plan["bytes_to_copy"] > 10 * images.MIB
    people = manage("plan_merge", "lab", "base.img", "snap1.img")
    assert people.code == 0
    assert "base.img ← snap1.img" in people.out


def test_plans_that_are_refused_or_make_no_sense(lesson):
    StorageDomain.objects.update(read_only=True)
    done = script("plan_merge", "lab", "base.img", "snap1.img", "--json")
    assert (done.code, len(done.err)) == (1, 1)
    assert "read-only" in done.err[0]
    assert json.loads(done.out)["refusals"][0]["text"] in done.err[0]
    StorageDomain.objects.update(read_only=False)
    for base, top in (
        ("snap1.img", "base.img"),
        ("base.img", "base.img"),
        ("gone.img", "snap1.img"),
        ("../x", "/y"),
    ):
        done = manage("plan_merge", "lab", base, top)
        assert (done.code, len(done.err)) == (2, 1), done


def test_a_plan_says_why_layers_can_not_be_read(root, transactional_db):
    images.qcow2(root / "base.qcow2", 8 * images.MIB, "write 0 1M", options=["cluster_size=4096"])
    images.overlay(root / "top.qcow2", "base.qcow2", "qcow2")
    os.truncate(root / "base.qcow2", 16384)
    assert manage("add_domain", "cut", root).code == 0
    assert manage("scan_domain", "cut").code == 0
    for _ in range(2):
        done = manage("plan_merge", "cut", "base.qcow2", "top.qcow2", "--json")
        assert (done.code, len(done.err)) == (1, 1)
        assert "can not be read: base.qcow2: The file is cut" in done.err[0]
        assert json.loads(done.out)["refusals"][0]["code"] == "unreadable"


def test_a_merge_without_a_worker_says_so(lesson):
    for run, more in ((manage, []), (script, ["--wait"])):
        done = run("run_merge", "lab", "base.img", "snap1.img", *more)
        assert (done.code, done.out, len(done.err)) == (1, "", 1)
        assert "no worker" in done.err[0]
        assert "--here" in done.err[0]
    assert Merge.objects.count() == 0
    assert (lesson / "base.img").exists()


@pytest.mark.parametrize(
    ("strategy", "kept"), [("auto", "base.img"), ("rebase", "snap1.img"), ("convert", None)]
)
def test_a_merge_here(lesson, strategy, kept):
    disk, seen = Disk.objects.get().pk, images.view(lesson / "snap2.img")
    done = script(
        "run_merge", "lab", "base.img", "snap1.img", "--strategy", strategy, "--here", "--wait"
    )
    assert (done.code, done.err) == (0, []), done
    assert "succeeded" in done.out
    merge = Merge.objects.get()
    assert (merge.state, merge.percent) == ("succeeded", 100.0)
    assert images.view(lesson / "snap2.img") == seen
    for name in ("base.img", "snap1.img"):
        assert (lesson / name).exists() == (name == kept)
    assert Disk.objects.get().pk == disk
    assert Disk.objects.get().layers == 2
    assert AuditRecord.objects.filter(
        action="merge", actor="strata", origin="command line"
    ).exists()


def test_a_merge_that_is_refused_leaves_everything(lesson):
    images.overlay(lesson / "preview.qcow2", "base.img", "raw")
    assert manage("scan_domain", "lab").code == 0
    before = sorted(lesson.iterdir())
    done = manage("run_merge", "lab", "base.img", "snap1.img", "--strategy", "convert", "--here")
    assert (done.code, len(done.err)) == (1, 1), done
    assert "preview.qcow2" in done.err[0]
    with images.opened(lesson / "snap2.img"):
        done = manage("run_merge", "lab", "base.img", "snap1.img", "--here")
    assert done.code == 1
    assert sorted(lesson.iterdir()) == before


def test_the_models_and_the_migrations_agree(db):
    call_command("makemigrations", "chains", check=True, dry_run=True)


def test_a_superuser_is_an_admin(db):
    call_command("createsuperuser", username="root", email="", interactive=False)
    assert User.objects.get(username="root").role == "admin"
