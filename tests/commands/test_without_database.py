"""show_chain and map_blocks: right against qemu-img, and short when something is wrong."""

import json
import os
import subprocess

import pytest

from chains.core.facts import KEYS
from chains.core.names import display, portable
from tests import images
from tests.commands.conftest import manage, script
from tests.inventory.test_blockmaps import joined
from tests.web.samples import HOSTILE, build

NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


def test_show_chain(root):
    images.lesson(root)
    shown = script("show_chain", root / "snap2.img", **NOWHERE)
    assert (shown.code, shown.err) == (0, [])
    assert [line.split()[0] for line in shown.out.splitlines()] == [
        "snap2.img",
        "snap1.img",
        "base.img",
    ]
    facts = json.loads(manage("show_chain", root / "snap2.img", "--json").out)
    said = json.loads(
        images.qemu_img("info", "--backing-chain", "--output=json", root / "snap2.img")
    )
    assert [row["format"] for row in facts["layers"]] == [row["format"] for row in said]
    assert [row["virtual_size"] for row in facts["layers"]] == [row["virtual-size"] for row in said]
    assert [row["on_disk"] for row in facts["layers"]] == [row["actual-size"] for row in said]
    assert [row["backing_file"] for row in facts["layers"]] == ["snap1.img", "base.img", None]
    assert facts["findings"] == []


def full_header(root):
    """A chain whose active layer's header has a bit of everything."""
    images.raw(root / "base.img", images.MIB)
    leaf = images.overlay(root / "leaf.qcow2", "base.img", "raw")
    images.qemu_img("amend", "-f", "qcow2", "-o", "lazy_refcounts=on", leaf)
    images.qemu_img("bitmap", "--add", leaf, "плюс")
    for name in ("one", "two", "three"):
        images.qemu_img("snapshot", "-c", name, leaf)
    return leaf


def test_show_chain_tells_what_the_header_says(root):
    leaf = full_header(root)
    shown = manage("show_chain", leaf)
    assert (shown.code, shown.err) == (0, [])
    top, below = shown.out.splitlines()
    assert "on disk, 3 internal snapshots, 1 bitmap, lazy refcounts ← base.img" in top
    assert "snapshot" not in below
    done = manage("show_chain", leaf, "--json")
    assert done.code == 0
    first, last = json.loads(done.out)["layers"]
    assert {key for key in first if first[key] is None} == {"encryption", "data_file"}
    header = set(first) - {key for key in last if last[key] is not None}
    assert header - {"cluster_size", "backing_file", "backing_format", "backing_path"} == set(KEYS)
    said = json.loads(images.qemu_img("info", "--output=json", leaf))
    own = said["format-specific"]["data"]
    assert [s["name"] for s in first["snapshots"]] == [s["name"] for s in said["snapshots"]]
    assert [b["name"] for b in first["bitmaps"]] == [b["name"] for b in own["bitmaps"]]
    assert first["refcount_bits"] == own["refcount-bits"]
    assert first["lazy_refcounts"] is own["lazy-refcounts"] is True
    assert first["features"]["compatible"] == ["lazy refcounts"]
    assert first["version"] == 3


@pytest.mark.parametrize("raw", [[], ["data_file_raw=on"]])
def test_a_data_file_is_shown_and_mapped(raw, root):
    leaf = root / "leaf.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(["data_file=d.raw", *raw])]
    subprocess.run([*argv, leaf.name, "4M"], cwd=root, check=True)
    write = ["qemu-io", "-f", "qcow2", "-c", "write 1M 64k", leaf.name]
    subprocess.run(write, cwd=root, check=True, capture_output=True)
    shown = manage("show_chain", leaf)
    assert shown.code == 0
    assert "external data file “d.raw”" in shown.out
    assert ("”, raw" in shown.out) == bool(raw)
    assert "warning: data-file" in shown.out
    mapped = manage("map_blocks", leaf, "--json")
    assert mapped.code == 0
    argv = ["qemu-img", "map", "--output=json", leaf.name]
    theirs = subprocess.run(argv, cwd=root, check=True, capture_output=True)
    assert joined(json.loads(mapped.out)) == joined(json.loads(theirs.stdout))
    (root / "d.raw").unlink()
    os.mkfifo(root / "d.raw")
    for command in ("show_chain", "map_blocks"):
        done = manage(command, leaf)
        assert done.code == 1
        assert "data-file-outside" in done.out + "".join(done.err)


