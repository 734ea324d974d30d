"""Findings: every code, from a file that has that fault; and which of them stop everything."""

import os
import socket
import struct
from pathlib import Path

import pytest

from chains.core.chain import Fingerprint, read_chain, read_layer, resolve_backing
from chains.core.errors import ReadError, StrataError
from chains.core.findings import Code, Finding, Severity
from chains.core.qcow2 import parse_header
from chains.core.reads import entries, read_chain_maps, resolve
from tests.core.images import GIB, KIB, MIB, normal, patch, qcow2, qemu_map, raw, tool, write
from tests.images import locked


def codes(folder: Path, name: str) -> dict[str, str]:
    """Return the findings of a chain: code → severity; each must be fit to be read."""
    chain = read_chain(str(folder), name)
    for finding in chain.findings:
        assert finding.detail.endswith(".")
        assert finding.detail.isprintable()
        assert len(finding.detail) < 500
    assert chain.is_safe == all(f.severity is not Severity.CRITICAL for f in chain.findings)
    return {str(f.code): str(f.severity) for f in chain.findings}


def overlay(folder: Path, backing: bytes | str, recorded: bytes | None = b"raw",
            name: str = "top.qcow2") -> Path:  # fmt: skip
    """Make an image that names any backing file and format, which qemu-img would refuse to do."""
    path = qcow2(folder / name, 1 * MIB)
    text = os.fsencode(backing)
    extension = b""
    if recorded is not None:
        extension = struct.pack(">II", 0xE2792ACA, len(recorded)) + recorded
        extension += bytes(-len(recorded) % 8)
    patch(path, 112, f"{len(extension) + 8}s", extension + bytes(8))
    patch(path, 1024, f"{len(text)}s", text)
    return patch(path, 8, "QI", 1024, len(text))


def test_a_sound_chain(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "disk"
    folder.mkdir(parents=True)
    raw(folder / "base.raw", 3 * MIB + 100, "write 0 1M")
    qcow2(folder / "one.qcow2", None, backing="base.raw")
    top = qcow2(folder / "top.qcow2", 4 * MIB, backing="./one.qcow2", cluster_size=4 * KIB)
    chain = read_chain(str(tmp_path), "images/disk/top.qcow2")
    assert (chain.findings, chain.is_safe) == ((), True)
    assert [layer.path for layer in chain.layers] == [
        "images/disk/top.qcow2", "images/disk/one.qcow2", "images/disk/base.raw",
    ]  # fmt: skip
    first, _, root = chain.layers
    status = top.stat()
    assert first.virtual_size == 4 * MIB
    assert first.file_size == status.st_size
    assert first.on_disk == status.st_blocks * 512
    assert first.mtime == status.st_mtime
    assert first.cluster_size == 4 * KIB
    assert (first.backing_file, first.backing_format) == ("./one.qcow2", "qcow2")
    assert first.backing_path == "images/disk/one.qcow2"
    assert first.is_readable
    assert Fingerprint.from_text(first.fingerprint.to_text()) == first.fingerprint
    assert (root.format, root.header, root.backing_path) == ("raw", None, None)
    assert root.virtual_size == 3 * MIB + 512


@pytest.mark.parametrize("text", ["", "1:2:3", "a:b:c:d:e", "1:2:3:4:5:6"])
def test_a_fingerprint_is_five_numbers(text: str) -> None:
    with pytest.raises(StrataError):
        Fingerprint.from_text(text)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nothing.raw", Code.BACKING_MISSING),
        ("top.qcow2/x", Code.BACKING_MISSING),
        ("nbd:localhost:10809", Code.BACKING_PROTOCOL),
        ("nbd://host/disk", Code.BACKING_PROTOCOL),
        ('json:{"driver":"raw"}', Code.BACKING_PROTOCOL),
        ("file:base.raw", Code.BACKING_PROTOCOL),
        ("a:b.raw", Code.BACKING_PROTOCOL),
        ("/dev/null", Code.BACKING_PROTOCOL),
        ("/proc/self/mem", Code.BACKING_PROTOCOL),
        ("/etc/passwd", Code.BACKING_OUTSIDE),
        ("../secret.raw", Code.BACKING_OUTSIDE),
        ("link.raw", Code.BACKING_OUTSIDE),
        ("folder/../../secret.raw", Code.BACKING_OUTSIDE),
        ("..", Code.BACKING_OUTSIDE),
        ("fifo", Code.BACKING_SPECIAL),
        ("socket", Code.BACKING_SPECIAL),
        ("folder", Code.BACKING_SPECIAL),
        (".", Code.BACKING_OUTSIDE),
        ("x" * 300, Code.BACKING_INVALID),
        ("y/" * 500, Code.BACKING_MISSING),
        ("circle.raw", Code.BACKING_SPECIAL),
        (b"a\0b", Code.BACKING_INVALID),
        (b"gone\xff\n.raw", Code.BACKING_MISSING),
    ],
)
def test_backing_names_that_are_not_followed(tmp_path: Path, name: str, code: Code) -> None:
    root = tmp_path / "domain"
    (root / "folder").mkdir(parents=True)
    raw(tmp_path / "secret.raw", 1 * MIB)
    (root / "link.raw").symlink_to("../secret.raw")
    (root / "circle.raw").symlink_to("circle.raw")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)  # the name of a socket may not be longer than 107 bytes
        listener.bind("socket")
        os.chdir(here)
        overlay(root, name)
        assert codes(root, "top.qcow2") == {code: "critical"}
    layer = read_layer(str(root), "top.qcow2")
    assert layer.backing_path is None
    with pytest.raises(ReadError) as caught:
        read_chain_maps(read_chain(str(root), "top.qcow2"))
    assert caught.value.finding.code is code


