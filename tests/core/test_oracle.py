"""Directed chains, each compared with `qemu-img map` run by run."""

import shutil
from pathlib import Path

import pytest

from tests.core.images import GIB, KIB, MIB, assert_like_qemu, qcow2, raw, tool, write

CLUSTERS = [512, 4 * KIB, 64 * KIB, 2 * MIB]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_chain_of_writes_zeroes_and_discards(tmp_path: Path, cluster: int) -> None:
    raw(tmp_path / "base.raw", 16 * MIB, "write 1M 3M", "write 9M 64k")
    one = qcow2(tmp_path / "one.qcow2", None, "write 2M 4M", "write -z 8M 2M", "write 13M 512",
                backing="base.raw", cluster_size=cluster)  # fmt: skip
    top = qcow2(tmp_path / "top.qcow2", None, "write 3M 1M", "write -z 5M 1M", "discard 2M 1M",
                "write -z -u 13M 1M", backing="one.qcow2", cluster_size=cluster)  # fmt: skip
    assert_like_qemu(one)
    assert_like_qemu(top)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_runs_over_the_border_of_an_l2_table(tmp_path: Path, cluster: int) -> None:
    covered = cluster * cluster // 8
    size = 4 * covered
    writes = []
    for border in (covered, 3 * covered):  # the third table is left out
        writes += [f"write -z {border - cluster} {2 * cluster}"]
    qcow2(tmp_path / "base.qcow2", size, f"write 0 {cluster}", cluster_size=cluster)
    top = qcow2(tmp_path / "top.qcow2", size, *writes, backing="base.qcow2", cluster_size=cluster)
    assert_like_qemu(top)


def test_equal_ends_of_tables_that_are_not_neighbours_stay_apart(tmp_path: Path) -> None:
    # 512-byte clusters: a table covers 32 KiB. The first and the third exist, the second does not.
    qcow2(tmp_path / "base.qcow2", 128 * KIB, "write 0 128k", cluster_size=512)
    top = qcow2(tmp_path / "top.qcow2", None, "write 24k 8k", "write 64k 8k",
                backing="base.qcow2", cluster_size=512)  # fmt: skip
    assert_like_qemu(top)


@pytest.mark.parametrize("shift", range(-2, 3))
@pytest.mark.parametrize("tables", [(0, 1), (0, 2), (1, 2, 3), (3, 0)])
def test_tables_written_in_any_order(tmp_path: Path, shift: int, tables: tuple[int, ...]) -> None:
    step = 32 * KIB
    writes = [f"write {max(0, at * step + shift * 512)} {step // 2}" for at in tables]
    writes += [f"write -z {max(0, at * step + step // 2 + shift * 512)} 2k" for at in tables]
    qcow2(tmp_path / "base.qcow2", 160 * KIB, "write 8k 100k", cluster_size=512)
    top = qcow2(tmp_path / "top.qcow2", None, *writes, backing="base.qcow2", cluster_size=512)
    assert_like_qemu(top)


@pytest.mark.parametrize("cluster", [16 * KIB, 64 * KIB, 2 * MIB])
def test_sub_clusters(tmp_path: Path, cluster: int) -> None:
    unit = cluster // 32
    qcow2(tmp_path / "base.qcow2", 8 * cluster, f"write 0 {5 * cluster}", cluster_size=cluster)
    top = qcow2(
        tmp_path / "top.qcow2", None,
        f"write {unit} {unit}", f"write {3 * unit} {30 * unit}", f"write -z {40 * unit} {3 * unit}",
        f"write {64 * unit} {32 * unit}", f"write -z {64 * unit} {unit}",
        f"write -z {2 * unit} {unit}", f"discard {4 * unit} {5 * unit}",
        f"write -c {6 * cluster} {cluster}",
        backing="base.qcow2", cluster_size=cluster, extended_l2="on",
    )  # fmt: skip
    assert_like_qemu(top)


def test_sub_clusters_over_many_tables(tmp_path: Path) -> None:
    qcow2(tmp_path / "base.qcow2", 100 * MIB, "write 0 100M")
    top = qcow2(  # a table of 16 KiB has 1024 entries of 16 bytes: it covers 16 MiB
        tmp_path / "top.qcow2", None, "write 1M 3k", "write 47M 2M", "write -z 99M 512",
        backing="base.qcow2", cluster_size=16 * KIB, extended_l2="on",
    )  # fmt: skip
    assert_like_qemu(top)


@pytest.mark.parametrize("layout", ["mixed", "whole"])
def test_full_tables(tmp_path: Path, layout: str) -> None:
    covered = 32 * KIB  # what a table of 64 entries covers at 512-byte clusters
    odd = {"mixed": f"write -z {covered + 1024} 512", "whole": f"write {covered} 512"}[layout]
    qcow2(tmp_path / "base.qcow2", 4 * covered, f"write 0 {4 * covered}", cluster_size=512)
    top = qcow2(tmp_path / "top.qcow2", None, f"write 0 {3 * covered}", odd, backing="base.qcow2",
                cluster_size=512)  # fmt: skip
    assert_like_qemu(top)


