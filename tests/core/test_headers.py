"""What headers and their tables say, compared with `qemu-img info`; and tables that lie."""

import json
import os
import struct
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from chains.core.chain import read_chain, read_layer
from chains.core.facts import KEYS, header_facts, notable, stored_facts
from chains.core.layer import Layer
from chains.core.qcow2_header import FEATURES, parse_header
from tests.core.images import KIB, MIB, patch, qcow2, raw, tool
from tests.images import locked

FEATURE_TABLE = 0x6803F857


def facts_of(path: Path) -> dict[str, Any]:
    layer = whole(path)
    assert layer.is_readable, layer.findings
    return header_facts(layer)


def whole(path: Path) -> Layer:
    return read_layer(str(path.parent), path.name, tables=True)


def info(path: Path, *options: str) -> dict[str, Any]:
    argv = ["qemu-img", "info", "--output=json", "-f", "qcow2", *options, path.name]
    found: dict[str, Any] = json.loads(tool(*argv, cwd=path.parent))
    return found


def is_refused(path: Path) -> bool:
    """Whether qemu-img can not so much as open the image."""
    argv = ["qemu-img", "info", "--output=json", "-f", "qcow2", path.name]
    return tool(*argv, cwd=path.parent, refusals=True).strip() in ("", "null")