def test_an_encrypted_layer_is_shown_and_mapped(root):
    top = images.locked(root / "top.qcow2", "2M")
    shown = manage("show_chain", top)
    assert shown.code == 0
    assert "encrypted (luks)" in shown.out
    mapped = manage("map_blocks", top, "--json")
    assert json.loads(mapped.out) == [
        {"start": 0, "length": 2 * images.MIB, "depth": 0, "present": False, "zero": True,
         "data": False}
    ]  # fmt: skip


def test_a_table_that_lies_makes_the_chain_unsafe(root):
    leaf = full_header(root)
    with leaf.open("r+b") as file:
        file.seek(60)
        file.write(b"\xff" * 4)
    shown = manage("show_chain", leaf, "--json")
    assert shown.code == 1
    facts = json.loads(shown.out)
    assert [finding["code"] for finding in facts["findings"]] == ["tables-invalid"]
    assert facts["layers"][0]["snapshot_count"] == 2**32 - 1
    assert facts["layers"][0]["snapshots"] == []


@pytest.mark.parametrize(
    ("build_chain", "leaf"),
    [(images.lesson, "snap2.img"), (lambda root: images.deep(root, 6), "layer5.qcow2")],
)
def test_map_blocks_says_what_qemu_img_says(build_chain, leaf, root):
    build_chain(root)
    mapped = script("map_blocks", root / leaf, "--json", **NOWHERE)
    assert (mapped.code, mapped.err) == (0, [])
    ours = json.loads(mapped.out)
    theirs = json.loads(images.qemu_img("map", "--output=json", root / leaf))
    assert joined(ours) == joined(theirs)
    assert set(ours[0]) >= {"start", "length", "depth", "present", "zero", "data"}
    assert sum(row["length"] for row in ours) == sum(row["length"] for row in theirs)
    assert manage("map_blocks", root / leaf).out.count("\n") == len(ours)


def test_hostile_names_are_escaped_for_a_terminal(root):
    build(root)
    leaf = root / HOSTILE[-1]
    shown = script("show_chain", leaf, **NOWHERE)
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert len(lines) == len(HOSTILE)
    for line, name in zip(lines, reversed(HOSTILE), strict=True):
        assert line.startswith(display(name))
        assert line.isprintable()
    facts = json.loads(manage("show_chain", leaf, "--json").out)
    assert [row["path"] for row in facts["layers"]] == [portable(n) for n in reversed(HOSTILE)]
    table = manage("map_blocks", leaf)
    assert table.code == 0
    assert all(line.isprintable() for line in table.out.splitlines())
    orphan = manage("show_chain", root / "orphan.qcow2")
    assert orphan.code == 1
    assert "backing-missing" in orphan.out
    assert all(line.isprintable() for line in orphan.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show_chain", "{root}/nothing.img"], 2, "does not exist"),
        (["map_blocks", "{root}/nothing.img"], 2, "does not exist"),
        (["show_chain"], 2, "required"),
        (["map_blocks", "--jsn", "x"], 2, "unrecognized arguments"),
        (["map_blocks", "{root}/loose.qcow2"], 1, "backing-missing"),
        (["show_chain", "{root}/loose.qcow2", "--root", "/usr"], 2, "--root"),
        (["map_blocks", "{root}/no\nsuch\x1b[31m"], 2, "does not exist"),
        (["show_chain", "{root}/notes.txt/x"], 2, "does not exist"),
        (["map_blocks", "{root}"], 1, "is a directory"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, code, words, root):
    images.raw(root / "base.img", images.MIB)
    images.overlay(root / "loose.qcow2", "base.img", "raw")
    (root / "base.img").unlink()
    (root / "notes.txt").write_text("x")
    done = manage(*[part.replace("{root}", str(root)) for part in arguments])
    assert (done.code, len(done.err)) == (code, 1), done
    assert words in done.err[0]
    assert done.err[0].isprintable()


def test_a_file_that_lies_is_no_crash(root):
    bad = root / "bad.qcow2"
    bad.write_bytes(b"QFI\xfb" + os.urandom(4096))
    shown = manage("show_chain", bad)
    assert shown.code == 1
    assert "header-invalid" in shown.out
    mapped = script("map_blocks", bad, "--json", **NOWHERE)
    assert (mapped.code, mapped.out, len(mapped.err)) == (1, "", 1)
