"""Commit and rebase on real images: what every guest reads stays, what goes and what stays, what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chains.core.costs import Strategy
from chains.core.errors import StrataError
from chains.core.plans import Plan
from chains.inventory.scan import scan_domain
from chains.merges import services, witness
from chains.merges.situation import plans_from_inventory
from chains.models import Merge, StorageDomain
from tests import images
from tests.core.test_chain import overlay
from tests.merges.conftest import volume

MIB = images.MIB
Merged = Callable[..., Merge]


def views(*paths: Path) -> list[str]:
    return [images.view(path) for path in paths]


def sound(*paths: Path) -> None:
    for path in paths:
        images.qemu_img("check", "-q", "-f", "qcow2", path)


@pytest.mark.parametrize("base", range(4))
@pytest.mark.parametrize("top", range(1, 5))
@pytest.mark.parametrize("strategy", ["commit", "rebase"])
def test_every_run_of_a_chain(
    domain: StorageDomain, merged: Merged, base: int, top: int, strategy: str
) -> None:
    if base >= top:
        return
    root = Path(domain.path)
    layers = images.deep(root, 5)
    before = images.view(layers[-1])
    merge = merged(layers[base].name, layers[top].name, strategy)
    assert merge.state == "succeeded", merge.message
    leaf = root / "layer4.qcow2"
    assert images.view(leaf) == before
    left = {path.name for path in root.iterdir()}
    gone = set(range(base, top + 1)) - {top if strategy == "rebase" or top == 4 else base}
    assert left == {f"layer{number}.qcow2" for number in range(5) if number not in gone}
    sound(*(root / name for name in left))


def test_a_commit_into_a_raw_base(domain: StorageDomain, merged: Merged) -> None:
    root = Path(domain.path)
    _, snap1, snap2 = images.lesson(root)
    seen = views(snap1, snap2)
    merge = merged("base.img", "snap1.img", "commit")
    assert merge.state == "succeeded", merge.message
    assert [images.view(root / "base.img", "raw"), images.view(snap2)] == seen
    assert not snap1.exists()


def test_a_rebase_keeps_what_siblings_read(domain: StorageDomain, merged: Merged) -> None:
    root = Path(domain.path)
    images.lesson(root)
    sibling = images.overlay(root / "preview.qcow2", "snap1.img", "qcow2", "write -P 9 2M 1M")
    seen = views(root / "snap2.img", sibling)
    merge = merged("base.img", "snap2.img", "rebase")
    assert merge.state == "succeeded", merge.message
    assert views(root / "snap2.img", sibling) == seen
    names = {path.name for path in root.iterdir()}
    assert names == {"base.img", "snap1.img", "snap2.img", "preview.qcow2"}
    assert (
        Plan.from_json({k: v for k, v in merge.plan.items() if k != "fingerprints"}).removed == ()
    )


@pytest.mark.parametrize("strategy", ["commit", "rebase"])
def test_zeroes_hide_what_lies_below(domain: StorageDomain, merged: Merged, strategy: str) -> None:
    root = Path(domain.path)
    images.raw(root / "root.raw", 16 * MIB, "write -P 1 0 16M")
    images.overlay(root / "a.qcow2", "root.raw", "raw", "write -P 2 0 2M")
    images.overlay(root / "b.qcow2", "a.qcow2", "qcow2", "write -z 1M 4M", "write -P 3 8M 64k")
    top = images.overlay(root / "c.qcow2", "b.qcow2", "qcow2", "write -P 4 12M 64k")
    before = images.view(top)
    merge = merged("a.qcow2", "b.qcow2", strategy)
    assert merge.state == "succeeded", merge.message
    assert images.view(top) == before


@pytest.mark.parametrize("sizes", [(16, 8, 16), (8, 16, 16), (16, 16, 8), (8, 16, 32)])
@pytest.mark.parametrize("strategy", ["commit", "rebase", "convert"])
def test_sizes_that_change_along_the_chain(
    domain: StorageDomain, merged: Merged, strategy: str, sizes: tuple[int, int, int]
) -> None:
    root = Path(domain.path)
    one, two, three = (size * MIB for size in sizes)
    images.qcow2(root / "one.qcow2", one, f"write -P 1 0 {one}")
    images.overlay(root / "two.qcow2", "one.qcow2", "qcow2", "write -P 2 1M 1M", size=two)
    top = images.overlay(root / "three.qcow2", "two.qcow2", "qcow2", "write -P 3 3M 1M", size=three)
    before = images.view(top)
    if strategy == "commit" and two < one:
        with pytest.raises(services.RefusedError, match="would show again what it hides"):
            merged("one.qcow2", "two.qcow2", strategy)
    else:
        merge = merged("one.qcow2", "two.qcow2", strategy)
        assert merge.state == "succeeded", merge.message
    assert images.view(top) == before


def test_what_a_commit_is_refused_for(domain: StorageDomain, asked: Merged) -> None:
    root = Path(domain.path)
    images.lesson(root)
    with pytest.raises(services.RefusedError, match="configuration would be wrong"):
        asked("base.img", "snap2.img", "commit")
    images.overlay(root / "clone.qcow2", "base.img", "raw")
    with pytest.raises(services.RefusedError, match="would be written, but other overlays"):
        asked("base.img", "snap1.img", "commit")


def test_a_format_that_a_tool_would_guess_is_refused(domain: StorageDomain, asked: Merged) -> None:
    root = Path(domain.path)
    images.lesson(root)
    overlay(root, "base.img", None, name="snap1.img")
    with pytest.raises(services.RefusedError, match="would guess it"):
        asked("snap1.img", "snap2.img", "rebase")


def test_a_volume_that_holds_another_s_data_is_kept(domain: StorageDomain, asked: Merged) -> None:
    root = Path(domain.path)
    # A tool looks for a relative data file in its own directory.
    options = f"data_file={root}/owner.raw,data_file_raw=on"
    images.qemu_img("create", "-q", "-f", "qcow2", "-o", options, root / "owner.qcow2", "8M")
    images.overlay(root / "over.qcow2", "owner.raw", "raw", "write -P 1 0 1M")
    images.overlay(root / "top.qcow2", "over.qcow2", "qcow2")
    for strategy in Strategy:
        with pytest.raises(services.RefusedError, match="holds the data of"):
            asked("owner.raw", "over.qcow2", strategy)


@pytest.mark.parametrize(("strategy", "written"), [("commit", "base.img"), ("rebase", "snap1.img")])
def test_the_witness_sees_a_byte_that_was_lost(
    domain: StorageDomain, merged: Merged, monkeypatch: pytest.MonkeyPatch, strategy: str,
    written: str,
) -> None:  # fmt: skip
    root = Path(domain.path)
    images.lesson(root)
    before = images.view(root / "snap2.img")
    real = witness.compare

    def damaged(top: str, plan: Plan, *rest: object) -> None:
        spot = "5M" if strategy == "commit" else "2M"
        image_format = "raw" if written == "base.img" else "qcow2"
        images.write(root / written, image_format, f"write -P 99 {spot} 512")
        real(top, plan, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(witness, "compare", damaged)
    merge = merged("base.img", "snap1.img", strategy)
    assert merge.state == ("failed" if strategy == "commit" else "attention")
    assert "does not read like the old layers" in merge.message
    assert ("do not start its guests" in merge.message) == (strategy == "rebase")
    assert {path.name for path in root.iterdir()} == {"base.img", "snap1.img", "snap2.img"}
    if strategy == "commit":
        assert images.view(root / "snap2.img") == before, "it still reads through the old layers"


def test_the_best_plan_comes_first_and_every_way_is_told(domain: StorageDomain) -> None:
    root = Path(domain.path)
    images.lesson(root)
    scan_domain(domain)
    services.read_maps_for(volume(domain, "snap1.img"))
    found = plans_from_inventory(volume(domain, "base.img"), volume(domain, "snap1.img"))
    # A rebase would copy least, but onto nothing it reads the holes of the raw base as well.
    assert [plan.strategy for plan in found] == ["commit", "convert", "rebase"]
    copied = {plan.strategy: plan.bytes_to_copy for plan in found}
    assert copied == {"commit": 8 * MIB, "rebase": 5 * MIB, "convert": 13 * MIB}
    for plan in found:
        assert plan.bytes_to_copy is not None
        assert plan.bytes_written is not None
        tables = plan.bytes_written - plan.bytes_to_copy
        assert 0 <= tables <= (512 * 1024 if plan.strategy == "rebase" else 0)


def test_an_unsafe_chain_is_no_witness(tmp_path: Path) -> None:
    with pytest.raises(StrataError):
        witness._sound(str(tmp_path), "nothing.qcow2")


@pytest.mark.parametrize("strategy", ["commit", "rebase", "convert"])
@pytest.mark.parametrize("kind", ["compressed", "extended"])
def test_compressed_clusters_and_extended_entries_are_carried(
    domain: StorageDomain, merged: Merged, strategy: str, kind: str
) -> None:
    root = Path(domain.path)
    options = ["extended_l2=on", "cluster_size=128k"] if kind == "extended" else []
    images.qcow2(root / "base.qcow2", 32 * MIB, "write -P 1 0 6M", options=options)
    if kind == "compressed":
        plain = (root / "base.qcow2").rename(root / "plain.qcow2")
        images.qemu_img("convert", "-c", "-f", "qcow2", "-O", "qcow2", plain, root / "base.qcow2")
        plain.unlink()
    images.overlay(
        root / "mid.qcow2", "base.qcow2", "qcow2", "write -P 2 2M 4k", "write -P 3 5M 2M"
    )
    images.overlay(root / "top.qcow2", "mid.qcow2", "qcow2", "write -P 4 3M 64k")
    before = images.view(root / "top.qcow2")
    merge = merged("base.qcow2", "mid.qcow2", strategy)
    assert merge.state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before
    joined = {"commit": "base", "rebase": "mid"}.get(strategy, f"base-merged-{merge.pk}")
    info = images.qemu_img("info", root / f"{joined}.qcow2")
    # A new volume stands for base; a rebase keeps top's own kind.
    assert ("extended l2: true" in info) == (kind == "extended" and strategy != "rebase")