@pytest.mark.parametrize(
    "name", ["./a:b.raw", b"new\nline.raw", b"caf\xe9 \xff.raw", "sub/../x.raw", "./json:{}.raw"]
)
def test_odd_names_that_are_followed(tmp_path: Path, name: str | bytes) -> None:
    (tmp_path / "sub").mkdir()
    target = tmp_path / os.fsdecode(name)
    raw(Path(os.path.normpath(target)), 1 * MIB)
    overlay(tmp_path, name)
    layer = read_layer(str(tmp_path), "top.qcow2")
    assert layer.findings == ()
    assert layer.backing_file == os.fsdecode(name)
    assert layer.backing_path == os.path.relpath(os.path.normpath(target), tmp_path)
    assert codes(tmp_path, "top.qcow2") == {}


def test_absolute_names_and_links_inside_of_the_domain_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    raw(tmp_path / "a" / "base.raw", 1 * MIB)
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "alias.raw").symlink_to("b/base.raw")
    for name in (f"{tmp_path}/a/base.raw", "b/base.raw", "alias.raw", f"{tmp_path}/b/base.raw"):
        overlay(tmp_path, name)
        assert read_layer(str(tmp_path), "top.qcow2").backing_path == "a/base.raw"
    assert resolve_backing(str(tmp_path), "b/top.qcow2", "base.raw") == "a/base.raw"
    assert read_layer(str(tmp_path), "alias.raw").path == "a/base.raw"


def test_resolving_from_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/")
    for path, code in (("x/top.qcow2", Code.BACKING_MISSING), ("out/t", Code.BACKING_OUTSIDE),
                       ("\0/t", Code.BACKING_INVALID)):  # fmt: skip
        found = resolve_backing(str(tmp_path), path, "base.raw")
        assert isinstance(found, Finding)
        assert found.code is code
    assert isinstance(resolve_backing(str(tmp_path), "top.qcow2", ""), Finding)


def test_volumes_that_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.qcow2")
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to("/etc/passwd")
    for path, code in (
        ("fifo.qcow2", Code.BACKING_SPECIAL),
        ("folder", Code.BACKING_SPECIAL),
        ("out", Code.BACKING_OUTSIDE),
        ("/etc/passwd", Code.BACKING_OUTSIDE),
        ("../x", Code.BACKING_OUTSIDE),
        ("gone", Code.BACKING_MISSING),
        ("nul\0", Code.BACKING_INVALID),
    ):
        assert codes(tmp_path, path) == {code: "critical"}, path


