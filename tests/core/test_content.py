"""The independent reader against qemu-img: every byte of random chains."""

import contextlib
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given

from chains.core.chain import read_chain
from chains.core.content import Content, UnsupportedContentError, batches, room
from chains.core.errors import ReadError
from chains.core.ranges import Ranges
from tests.core.images import MIB, patch, qcow2, raw
from tests.core.test_random_chains import build, chains, examples


def content(path: Path, uncached: str = "") -> bytes:
    chain = read_chain(str(path.parent), path.name)
    assert chain.is_safe, chain.findings
    with Content.of_chain(chain, uncached) as found:
        size = chain.layers[0].virtual_size
        place = room()
        return b"".join(
            bytes(found.fill_with(place, batch)) for batch in batches(Ranges.whole(size))
        )


def by_qemu(path: Path, image_format: str = "qcow2") -> bytes:
    target = path.with_name("flat")
    argv = ["qemu-img", "convert", "-f", image_format, "-O", "raw", f"./{path.name}", target.name]
    subprocess.run(argv, cwd=path.parent, check=True)
    return target.read_bytes()


@examples(25)
@given(chains)
def test_every_byte_of_random_chains(plan) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = build(Path(folder), *plan)
        top = images[-1]
        found = read_chain(folder, top.name)
        if not found.is_safe or any(f.code == "data-file" for f in found.findings):
            return
        packed = any(layer.header and layer.header.compression == "zstd" for layer in found.layers)
        with contextlib.suppress(*([UnsupportedContentError] if packed else [])):
            assert content(top) == by_qemu(top, "raw" if top.suffix == ".raw" else "qcow2")


def test_compressed_clusters_and_what_lies_between(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 4 * MIB - 512, "write -P 1 0 4094k")
    top = qcow2(tmp_path / "top.qcow2", 5 * MIB, "write -c -P 7 64k 64k", "write -c -P 9 128k 64k",
                "write -P 3 100k 8k", "write -z 1M 64k", backing="base.raw")  # fmt: skip
    assert content(top) == by_qemu(top)


def test_reading_past_the_cache_reads_the_same(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 9 * MIB - 512, "write -P 1 0 6M", "write -P 2 7M 2047k")
    top = qcow2(tmp_path / "top.qcow2", None, "write -P 7 1M 3M", "write -P 8 2049k 1k",
                "write -P 9 8M 100k", backing="base.raw")  # fmt: skip
    for uncached in ("base.raw", "top.qcow2"):
        assert content(top, uncached) == by_qemu(top)


def test_a_range_that_begins_and_ends_anywhere(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", MIB, "write -P 1 0 1M")
    top = qcow2(tmp_path / "top.qcow2", None, "write -P 2 64k 64k", backing="base.raw")
    whole = by_qemu(top)
    with Content.of_chain(read_chain(str(tmp_path), "top.qcow2")) as found:
        for start, length in ((0, 1), (65535, 2), (70000, 61072), (131071, 3), (MIB - 1, 1)):
            assert found.read(start, length) == whole[start : start + length]
        assert found.read(MIB - 2, 10) == whole[-2:] + bytes(8), "beyond the end reads zero"


def test_damage_in_a_compressed_cluster_is_told(tmp_path: Path) -> None:
    top = qcow2(tmp_path / "top.qcow2", MIB, "write -c -P 7 0 64k")
    data = top.read_bytes()
    patch(top, data.rindex(b"\xed", 0, len(data)), "8s", b"\xff" * 8)
    chain = read_chain(str(tmp_path), "top.qcow2")
    with Content.of_chain(chain) as found, pytest.raises(ReadError):
        found.read(0, 65536)


def test_an_encrypted_layer_is_declined(tmp_path: Path) -> None:
    top = qcow2(tmp_path / "top.qcow2", MIB, "write -P 7 0 64k")
    patch(top, 32, "I", 1)
    chain = read_chain(str(tmp_path), "top.qcow2")
    with pytest.raises(UnsupportedContentError), Content.of_chain(chain):
        pass
