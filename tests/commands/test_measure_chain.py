"""measure_chain: exact figures for scripts, checked against what qemu-img does when it merges."""

import json

from tests import images
from tests.commands.conftest import manage

MIB = images.MIB


def test_measure_chain(root):
    images.lesson(root)
    shown = manage("measure_chain", root / "snap2.img")
    assert (shown.code, shown.err) == (0, [])
    assert "all 3 layers into one" in shown.out
    found = json.loads(manage("measure_chain", root / "snap2.img", "--json").out)
    top, middle, base = found["layers"]
    assert (top["path"], middle["path"], base["path"]) == ("snap2.img", "snap1.img", "base.img")
    assert (top["allocated"], top["shadowed"]) == (5 * MIB, 0)
    # 4–12 MiB in snap1, of which 10–12 are hidden by snap2; its zeroes at 1 MiB are no data.
    assert (middle["allocated"], middle["zeroed"], middle["shadowed"]) == (8 * MIB, MIB, 2 * MIB)
    assert base["shadowed"] == 5 * MIB, "1–2 and 4–8"
    assert found["max_hops"] == 2
    assert found["qemu_l2_cache"] == 32 * MIB
    merges = {(merge["base"], merge["top"]): merge for merge in found["merges"]}
    assert len(merges) == 3
    one = merges["base.img", "snap1.img"]
    assert (one["convert"], one["commit"], one["rebase"]) == (13 * MIB, 8 * MIB, 5 * MIB)


def test_the_bytes_of_a_convert_are_those_that_it_writes(root):
    layers = images.deep(root, 4)
    found = json.loads(manage("measure_chain", layers[-1], "--json").out)
    whole = next(
        merge["convert"] for merge in found["merges"]
        if (merge["base"], merge["top"]) == (layers[0].name, layers[-1].name)
    )  # fmt: skip
    images.qemu_img("convert", "-O", "qcow2", layers[-1], root / "sparse.qcow2")
    sparse = json.loads(images.qemu_img("map", "--output=json", root / "sparse.qcow2"))
    assert whole == sum(part["length"] for part in sparse if part["data"])


def test_a_chain_that_can_not_be_measured(root):
    images.lesson(root)
    (root / "base.img").unlink()
    done = manage("measure_chain", root / "snap2.img", "--json")
    assert (done.code, done.out, len(done.err)) == (1, "", 1)
    assert "backing-missing" in done.err[0]
    assert manage("measure_chain", root / "nothing").code == 2


def test_an_image_in_use_is_measured_all_the_same(root):
    images.lesson(root)
    with images.opened(root / "snap2.img"):
        done = manage("map_blocks", root / "snap2.img", "--json")
    assert done.code == 0
    assert json.loads(done.out)[0]["depth"] == 2


def test_a_long_chain_lists_its_worthwhile_merges(root):
    layers = images.deep(root, 70, 256 * MIB)
    found = json.loads(manage("measure_chain", layers[-1], "--json").out)
    pairs = [(merge["base"], merge["top"]) for merge in found["merges"]]
    assert len(pairs) == len(set(pairs)) == 69 + 2
    assert ("layer0.qcow2", "layer69.qcow2") in pairs
    assert ("layer0.qcow2", "layer68.qcow2") in pairs