def test_loops(tmp_path: Path) -> None:
    qcow2(tmp_path / "a.qcow2", 1 * MIB)
    (tmp_path / "alias.qcow2").symlink_to("a.qcow2")
    os.link(tmp_path / "a.qcow2", tmp_path / "hard.qcow2")
    for name in ("a.qcow2", "./a.qcow2", "alias.qcow2", "hard.qcow2"):
        overlay(tmp_path, name, b"qcow2", name="b.qcow2")
        (tmp_path / "a.qcow2").write_bytes(
            overlay(tmp_path, "b.qcow2", b"qcow2", name="c.qcow2").read_bytes()
        )
        for start in ("a.qcow2", "b.qcow2", "c.qcow2"):
            assert codes(tmp_path, start) == {"backing-loop": "critical"}
    overlay(tmp_path, "self.qcow2", b"qcow2", name="self.qcow2")
    assert codes(tmp_path, "self.qcow2") == {"backing-loop": "critical"}


def test_a_chain_too_deep(tmp_path: Path) -> None:
    qcow2(tmp_path / "0.qcow2", 1 * MIB)
    for depth in range(1, 6):
        overlay(tmp_path, f"{depth - 1}.qcow2", b"qcow2", name=f"{depth}.qcow2")
    assert read_chain(str(tmp_path), "5.qcow2", max_depth=6).is_safe
    chain = read_chain(str(tmp_path), "5.qcow2", max_depth=5)
    assert [str(f.code) for f in chain.findings] == ["too-deep"]
    assert len(chain.layers) == 5


FOREIGN = [b"KDMV", b"vhdxfile", b"conectix", b"QED\0", b"LUKS\xba\xbe", b"WithoutFreeSpace",
           b"QFI\xfb\0\0\0\x01", bytes(64) + b"\x7f\x10\xda\xbe",
           b"# Disk DescriptorFile\nversion=1\n"]  # fmt: skip


@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_formats(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "disk.img").write_bytes(content + bytes(4096))
    assert codes(tmp_path, "disk.img") == {"not-a-chain-format": "critical"}
    overlay(tmp_path, "disk.img", b"raw")
    assert codes(tmp_path, "top.qcow2") == {"raw-looks-formatted": "warning"}
    overlay(tmp_path, "disk.img", None)
    found = codes(tmp_path, "top.qcow2")
    assert found == {"not-a-chain-format": "critical", "backing-format-unset": "critical"}
    overlay(tmp_path, "disk.img", b"qcow2")
    found = codes(tmp_path, "top.qcow2")
    assert found == {"not-a-chain-format": "critical", "backing-format-wrong": "critical"}


@pytest.mark.parametrize(
    ("name", "options"),
    [("vmdk", ""), ("vmdk", "subformat=monolithicFlat"), ("vmdk", "subformat=streamOptimized"),
     ("vdi", ""), ("vhdx", ""), ("vpc", ""), ("qed", ""), ("qcow", ""), ("parallels", ""),
     ("luks", "")],
)  # fmt: skip
def test_formats_made_by_qemu_img(tmp_path: Path, name: str, options: str) -> None:
    more = ["-o", options] if options else []
    if name == "luks":
        locked(tmp_path / "disk.img", "4M", image_format="luks")
    else:
        tool("qemu-img", "create", "-q", "-f", name, *more, "disk.img", "4M", cwd=tmp_path)

    def details(recorded: str | None) -> dict[str, str]:
        overlay(tmp_path, "disk.img", recorded.encode() if recorded else None)
        found = read_chain(str(tmp_path), "top.qcow2").findings
        return {str(f.code): f.detail for f in found}

    leaf = read_layer(str(tmp_path), "disk.img")
    assert [str(f.code) for f in leaf.findings] == ["not-a-chain-format"]
    assert f"The content is {name}" in leaf.findings[0].detail
    assert set(details(name)) == {"not-a-chain-format"}
    assert f"“{name}”" in details(name)["not-a-chain-format"]
    assert not read_chain(str(tmp_path), "top.qcow2").is_safe
    assert "not-a-chain-format" not in details("raw"), "a guest may well use a disk so"
    assert f"starts like {name}" in details("raw")["raw-looks-formatted"]
    assert f"The content is {name}" in details("qcow2")["not-a-chain-format"]
    assert f"The content is {name}" in details(None)["not-a-chain-format"]


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"Bochs Virtual HD Image", "bochs"), (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", "cloop")],
)
def test_formats_that_qemu_img_can_not_make(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / "disk.img").write_bytes(content + bytes(4096))
    assert f"The content is {name}" in read_layer(str(tmp_path), "disk.img").findings[0].detail


