"""Where the parts of a header may lie, and damage to them: what the quick way must not get wrong."""

import json
import os
import random
import struct
import time
from pathlib import Path

import pytest

from chains.core.chain import read_chain, read_layer
from chains.core.errors import ReadError
from chains.core.facts import header_facts, notable, stored_facts
from chains.core.layer import RealRoot, real_root
from chains.core.qcow2_header import Header, parse_header, parse_named
from tests.core.images import KIB, MIB, patch, qcow2, raw, tool


def laid_out(path: Path, padding: int, name_at: int, name: str = "base.raw") -> Path:
    """An image with an unknown extension of `padding` bytes, and its backing file's name anywhere."""
    qcow2(path, MIB)
    content = b""
    if padding:
        content = struct.pack(">II", 0xDEADBEEF, padding) + b"x" * (padding + -padding % 8)
    content += struct.pack(">II3s5x", 0xE2792ACA, 3, b"raw") + bytes(8)
    patch(path, 112, f"{len(content)}s", content)
    patch(path, name_at, f"{len(name)}s", name.encode())
    return patch(path, 8, "QI", name_at, len(name))


def of_file(path: Path) -> Header:
    with path.open("rb") as file:
        return parse_header(file.fileno())


@pytest.mark.parametrize("padding", [0, 500, 880, 896, 1000, 3960, 4000, 20_000, 60_000])
def test_long_extensions_and_names_behind_them(tmp_path: Path, padding: int) -> None:
    raw(tmp_path / "base.raw", MIB)
    end = 112 + 8 + padding + -padding % 8 + 16 + 8
    for name_at in {end, 1020, 1023, 1024, 4090, 4096, 65536 - 8}:
        if name_at < end:
            continue
        path = laid_out(tmp_path / "top.qcow2", padding, name_at)
        header = of_file(path)
        assert header == parse_header(path.read_bytes())
        assert (parse_named(path.read_bytes())[1], header.backing_format) == ("base.raw", "raw")
        assert header.backing_offset == name_at
        said = tool("qemu-img", "info", "-f", "qcow2", path.name, cwd=tmp_path)
        assert "backing file: base.raw" in said
        assert "backing file format: raw" in said
        assert read_chain(str(tmp_path), path.name).findings == ()


@pytest.mark.parametrize("name_at", [8, 72, 100, 104, 112, 120, 127, 128, 140])
def test_a_name_inside_of_what_lies_before_it(tmp_path: Path, name_at: int) -> None:
    """Whether QEMU opens such a file or not, both ways of reading it say the same."""
    path = laid_out(tmp_path / "top.qcow2", 0, name_at)
    found = []
    for source in (path.read_bytes(), None):
        try:
            found.append(of_file(path) if source is None else parse_header(source))
        except ReadError as error:
            found.append(error.finding)
    assert found[0] == found[1]


def test_alike_headers_are_not_mixed_up(tmp_path: Path) -> None:
    for number in range(20):
        raw(tmp_path / f"{number}.raw", MIB)
        path = qcow2(tmp_path / f"{number}.qcow2", (number % 3 + 1) * MIB,
                     backing=f"{number}.raw", cluster_size=64 * KIB)  # fmt: skip
        patch(path, 80, "Q", number % 2)
    for number in [*range(20), *range(20)]:
        layer = read_layer(str(tmp_path), f"{number}.qcow2")
        assert layer.header is not None
        assert layer.backing_path == f"{number}.raw"
        assert layer.virtual_size == (number % 3 + 1) * MIB
        assert layer.header.lazy_refcounts == bool(number % 2)


def test_the_error_names_the_image_that_was_read(tmp_path: Path) -> None:
    content = qcow2(tmp_path / "one.qcow2", MIB).read_bytes()
    forged = content[:20] + b"\xff" + content[21:]
    for name in ("one", "two", "one"):
        with pytest.raises(ReadError) as caught:
            parse_header(forged, name)
        assert caught.value.finding.path == name
        assert str(caught.value).startswith(f"{name}: ")


def test_a_root_is_followed_once_by_those_who_ask_for_it(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    qcow2(tmp_path / "one" / "a.qcow2", MIB)
    qcow2(tmp_path / "two" / "a.qcow2", 2 * MIB)
    link = tmp_path / "link"
    link.symlink_to("one")
    root = real_root(str(link))
    assert root == os.path.realpath(tmp_path / "one")
    assert isinstance(real_root(root), RealRoot)
    link.unlink()
    link.symlink_to("two")
    assert read_layer(root, "a.qcow2").virtual_size == MIB
    assert read_layer(str(link), "a.qcow2").virtual_size == 2 * MIB
    assert read_chain(str(link), "a.qcow2").layers[0].virtual_size == 2 * MIB


def test_nothing_but_findings_and_text_comes_of_damaged_tables(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "seed.qcow2", MIB, cluster_size=512)
    for name in ("one", "two"):
        tool("qemu-img", "snapshot", "-c", name, path.name, cwd=tmp_path)
        tool("qemu-img", "bitmap", "--add", path.name, name, cwd=tmp_path)
    content = path.read_bytes()
    header = parse_header(content)
    bitmaps = header.extensions.bitmaps
    assert bitmaps is not None
    places = [(60, 12), (72, 24), (104, 400), (header.snapshots_offset, 160),
              (bitmaps.offset, bitmaps.size)]  # fmt: skip
    luck = random.Random(11)  # noqa: S311 - not for secrets: the same images every time
    mutant, ends = tmp_path / "mutant.qcow2", set()
    for _ in range(1500):
        forged = bytearray(content)
        for _ in range(luck.randint(1, 3)):
            start, length = luck.choice(places)
            at = start + luck.randrange(length)
            forged[at] = luck.choice([0, 1, 0x7F, 0xFF, forged[at] ^ 1 << luck.randrange(8)])
        mutant.write_bytes(forged)
        before = time.process_time()
        layer = read_layer(str(tmp_path), mutant.name, tables=True)
        facts, stored = header_facts(layer), stored_facts(layer)
        assert time.process_time() - before < 0.5
        ends |= {str(finding.code) for finding in layer.findings} or {"fine"}
        assert all(f.detail.isprintable() and len(f.detail) < 500 for f in layer.findings)
        assert all(text.isprintable() for text in (notable(layer.header) if layer.header else ()))
        for found in (facts, stored):
            text = json.dumps(found, ensure_ascii=False)
            text.encode()
            assert "\\u0000" not in text
    assert {"fine", "header-invalid", "tables-invalid", "truncated", "feature-unknown"} <= ends
