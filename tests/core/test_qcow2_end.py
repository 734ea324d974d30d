"""Where an image ends: `qemu-img check` is the oracle."""

import json
import struct
from pathlib import Path

import pytest

from chains.core.qcow2_end import image_end
from chains.core.qcow2_header import Header, parse_header
from chains.core.source import FileSource
from tests.images import MIB, qcow2, qemu_img, write


def look(path: Path) -> tuple[int, bytes, Header]:
    with path.open("rb") as file:
        header = parse_header(file.fileno())
        return *image_end(FileSource(file.fileno()), header), header


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("cluster", ["512", "4k", "64k", "2M"])
def test_the_end_is_what_check_says(tmp_path: Path, bits: int, cluster: str):
    options = [f"refcount_bits={bits}", f"cluster_size={cluster}"]
    path = qcow2(tmp_path / "a.qcow2", 64 * MIB, options=options)
    ends = []
    for command in (None, "write 0 64k", "write 1M 3M", "discard 0 64k"):
        if command:
            write(path, "qcow2", command)
        end, digest, _ = look(path)
        told = json.loads(qemu_img("check", "--output=json", path))
        assert end == told["image-end-offset"]
        ends.append((end, digest))
    assert len(set(ends[:3])) == 3


@pytest.mark.parametrize("entry", [2**64 - 1, 1 << 40, 0, 12345, 2**62])
def test_damaged_tables_give_a_lower_bound(tmp_path: Path, entry: int):
    path = qcow2(tmp_path / "a.qcow2", 64 * MIB, "write 0 1M")
    good, digest, header = look(path)
    with path.open("r+b") as file:
        file.seek(header.refcount_offset)
        file.write(struct.pack(">Q", entry))
    end, other, _ = look(path)
    assert digest != other
    assert end >= header.tables_end
    if entry == 1 << 40:
        assert end == (1 << 40) + header.cluster_size  # a block of counts lies there
    else:
        assert end <= good


def test_a_file_that_was_cut(tmp_path: Path):
    path = qcow2(tmp_path / "a.qcow2", 64 * MIB, "write 0 1M")
    good, _, header = look(path)
    with path.open("r+b") as file:
        file.truncate(good - MIB)
    assert look(path)[0] == good
    with path.open("r+b") as file:
        file.truncate(header.refcount_offset + 4)
    assert look(path)[0] == header.tables_end