def test_an_iso_image_is_no_disk_but_a_fine_base(tmp_path: Path) -> None:
    (tmp_path / "cd.iso").write_bytes(bytes(0x8001) + b"CD001" + bytes(4096))
    assert codes(tmp_path, "cd.iso") == {"not-a-chain-format": "critical"}
    assert "an ISO image" in read_layer(str(tmp_path), "cd.iso").findings[0].detail
    overlay(tmp_path, "cd.iso", b"raw")
    assert codes(tmp_path, "top.qcow2") == {}


def test_formats_as_recorded(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 1 * MIB)
    qcow2(tmp_path / "plain.qcow2", 1 * MIB)
    overlay(tmp_path, "/etc/passwd", b"raw", name="forged.img")
    for backing, recorded, expected in (
        ("base.raw", None, {"backing-format-unset": "warning"}),
        ("plain.qcow2", None, {"backing-format-unset": "critical"}),
        ("plain.qcow2", b"raw", {"raw-looks-formatted": "warning"}),
        ("forged.img", b"raw", {"raw-looks-formatted": "critical"}),
        ("base.raw", b"qcow2", {"backing-format-wrong": "critical"}),
        ("base.raw", b"vmdk", {"not-a-chain-format": "critical"}),
        ("base.raw", b"host_device", {"not-a-chain-format": "critical"}),
    ):
        overlay(tmp_path, backing, recorded)
        assert codes(tmp_path, "top.qcow2") == expected, (backing, recorded)
    (tmp_path / "broken.qcow2").write_bytes(bytes(65536))
    assert codes(tmp_path, "broken.qcow2") == {"header-invalid": "critical"}
    assert codes(tmp_path, "base.raw") == {}


