"""Merges by convert, on real images: what every guest reads is the same before and after."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chains.inventory.scan import scan_domain
from chains.merges import runner, services
from chains.models import Disk, Merge, StorageDomain, Volume
from tests import images

Merged = Callable[[str, str], Merge]


def root_of(domain: StorageDomain) -> Path:
    return Path(domain.path)


def names(domain: StorageDomain) -> set[str]:
    return {path.name for path in root_of(domain).iterdir()}


def test_the_article_from_the_first_command_to_the_last(
    domain: StorageDomain, merged: Merged
) -> None:
    root = root_of(domain)
    images.lesson(root, 1024 * images.MIB)
    before = images.view(root / "snap2.img")
    merge = merged("base.img", "snap1.img")
    assert merge.state == "succeeded", merge.message
    new = f"base-merged-{merge.pk}.img"
    assert names(domain) == {new, "snap2.img"}
    assert f"backing file: {new} " in images.qemu_img("info", root / "snap2.img")
    assert '"format": "raw"' in images.qemu_img("info", "--output=json", "-f", "raw", root / new)
    assert images.view(root / "snap2.img") == before
    assert [step.state for step in merge.steps.all()] == ["done"] * 5
    assert merge.percent == 100


def test_the_commands_are_kept_as_they_were_run(domain: StorageDomain, merged: Merged) -> None:
    images.lesson(root_of(domain))
    merge = merged("base.img", "snap1.img")
    commands = "\n".join(merge.steps.values_list("command", flat=True))
    for verb in (
        "qemu-img convert -f qcow2 -O raw",
        "qemu-img compare",
        "qemu-img rebase -u",
        "rm ",
    ):
        assert verb in commands


@pytest.mark.parametrize(("base", "top"), [(0, 1), (2, 5), (3, 4), (0, 6), (5, 7), (0, 7)])
def test_any_run_of_a_deep_chain(
    domain: StorageDomain, merged: Merged, base: int, top: int
) -> None:
    root = root_of(domain)
    layers = images.deep(root, 8)
    before = {path.name: images.view(path) for path in layers}
    merge = merged(layers[base].name, layers[top].name)
    assert merge.state == "succeeded", merge.message
    kept = [path for n, path in enumerate(layers) if not base <= n <= top or (n == top == 7)]
    assert {path.name for path in kept} <= names(domain)
    assert len(names(domain)) == 8 - (top - base)
    for path in kept:
        assert images.view(path) == before[path.name]
    images.qemu_img("check", "-q", layers[-1])
    assert Disk.objects.get().layers == 8 - (top - base)


def test_the_active_layer_keeps_its_path_and_format(domain: StorageDomain, merged: Merged) -> None:
    root = root_of(domain)
    images.lesson(root)
    os.chmod(root / "snap2.img", 0o640)
    before = images.view(root / "snap2.img")
    merge = merged("base.img", "snap2.img")
    assert merge.state == "succeeded", merge.message
    assert names(domain) == {"snap2.img"}
    assert "backing file" not in images.qemu_img("info", root / "snap2.img")
    assert images.view(root / "snap2.img") == before
    assert (root / "snap2.img").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("strategy", ["commit", "rebase", "convert"])
def test_the_age_of_each_snapshot_is_kept(
    domain: StorageDomain, merged: Merged, strategy: str
) -> None:
    """The joined volume is as old as what it shows; an overlay that is only re-tied stays as old as it was."""
    root = root_of(domain)
    images.lesson(root)
    for number, name in enumerate(("base.img", "snap1.img", "snap2.img")):
        os.utime(root / name, (1_600_000_000 + number, 1_600_000_000 + number))
    merge = merged("base.img", "snap1.img", strategy)
    joined = {"commit": "base.img", "rebase": "snap1.img"}.get(
        strategy, f"base-merged-{merge.pk}.img"
    )
    assert (root / joined).stat().st_mtime == 1_600_000_001
    assert (root / "snap2.img").stat().st_mtime == 1_600_000_002


def test_a_run_over_a_raw_root(domain: StorageDomain, merged: Merged) -> None:
    root = root_of(domain)
    images.lesson(root)
    images.overlay(root / "snap3.img", "snap2.img", "qcow2", "write -P 4 0 1M")
    before = images.view(root / "snap3.img")
    merge = merged("snap1.img", "snap2.img")
    assert merge.state == "succeeded", merge.message
    assert names(domain) == {"base.img", f"snap1-merged-{merge.pk}.img", "snap3.img"}
    assert images.view(root / "snap3.img") == before


def test_all_clones_of_a_template_follow(domain: StorageDomain, merged: Merged) -> None:
    root = root_of(domain)
    images.qcow2(root / "os.qcow2", 16 * images.MIB, "write -P 1 0 2M")
    images.overlay(root / "template.qcow2", "os.qcow2", "qcow2", "write -P 2 1M 2M")
    clones = [
        images.overlay(
            root / f"clones/c{n}.qcow2", "../template.qcow2", "qcow2", f"write -P {n} {n}M 64k"
        )
        for n in range(3, 6)
    ]
    before = [images.view(clone) for clone in clones]
    merge = merged("os.qcow2", "template.qcow2")
    assert merge.state == "succeeded", merge.message
    assert [images.view(clone) for clone in clones] == before
    assert names(domain) == {"clones", f"os-merged-{merge.pk}.qcow2"}


def test_an_overlay_larger_than_what_is_below(domain: StorageDomain, merged: Merged) -> None:
    root = root_of(domain)
    images.raw(root / "a.img", 4 * images.MIB, "write -P 1 0 4M")
    images.overlay(root / "b.qcow2", "a.img", "raw", size=16 * images.MIB)
    images.overlay(root / "c.qcow2", "b.qcow2", "qcow2", "write -P 3 8M 64k", size=24 * images.MIB)
    before = images.view(root / "c.qcow2")
    assert merged("a.img", "b.qcow2").state == "succeeded"
    assert images.view(root / "c.qcow2") == before


def test_a_middle_layer_shorter_than_its_base(domain: StorageDomain, merged: Merged) -> None:
    root = root_of(domain)
    images.qcow2(root / "a.qcow2", 16 * images.MIB, "write -P 1 0 16M")
    images.overlay(root / "b.qcow2", "a.qcow2", "qcow2", size=4 * images.MIB)
    images.overlay(root / "c.qcow2", "b.qcow2", "qcow2", "write -P 2 0 64k", size=4 * images.MIB)
    images.overlay(root / "d.qcow2", "c.qcow2", "qcow2", size=16 * images.MIB)
    before = images.view(root / "d.qcow2")
    assert merged("b.qcow2", "c.qcow2").state == "succeeded"
    assert images.view(root / "d.qcow2") == before


HOSTILE = [
    b"quote'\"$(touch pwned).img", b"<script>alert(1)</script>.img", b"new\nline.img",
    b"{|}<port>.img", b"\xff\xfe.img", "😀.img".encode(), b"a:b.img", b"-n.img", b"comma,b=c.img",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(domain: StorageDomain, merged: Merged, name: bytes) -> None:
    name = name.replace(b"/", b"_")
    root = root_of(domain)
    base = os.fsdecode(name)
    images.raw(root / "plain.img", 8 * images.MIB, "write -P 1 0 1M")
    images.overlay(root / "s1.qcow2", "plain.img", "raw", "write -P 2 1M 1M")
    images.overlay(root / "s2.qcow2", "s1.qcow2", "qcow2", "write -P 3 2M 1M")
    os.rename(root / "plain.img", root / base)
    recorded = f"./{base}" if ":" in base else base
    images.qemu_img("rebase", "-u", "-f", "qcow2", "-b", recorded, "-F", "raw", root / "s1.qcow2")
    before = images.view(root / "s2.qcow2")
    merge = merged(base, "s1.qcow2")
    assert merge.state == "succeeded", merge.message
    assert images.view(root / "s2.qcow2") == before
    assert not (root / base).exists()
    assert not Path("pwned").exists()


def test_old_files_of_another_hand_are_not_overwritten(
    domain: StorageDomain, asked: Merged
) -> None:
    root = root_of(domain)
    images.lesson(root)
    merge = asked("base.img", "snap1.img")
    (root / f"base-merged-{merge.pk}.img").write_text("precious")
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "attention"
    assert "rename it, and resume" in merge.message
    assert (root / f"base-merged-{merge.pk}.img").read_text() == "precious"
    (root / f"base-merged-{merge.pk}.img").unlink()
    services.resume(merge, None, "test")
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "succeeded"


def test_the_inventory_follows(domain: StorageDomain, merged: Merged) -> None:
    images.lesson(root_of(domain))
    scan_domain(domain)
    disk = Disk.objects.get()
    merge = merged("base.img", "snap1.img")
    assert Disk.objects.get().pk == disk.pk
    assert set(Volume.objects.values_list("path_text", flat=True)) == {
        f"base-merged-{merge.pk}.img",
        "snap2.img",
    }