@pytest.mark.parametrize("raw_too", ["off", "on"])
def test_data_files(tmp_path: Path, raw_too: str) -> None:
    top = qcow2(tmp_path / "top.qcow2", 8 * MIB, "write 0 1M", "write -z 2M 1M", "write 5M 64k",
                "discard 512k 256k", data_file="top.data", data_file_raw=raw_too)  # fmt: skip
    assert_like_qemu(top)


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_compressed_clusters(tmp_path: Path, kind: str, cluster: int) -> None:
    options = {"cluster_size": cluster, "compression_type": kind}
    base = qcow2(tmp_path / "base.qcow2", 8 * MIB, "write -P 7 0 6M", "write -z 1M 2M", **options)
    argv = ["-c", "-f", "qcow2", "-O", "qcow2", "-o"]
    text = ",".join(f"{name}={value}" for name, value in options.items())
    tool("qemu-img", "convert", *argv, text, base.name, "packed.qcow2", cwd=tmp_path)
    assert_like_qemu(tmp_path / "packed.qcow2")
    top = qcow2(tmp_path / "top.qcow2", None, "write -c 2M 2M", "write 3M 64k",
                backing="packed.qcow2", **options)  # fmt: skip
    assert_like_qemu(top)


def test_version_2_and_every_width_of_reference_counts(tmp_path: Path) -> None:
    for number, option in enumerate(
        [{"compat": "0.10"}, *({"refcount_bits": 1 << n} for n in (0, 6))]
    ):
        image = qcow2(
            tmp_path / f"{number}.qcow2", 4 * MIB, "write 1M 1M", "write -z 0 2M", **option
        )
        assert_like_qemu(image)


@pytest.mark.parametrize("size", [1, 511, 512, 1000, 65537, 3 * MIB + 77])
def test_raw_roots_of_odd_size(tmp_path: Path, size: int) -> None:
    base = raw(tmp_path / "base.raw", size)
    base.open("r+b").write(b"x" * min(size, 600))
    assert_like_qemu(base, "raw")
    top = qcow2(tmp_path / "top.qcow2", 4 * MIB, "write 2M 64k", backing="base.raw")
    assert_like_qemu(top)
    assert_like_qemu(qcow2(tmp_path / "same.qcow2", None, backing="base.raw"))


def test_layers_shorter_and_longer_than_the_disk(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 4 * MIB, "write 0 4M")
    sizes = [1 * MIB, 2 * MIB, 4 * MIB, 5 * MIB, 3 * MIB + 512, 6 * MIB, 2 * MIB + 512]
    backing = "base.raw"
    for number, size in enumerate(sizes):
        image = qcow2(tmp_path / f"{number}.qcow2", size, f"write {number * 300}k 64k",
                      f"write -z {size - 66048} 64k", backing=backing)  # fmt: skip
        backing = image.name
        assert_like_qemu(image)


def test_resized_in_place(tmp_path: Path) -> None:
    qcow2(tmp_path / "base.qcow2", 4 * MIB, "write 0 4M")
    top = qcow2(tmp_path / "top.qcow2", None, "write 3M 1M", backing="base.qcow2")
    tool("qemu-img", "resize", "-q", top.name, "9M", cwd=tmp_path)
    assert_like_qemu(top)
    tool("qemu-img", "resize", "-q", "--shrink", top.name, "3500K", cwd=tmp_path)
    assert_like_qemu(top)


@pytest.mark.parametrize("how", ["metadata", "falloc", "full"])
def test_preallocated(tmp_path: Path, how: str) -> None:
    base = qcow2(tmp_path / "base.qcow2", 8 * MIB, "write 1M 1M", preallocation=how)
    assert_like_qemu(base)
    top = qcow2(tmp_path / "top.qcow2", None, "write -z 0 3M", backing="base.qcow2")
    assert_like_qemu(top)


def test_internal_snapshots_and_vm_state_do_not_count(tmp_path: Path) -> None:
    image = qcow2(tmp_path / "base.qcow2", 4 * MIB, "write 0 1M")
    tool("qemu-img", "snapshot", "-c", "before", image.name, cwd=tmp_path)
    write(image, "write 512k 1M", "discard 0 256k")
    assert_like_qemu(image)


def test_a_large_sparse_disk(tmp_path: Path) -> None:
    qcow2(tmp_path / "base.qcow2", 16 * 1024 * GIB, "write 15T 64k", "write 3T 1M")
    top = qcow2(tmp_path / "top.qcow2", None, "write 7T 64k", "write -z 15T 32k",
                backing="base.qcow2", cluster_size=2 * MIB)  # fmt: skip
    assert_like_qemu(top)


def test_a_deep_chain(tmp_path: Path) -> None:
    qcow2(tmp_path / "0.qcow2", 8 * MIB, "write 0 8M")
    for depth in range(1, 70):
        qcow2(tmp_path / f"{depth}.qcow2", None, f"write {depth * 64}k 192k",
              backing=f"{depth - 1}.qcow2")  # fmt: skip
    assert_like_qemu(tmp_path / "69.qcow2")


def test_a_name_that_people_get_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "it's a: {folder} <b>\n"
    folder.mkdir()
    raw(folder / "a:b.raw", 1 * MIB, "write 0 64k")
    qcow2(folder / "top.qcow2", None, "write 64k 64k", backing="./a:b.raw")
    assert_like_qemu(folder / "top.qcow2")
    shutil.rmtree(folder)