def test_a_raw_layer_is_never_followed(tmp_path: Path) -> None:
    qcow2(tmp_path / "inner.qcow2", 1 * MIB)
    overlay(tmp_path, "inner.qcow2", b"qcow2", name="forged.raw")
    overlay(tmp_path, "forged.raw", b"raw")
    chain = read_chain(str(tmp_path), "top.qcow2")
    assert [(layer.path, layer.format) for layer in chain.layers] == [
        ("top.qcow2", "qcow2"), ("forged.raw", "raw"),
    ]  # fmt: skip
    size = (tmp_path / "forged.raw").stat().st_size
    assert chain.layers[1].virtual_size == -(-size // 512) * 512


def test_marks_in_the_header(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    for bits, expected in (
        (1, {"dirty": "warning"}),
        (2, {"corrupt": "critical"}),
        (1 << 7, {"feature-unknown": "critical"}),
        (4, {"data-file-missing": "critical"}),
        (8, {"header-invalid": "critical"}),  # says compressed otherwise, but not how
    ):
        patch(path, 72, "Q", bits)
        assert codes(tmp_path, "top.qcow2") == expected
    patch(path, 72, "Q", 8)
    patch(path, 104, "B", 9)
    assert codes(tmp_path, "top.qcow2") == {"feature-unknown": "critical"}


def test_the_image_names_its_own_unknown_features(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB)
    table = struct.pack(">II", 0x6803F857, 48) + b"\0\x07" + b"time travel".ljust(46, b"\0")
    patch(path, 112, f"{len(table) + 8}s", table + bytes(8))
    patch(path, 72, "Q", 1 << 7)
    assert "time travel" in read_layer(str(tmp_path), "top.qcow2").findings[0].detail


@pytest.mark.parametrize(("method", "name"), [(1, "aes"), (2, "luks")])
def test_encryption(tmp_path: Path, method: int, name: str) -> None:
    # Forged, not made: deriving a real key can fail for want of CPU time on a busy machine.
    patch(qcow2(tmp_path / "top.qcow2", 1 * MIB), 32, "I", method)
    assert codes(tmp_path, "top.qcow2") == {"encrypted": "warning"}
    header = read_layer(str(tmp_path), "top.qcow2").header
    assert header is not None
    assert header.encryption == name


def test_data_files(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 1 * MIB, data_file="top.data")
    assert codes(tmp_path, "top.qcow2") == {"data-file": "warning"}
    (tmp_path / "top.data").unlink()
    assert codes(tmp_path, "top.qcow2") == {"data-file-missing": "critical"}
    (tmp_path / "out.link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo.xxx")
    (tmp_path / "folder.x").mkdir()
    (tmp_path / "sub").mkdir()
    at = path.read_bytes().index(b"top.data")
    for name in (b"/etc/pas", b"nbd:1:22", b"../x.dat", b"out.link", b"fifo.xxx", b"folder.x",
                 b"/dev/sda", b"/dev/kmg", b"\xff:\xff.data", b"../../..", b"////////"):  # fmt: skip
        patch(path, at, "8s", name)
        assert codes(tmp_path, "top.qcow2") == {"data-file-outside": "critical"}, name
    raw(tmp_path / "sub" / "x.dt", 1 * MIB)
    (tmp_path / "top.link").symlink_to("sub/x.dt")
    for name in (b"sub/x.dt", b"top.link"):
        patch(path, at, "8s", name)
        assert codes(tmp_path, "top.qcow2") == {"data-file": "warning"}, name


@pytest.mark.parametrize("how", [{}, {"data_file_raw": "on"}])
def test_the_blocks_of_a_layer_with_a_data_file(tmp_path: Path, how: dict[str, str]) -> None:
    top = qcow2(tmp_path / "top.qcow2", 4 * MIB, data_file="top.data", **how)
    write(top, "write 64k 1M", "write -z 2M 128k")
    chain = read_chain(str(tmp_path), "top.qcow2")
    assert chain.is_safe
    ours = normal(list(entries(resolve(read_chain_maps(chain)))))
    assert ours == qemu_map(top)


def test_the_blocks_of_an_encrypted_layer(tmp_path: Path) -> None:
    top = qcow2(tmp_path / "top.qcow2", 4 * MIB, "write 64k 1M")
    before = read_chain_maps(read_chain(str(tmp_path), "top.qcow2"))
    patch(top, 32, "I", 1)
    assert read_chain_maps(read_chain(str(tmp_path), "top.qcow2")) == before


def test_a_smaller_overlay(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 4 * MIB)
    qcow2(tmp_path / "mid.qcow2", 1 * MIB, backing="base.raw")
    qcow2(tmp_path / "top.qcow2", 4 * MIB, backing="mid.qcow2")
    assert codes(tmp_path, "top.qcow2") == {"size-shrinks": "warning"}
    assert read_chain(str(tmp_path), "top.qcow2").findings[0].path == "mid.qcow2"


def test_a_zero_byte_in_the_backing_name_is_seen_in_the_header(tmp_path: Path) -> None:
    content = overlay(tmp_path, b"a\0b").read_bytes()
    with pytest.raises(ReadError) as caught:
        parse_header(content)
    assert caught.value.finding.code is Code.BACKING_INVALID


def test_what_a_header_says(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "top.qcow2", 5 * GIB, cluster_size=128 * KIB, refcount_bits=64,
                 lazy_refcounts="on", compression_type="zstd", extended_l2="on")  # fmt: skip
    tool("qemu-img", "snapshot", "-c", "one", path.name, cwd=tmp_path)
    tool("qemu-img", "bitmap", "--add", path.name, "b0", cwd=tmp_path)
    header = parse_header(path.read_bytes()[: 128 * KIB])
    assert (header.version, header.virtual_size) == (3, 5 * GIB)
    assert (header.cluster_size, header.refcount_bits) == (128 * KIB, 64)
    assert (header.snapshots, header.bitmaps, header.compression) == (1, 1, "zstd")
    assert (header.extended_l2, header.lazy_refcounts) == (True, True)
    assert (header.dirty, header.corrupt, header.encryption) == (False, False, None)
    old = parse_header(qcow2(tmp_path / "old.qcow2", 1 * MIB, compat="0.10").read_bytes())
    assert (old.version, old.refcount_bits, old.incompatible) == (2, 16, 0)