def assert_like_info(path: Path) -> dict[str, Any]:
    """Compare every fact that qemu-img prints."""
    facts, said = facts_of(path), info(path)
    own = said["format-specific"]["data"]
    layer = whole(path)
    assert (layer.virtual_size, layer.cluster_size) == (said["virtual-size"], said["cluster-size"])
    assert {2: "0.10", 3: "1.1"}[facts["version"]] == own["compat"]
    assert facts["refcount_bits"] == own["refcount-bits"]
    assert facts["compression"] == own["compression-type"]
    assert facts["lazy_refcounts"] == own.get("lazy-refcounts", False)
    assert facts["extended_l2"] == own.get("extended-l2", False)
    assert facts["corrupt"] == own.get("corrupt", False)
    assert facts["dirty"] == said["dirty-flag"]
    assert facts["data_file"] == own.get("data-file")
    assert facts["data_file_raw"] == own.get("data-file-raw", False)
    assert facts["encryption"] == own.get("encrypt", {}).get("format")
    assert bool(facts["encryption"]) == said.get("encrypted", False)
    assert [
        {"name": b["name"], "granularity": b["granularity"],
         "flags": ["in-use"] * b["in_use"] + ["auto"] * b["enabled"]}
        for b in facts["bitmaps"]
    ] == own.get("bitmaps", [])  # fmt: skip
    moments = [datetime.fromisoformat(snapshot["date"]) for snapshot in facts["snapshots"]]
    assert [
        (s["id"], s["name"], s["vm_state_size"], int(moment.timestamp()), moment.microsecond)
        for s, moment in zip(facts["snapshots"], moments, strict=True)
    ] == [
        (s["id"], s["name"], s["vm-state-size"], s["date-sec"], s["date-nsec"] // 1000)
        for s in said.get("snapshots", [])
    ]
    assert facts["snapshot_count"] == len(facts["snapshots"])
    assert facts["bitmap_count"] == len(facts["bitmaps"])
    return facts


@pytest.mark.parametrize(
    "options",
    [
        {"compat": "0.10"},
        {"compat": "0.10", "cluster_size": 512},
        {"compat": "1.1", "cluster_size": 2 * MIB},
        *({"cluster_size": size} for size in (512, 1 * KIB, 4 * KIB, 128 * KIB)),
        *({"refcount_bits": bits} for bits in (1, 2, 4, 8, 16, 32, 64)),
        {"compression_type": "zlib"},
        {"compression_type": "zstd"},
        {"extended_l2": "on"},
        {"lazy_refcounts": "on"},
        {"compression_type": "zstd", "extended_l2": "on", "lazy_refcounts": "on",
         "refcount_bits": 64, "cluster_size": 16 * KIB},
        {"data_file": "top.data"},
        {"data_file": "./top.data", "data_file_raw": "on"},
    ],
)  # fmt: skip
def test_every_option_of_create(tmp_path: Path, options: dict[str, object]) -> None:
    path = qcow2(tmp_path / "top.qcow2", 3 * MIB + 512, **options)
    facts = assert_like_info(path)
    assert facts["data_file_raw"] == ("raw external data" in facts["features"]["autoclear"])
    assert facts["snapshots"] == facts["bitmaps"] == []


@pytest.mark.parametrize("method", ["luks", "aes"])
def test_encryption(tmp_path: Path, method: str) -> None:
    if method == "luks":
        locked(tmp_path / "top.qcow2", "1M")
    else:
        tool("qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=key,data=words",
             "-o", "encrypt.format=aes,encrypt.key-secret=key", "top.qcow2", "1M", cwd=tmp_path)  # fmt: skip
    facts = assert_like_info(tmp_path / "top.qcow2")
    assert facts["encryption"] == method
    listed = [extension["name"] for extension in facts["extensions"]]
    assert ("encryption header" in listed) == (method == "luks")
    chain = read_chain(str(tmp_path), "top.qcow2")
    assert [(f.code, f.severity) for f in chain.findings] == [("encrypted", "warning")]
    os.truncate(tmp_path / "top.qcow2", 4 * 65536)
    found = {f.code: f.severity for f in whole(tmp_path / "top.qcow2").findings}
    assert ("truncated" in found) == (method == "luks"), "its keys lie behind the tables"


def test_snapshots(tmp_path: Path) -> None:
    for compat in ("0.10", "1.1"):
        path = qcow2(tmp_path / "top.qcow2", 1 * MIB, "write 0 64k", compat=compat)
        for name in ("first", "два", "with \t a tab", "x" * 200):
            tool("qemu-img", "snapshot", "-c", name, path.name, cwd=tmp_path)
        facts = assert_like_info(path)
        assert [s["name"] for s in facts["snapshots"]][:2] == ["first", "два"]
        assert {s["disk_size"] for s in facts["snapshots"]} == {1 * MIB}
    tool("qemu-img", "resize", "-q", path.name, "2M", cwd=tmp_path)
    tool("qemu-img", "snapshot", "-c", "grown", path.name, cwd=tmp_path)
    sizes = [s["disk_size"] for s in assert_like_info(path)["snapshots"]]
    assert sizes == [1 * MIB] * 4 + [2 * MIB]


def test_many_snapshots(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB, cluster_size=512)
    for number in range(40):
        tool("qemu-img", "snapshot", "-c", f"s{number}", path.name, cwd=tmp_path)
    facts = assert_like_info(path)
    assert [s["name"] for s in facts["snapshots"]] == [f"s{number}" for number in range(40)]
    stored = stored_facts(whole(path), most=7)
    assert stored is not None
    assert (stored["snapshot_count"], len(stored["snapshots"])) == (40, 7)


def test_bitmaps(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 8 * MIB)
    for name, *more in (
        ("плюс",), ("coarse", "-g", "1M"), ("fine", "-g", "512"), ("off", "--disable"),
    ):  # fmt: skip
        tool("qemu-img", "bitmap", "--add", *more, path.name, name, cwd=tmp_path)
    facts = assert_like_info(path)
    assert [b["enabled"] for b in facts["bitmaps"]] == [True, True, True, False]
    assert facts["features"]["autoclear"] == ["bitmaps"]
    directory = parse_header(path.read_bytes()).extensions.bitmaps
    assert directory is not None
    flags = struct.unpack_from(">I", path.read_bytes(), directory.offset + 12)[0]
    patch(path, directory.offset + 12, "I", flags | 1)
    assert assert_like_info(path)["bitmaps"][0]["in_use"]
    patch(path, 88, "Q", 0)  # a writer that knows no bitmaps clears their bit
    facts = assert_like_info(path)
    assert (facts["bitmap_count"], facts["bitmaps"]) == (0, [])


def test_dirty_and_corrupt(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    for bits, name in ((1, "dirty"), (2, "corrupt")):
        patch(path, 72, "Q", bits)
        facts = header_facts(whole(path))
        assert facts[name]
        assert facts["features"]["incompatible"] == [f"{name} bit"]
        said = info(path, "-U")
        assert said["dirty-flag"] == facts["dirty"]
        assert said["format-specific"]["data"]["corrupt"] == facts["corrupt"]


def test_a_raw_layer_has_no_header(tmp_path: Path) -> None:
    layer = whole(raw(tmp_path / "base.raw", 1 * MIB))
    assert header_facts(layer) == dict.fromkeys(KEYS)
    assert stored_facts(layer) is None
    (tmp_path / "broken.qcow2").write_bytes(b"QFI\xfb" + bytes(200))
    assert set(header_facts(whole(tmp_path / "broken.qcow2")).values()) == {None}


def test_features_have_the_names_that_qemu_gives_them(tmp_path: Path) -> None:
    table = parse_header(qcow2(tmp_path / "top.qcow2", 1 * MIB).read_bytes()).extensions
    theirs = {(mask, bit): name for mask, bit, name in table.feature_names}
    ours = {(mask, bit): n for mask, names in enumerate(FEATURES) for bit, n in enumerate(names)}
    assert ours == theirs


def extended(path: Path, *extensions: tuple[int, bytes]) -> Path:
    """Give an image other header extensions than its own."""
    parts = [
        struct.pack(">II", number, len(data)) + data + bytes(-len(data) % 8)
        for number, data in extensions
    ]
    content = b"".join([*parts, bytes(8)])
    return patch(path, 112, f"{len(content)}s", content)


def test_unknown_features_of_every_mask(tmp_path: Path) -> None:
    names = [(0, 40, b"time travel"), (1, 63, b"a\xff\n\0hidden"), (2, 5, b""), (0, 0, b"forged")]
    table = b"".join(bytes([mask, bit]) + name.ljust(46, b"\0") for mask, bit, name in names)
    path = extended(qcow2(tmp_path / "top.qcow2", 1 * MIB), (FEATURE_TABLE, table))
    patch(path, 72, "QQQ", 1 << 40 | 1 << 50 | 1, 1 << 63 | 1, 1 << 5 | 1 << 6)
    layer = whole(path)
    assert header_facts(layer)["features"] == {
        "incompatible": ["dirty bit", "time travel", "bit 50"],
        "compatible": ["lazy refcounts", "a\\xff\n"],
        "autoclear": ["bit 5", "bit 6"],
    }
    found = {str(f.code): f.detail for f in layer.findings}
    assert set(found) == {"feature-unknown", "dirty"}
    assert "(time travel, bit 50)" in found["feature-unknown"]
    assert layer.header is not None
    assert all(text.isprintable() for text in notable(layer.header))
    patch(path, 72, "Q", 0)
    assert whole(path).findings == (), "features that may be ignored are"


def test_unknown_extensions_are_kept_by_their_number(tmp_path: Path) -> None:
    path = extended(qcow2(tmp_path / "top.qcow2", 1 * MIB), (0xDEADBEEF, b"12345"), (7, b""))
    listed = facts_of(path)["extensions"]
    assert listed == [
        {"type": "0xdeadbeef", "name": None, "length": 5},
        {"type": "0x00000007", "name": None, "length": 0},
    ]
    info(path)  # qemu-img opens it as well


@pytest.mark.parametrize(
    "extension",
    [
        (0x23852875, bytes(8)),  # bitmaps, cut short
        (0x0537BE77, bytes(16)),  # an encryption header without encryption
        (0x0537BE77, bytes(3)),
        (0xE2792ACA, b"x" * 16),
    ],
)
def test_extensions_that_qemu_refuses(tmp_path: Path, extension: tuple[int, bytes]) -> None:
    path = extended(qcow2(tmp_path / "top.qcow2", 1 * MIB), extension)
    assert is_refused(path)
    assert [f.code for f in whole(path).findings] == ["header-invalid"]


def test_a_page_full_of_extensions(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB, cluster_size=2 * MIB)
    patch(path, 112, "1999872s", struct.pack(">II", 7, 0) * (1999872 // 8))
    assert [f.code for f in whole(path).findings] == ["header-invalid"]
    patch(path, 112, "II", FEATURE_TABLE, 1999872 - 8)
    header = whole(path).header
    assert header is not None
    assert len(header.extensions.feature_names) == 192


Damage = Callable[[Path, int, int], object]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda path, at, end: patch(path, 60, "I", 2**32 - 1), "tables-invalid"),
        (lambda path, at, end: patch(path, 60, "I", 65537), "tables-invalid"),
        (lambda path, at, end: patch(path, 64, "Q", 0), "tables-invalid"),
        (lambda path, at, end: patch(path, 64, "Q", 2**40), "truncated"),
        (lambda path, at, end: patch(path, 60, "I", 65536), "truncated"),
        (lambda path, at, end: patch(path, at + 36, "I", 1025), "tables-invalid"),
        (lambda path, at, end: patch(path, at + 36, "I", 2**32 - 1), "tables-invalid"),
        (lambda path, at, end: (patch(path, at + 12, "HH", 65535, 65535), os.truncate(path, end)),
         "truncated"),
    ],
)  # fmt: skip
def test_snapshot_tables_that_lie(tmp_path: Path, damage: Damage, code: str) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    tool("qemu-img", "snapshot", "-c", "one", path.name, cwd=tmp_path)
    at = parse_header(path.read_bytes()).snapshots_offset
    damage(path, at, at + 64)
    found = whole(path).findings
    assert [(f.code, f.severity) for f in found] == [(code, "critical")]
    # Beyond the end of a file qemu-img reads zeroes, and it does not look at the offset.
    assert is_refused(path) == (code == "tables-invalid" and found[0].detail.find(" at 0") < 0)


def test_a_snapshot_whose_content_is_gone(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    tool("qemu-img", "snapshot", "-c", "one", path.name, cwd=tmp_path)
    patch(path, parse_header(path.read_bytes()).snapshots_offset, "Q", 2**40)
    layer = whole(path)
    assert [(f.code, f.severity) for f in layer.findings] == [("tables-invalid", "warning")]
    assert [s["name"] for s in header_facts(layer)["snapshots"]] == ["one"]
    info(path)  # the layer's own content can be read


@pytest.mark.parametrize(
    ("field", "layout", "value"),
    [
        (0, "Q", 0), (0, "Q", 100), (8, "I", 0), (8, "I", 2**31), (12, "I", 8), (16, "B", 2),
        (17, "B", 63), (17, "B", 8), (18, "H", 2000), (18, "H", 100), (20, "I", 2**32 - 1),
    ],
)  # fmt: skip
def test_bitmap_directories_that_lie(tmp_path: Path, field: int, layout: str, value: int) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    tool("qemu-img", "bitmap", "--add", path.name, "one", cwd=tmp_path)
    directory = parse_header(path.read_bytes()).extensions.bitmaps
    assert directory is not None
    patch(path, directory.offset + field, layout, value)
    found = whole(path).findings
    assert [(f.code, f.severity) for f in found] == [("tables-invalid", "critical")]
    assert is_refused(path)


@pytest.mark.parametrize(
    ("total", "size", "offset", "code"),
    [
        (1, 32, 65537, "tables-invalid"),
        (1, 32, 2**62, "tables-invalid"),
        (0xFFFFFFFF, 2**40, None, "tables-invalid"),
        (65536, 2**26, None, "tables-invalid"),
        (1, 2**26 + 8, None, "tables-invalid"),
        (1, 2**26, None, "truncated"),
        (2, 32, None, "tables-invalid"),
        (1, 64, None, "tables-invalid"),
        (1, 32, 2**50, "truncated"),
    ],
)
def test_pointers_to_bitmaps_that_lie(
    tmp_path: Path, total: int, size: int, offset: int | None, code: str
) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    tool("qemu-img", "bitmap", "--add", path.name, "one", cwd=tmp_path)
    content = path.read_bytes()
    os.truncate(path, len(content) + 65536)
    directory = parse_header(content).extensions.bitmaps
    assert directory is not None
    at = content.index(struct.pack(">II", 0x23852875, 24)) + 8
    place = directory.offset if offset is None else offset
    patch(path, at, "IIQQ", total, 0, size, place)
    assert [(f.code, f.severity) for f in whole(path).findings] == [(code, "critical")]
    assert is_refused(path)


def test_tables_of_claims_take_little_time_and_memory(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    tool("qemu-img", "bitmap", "--add", path.name, "one", cwd=tmp_path)
    content = path.read_bytes()
    at = content.index(struct.pack(">II", 0x23852875, 24)) + 8
    patch(path, 60, "IQ", 65536, 1 << 20)  # snapshots in a hole, all of them zeroes
    patch(path, at, "IIQQ", 65535, 0, 2**26, 1 << 20)
    os.truncate(path, 2**27)
    tracemalloc.start()
    before = time.process_time()
    layer = whole(path)
    assert time.process_time() - before < 3
    assert tracemalloc.get_traced_memory()[1] < 60 * MIB
    tracemalloc.stop()
    assert [f.code for f in layer.findings] == ["tables-invalid"]
    assert layer.tables is not None
    assert len(layer.tables.snapshots) == 65536


def test_names_that_no_page_and_no_database_would_take(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    for name in (b"x" * 12, b"y" * 12):
        tool("qemu-img", "snapshot", "-c", os.fsdecode(name), path.name, cwd=tmp_path)
    at = path.read_bytes().index(b"x" * 12)
    patch(path, at, "12s", b"a\xff\n\x1b[31m\xe2\x80\xae<\0")
    layer = whole(path)
    assert header_facts(layer)["snapshots"][0]["name"] == "a\\xff\n\x1b[31m\u202e<"
    stored = stored_facts(layer)
    assert stored is not None
    assert stored["snapshots"][0]["name"] == "a\\xff\\n\\x1b[31m\\u202e<"
    json.dumps(stored, ensure_ascii=False).encode()


def test_a_plain_reading_leaves_the_tables_alone(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    tool("qemu-img", "snapshot", "-c", "one", path.name, cwd=tmp_path)
    layer = read_layer(str(tmp_path), path.name)
    assert (layer.tables, layer.header and layer.header.snapshots) == (None, 1)
    assert read_chain(str(tmp_path), path.name, tables=True).layers[0].tables is not None


def test_what_is_notable(tmp_path: Path) -> None:
    header = whole(qcow2(tmp_path / "plain.qcow2", 1 * MIB)).header
    assert header is not None
    assert notable(header) == []
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB, compat="0.10")
    for name in ("one", "two"):
        tool("qemu-img", "snapshot", "-c", name, path.name, cwd=tmp_path)
    header = whole(path).header
    assert header is not None
    assert notable(header) == ["2 internal snapshots", "version 2"]
