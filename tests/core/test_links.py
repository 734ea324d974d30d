"""Ways from layer to layer: links of both kinds, loops through them, and names that lead astray."""

import errno
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from chains.core.chain import Chain, link, read_chain, read_layer
from chains.core.findings import Code
from chains.core.paths import MAX_LINKS, folder_of_name, locate
from tests.core.images import MIB, assert_like_qemu, qcow2, raw, tool
from tests.core.test_chain import codes, overlay
from tests.core.test_forest import scan


def critical(chain: Chain) -> list[tuple[str, str]]:
    return [(str(f.code), f.path) for f in chain.findings if f.severity == "critical"]


def over(root: Path, path: str, backing: str | bytes) -> Path:
    """Make an overlay at a path, of whatever name."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    return overlay((root / path).parent, backing, b"qcow2", name=Path(path).name)


@pytest.mark.parametrize(
    "name", ["a.qcow2", "./././a.qcow2", "alias.qcow2", "sub/../a.qcow2", "folder/a.qcow2",
             "../domain/a.qcow2", "sub/up/a.qcow2", "{root}/a.qcow2", "//{root}/a.qcow2"],
)  # fmt: skip
@pytest.mark.parametrize("length", [1, 2, 3])
def test_loops_under_every_name(tmp_path: Path, name: str, length: int) -> None:
    root = tmp_path / "domain"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "up").symlink_to("..")
    (root / "folder").symlink_to(".")
    (root / "alias.qcow2").symlink_to("a.qcow2")
    names = ["a.qcow2", "b.qcow2", "c.qcow2"][:length]
    over(root, names[-1], name.replace("{root}", str(root)))
    for upper, lower in pairwise(names):
        over(root, upper, lower)
    for start in names:
        chain = read_chain(str(root), start)
        assert {code for code, _ in critical(chain)} == {"backing-loop"}
        assert len(chain.layers) == length
    domain = link({path: read_layer(str(root), path) for path in names}, str(root))
    assert sorted(f.path for f in domain.findings) == names
    assert {f.code for f in domain.findings} == {Code.BACKING_LOOP}


def test_a_loop_through_a_hard_link_is_known_by_the_file(tmp_path: Path) -> None:
    over(tmp_path, "one/a.qcow2", "b.qcow2")
    over(tmp_path, "one/b.qcow2", "../two/a.qcow2")
    (tmp_path / "two").mkdir()
    os.link(tmp_path / "one/a.qcow2", tmp_path / "two/a.qcow2")
    over(tmp_path, "two/b.qcow2", "../one/plain.qcow2")  # by names alone the chain would end
    qcow2(tmp_path / "one/plain.qcow2", MIB)
    over(tmp_path, "top.qcow2", "one/a.qcow2")
    paths = ["top.qcow2", "one/a.qcow2", "one/b.qcow2", "two/a.qcow2", "two/b.qcow2",
             "one/plain.qcow2"]  # fmt: skip
    domain = link({path: read_layer(str(tmp_path), path) for path in paths}, str(tmp_path))
    assert [(f.code, f.path) for f in domain.findings] == [(Code.BACKING_LOOP, "one/a.qcow2")]
    for start, layers in (("top.qcow2", 3), ("one/a.qcow2", 2)):
        chain = read_chain(str(tmp_path), start)
        assert critical(chain) == [("backing-loop", "one/a.qcow2")]
        assert len(chain.layers) == layers
        assert domain.chain(start) == chain
    for start in ("one/b.qcow2", "two/a.qcow2"):
        assert read_chain(str(tmp_path), start).is_safe
        assert domain.chain(start).is_safe


def test_hard_links_that_make_no_loop_are_fine(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", MIB, "write 0 64k")
    os.link(tmp_path / "base.raw", tmp_path / "copy.raw")
    qcow2(tmp_path / "a.qcow2", None, backing="base.raw")
    qcow2(tmp_path / "b.qcow2", None, backing="copy.raw")
    domain = link(scan(tmp_path), str(tmp_path))
    assert domain.findings == ()
    assert domain.leaves == ("a.qcow2", "b.qcow2")


def opened_by_qemu(folder: Path, name: str) -> set[str]:
    """Ask qemu-img which files it opens for a chain, by the names that it uses."""
    text = tool("qemu-img", "info", "--backing-chain", "-U", name, cwd=folder)
    return {line.split(": ")[1] for line in text.splitlines() if line.startswith("image:")}


def test_a_file_link_that_qemu_follows_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "domain"
    (root / "sub").mkdir(parents=True)
    raw(tmp_path / "base.raw", MIB)
    raw(root / "base.raw", MIB)
    qcow2(root / "sub/mid.qcow2", None, backing="../base.raw")
    (root / "link.qcow2").symlink_to("sub/mid.qcow2")
    qcow2(root / "top.qcow2", None, backing="link.qcow2", backing_format="qcow2")
    assert "../base.raw" in opened_by_qemu(root, "top.qcow2"), "QEMU leaves the domain here"
    chain = read_chain(str(root), "top.qcow2")
    assert critical(chain) == [("backing-special", "top.qcow2")]
    assert "beside the link" in chain.findings[0].detail
    layers = {
        path: read_layer(str(root), path) for path in ("top.qcow2", "sub/mid.qcow2", "base.raw")
    }
    domain = link(layers, str(root))
    assert domain.findings == chain.findings
    assert domain.chain("top.qcow2").findings == chain.findings


def test_links_that_change_nothing_for_qemu_are_followed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    raw(tmp_path / "sub/base.raw", MIB, "write 0 64k")
    qcow2(tmp_path / "sub/mid.qcow2", None, "write 64k 64k", backing="base.raw")
    (tmp_path / "sub/same.qcow2").symlink_to("mid.qcow2")
    (tmp_path / "folder").symlink_to("sub")
    (tmp_path / "link.raw").symlink_to("folder/base.raw")
    for name in ("sub/same.qcow2", "folder/mid.qcow2", "folder/same.qcow2", "link.raw",
                 f"{tmp_path}/folder/same.qcow2"):  # fmt: skip
        qcow2(tmp_path / "top.qcow2", None, backing=name)
        assert codes(tmp_path, "top.qcow2") == {}, name
        assert_like_qemu(tmp_path / "top.qcow2")
    (tmp_path / "far.qcow2").symlink_to("sub/mid.qcow2")
    tool("qemu-img", "rebase", "-u", "-F", "raw", "-b", f"{tmp_path}/sub/base.raw", "sub/mid.qcow2",
         cwd=tmp_path)  # fmt: skip
    qcow2(tmp_path / "top.qcow2", None, backing="far.qcow2")
    assert codes(tmp_path, "top.qcow2") == {}, "an absolute name is the same from everywhere"
    assert_like_qemu(tmp_path / "top.qcow2")


# {root} is the domain, {out} a folder beside it whose name begins like the domain's.
ASTRAY = [
    ("../secret.raw", Code.BACKING_OUTSIDE),
    ("sub/../../secret.raw", Code.BACKING_OUTSIDE),
    ("../domain-two/base.raw", Code.BACKING_OUTSIDE),
    ("{out}/base.raw", Code.BACKING_OUTSIDE),
    ("{root}/../domain-two/base.raw", Code.BACKING_OUTSIDE),
    ("../gone.raw", Code.BACKING_OUTSIDE),
    ("../domain", Code.BACKING_OUTSIDE),
    ("/", Code.BACKING_OUTSIDE),
    ("//dev/null", Code.BACKING_OUTSIDE),
    ("/./dev/null", Code.BACKING_OUTSIDE),
    ("/dev/../etc/passwd", Code.BACKING_PROTOCOL),
    ("/proc/self/fd/3", Code.BACKING_PROTOCOL),
    ("/proc/self/root{root}/base.raw", Code.BACKING_PROTOCOL),
    ("//proc/self/root{root}/base.raw", Code.BACKING_OUTSIDE),
    ("{up}/proc/self/root{root}/base.raw", Code.BACKING_OUTSIDE),
    ("{up}/proc/self/cwd/base.raw", Code.BACKING_OUTSIDE),
    ("magic/base.raw", Code.BACKING_OUTSIDE),
    ("leak.raw", Code.BACKING_OUTSIDE),
    ("relay.raw", Code.BACKING_OUTSIDE),
    ("dangling.raw", Code.BACKING_MISSING),
    ("base.raw/", Code.BACKING_MISSING),
    ("base.raw/.", Code.BACKING_MISSING),
    ("base.raw/../base.raw", Code.BACKING_MISSING),
    ("gone/../base.raw", Code.BACKING_MISSING),
    ("base.raw ", Code.BACKING_MISSING),
    ("base.raw.", Code.BACKING_MISSING),
    ("BASE.RAW", Code.BACKING_MISSING),
    ("circle", Code.BACKING_SPECIAL),
    ("circle/x", Code.BACKING_SPECIAL),
    ("ping", Code.BACKING_SPECIAL),
    ("sub", Code.BACKING_SPECIAL),
    ("json:{\"driver\":\"file\",\"filename\":\"base.raw\"}", Code.BACKING_PROTOCOL),
    ("nbd://localhost/x", Code.BACKING_PROTOCOL),
    ("fat:/etc", Code.BACKING_PROTOCOL),
    ("file:base.raw", Code.BACKING_PROTOCOL),
    ("driver:x", Code.BACKING_PROTOCOL),
    ("a:b", Code.BACKING_PROTOCOL),
    (":", Code.BACKING_PROTOCOL),
    (b"a\0b", Code.BACKING_INVALID),
    ("x" * 1023, Code.BACKING_INVALID),
    ("x" * 1024, Code.BACKING_INVALID),
]  # fmt: skip


@pytest.fixture
def maze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A domain of links and files beside it; also the current directory, as it may be a worker's."""
    root = tmp_path / "domain"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "domain-two").mkdir()
    for path in (root / "base.raw", tmp_path / "secret.raw", tmp_path / "domain-two/base.raw",
                 root / "a:b"):  # fmt: skip
        raw(path, MIB)
    for name, target in (
        ("leak.raw", "../secret.raw"), ("relay.raw", "sub/second"), ("sub/second", "third"),
        ("sub/third", "../leak.raw"), ("dangling.raw", "nothing"), ("circle", "circle"),
        ("ping", "pong"), ("pong", "ping"), ("magic", "/proc/self/cwd"),
    ):  # fmt: skip
        (root / name).symlink_to(target)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(("name", "code"), ASTRAY)
def test_names_that_lead_astray(maze: Path, name: str | bytes, code: Code) -> None:
    if isinstance(name, str):
        name = (
            name.replace("{root}", str(maze)).replace("{out}", str(maze.parent / "domain-two"))
            .replace("{up}", "/".join([".."] * 30))
        )  # fmt: skip
    overlay(maze, name)
    assert codes(maze, "top.qcow2") == {code: "critical"}
    assert read_layer(str(maze), "top.qcow2").backing_path is None


@pytest.mark.parametrize(
    "name", ["./a:b", "sub/../a:b", "{root}/a:b", "//{root}/a:b", "../domain/a:b", "chain/0"]
)
def test_names_that_lead_home(maze: Path, name: str) -> None:
    (maze / "chain").mkdir()
    for number in range(MAX_LINKS):
        target = f"{number + 1}" if number + 1 < MAX_LINKS else "../a:b"
        (maze / "chain" / str(number)).symlink_to(target)
    overlay(maze, name.replace("{root}", str(maze)))
    assert codes(maze, "top.qcow2") == {}
    assert read_layer(str(maze), "top.qcow2").backing_path == "a:b"
    assert_like_qemu(maze / "top.qcow2")


def test_one_link_more_than_linux_follows(tmp_path: Path) -> None:
    (tmp_path / str(MAX_LINKS + 1)).write_bytes(b"")
    for number in range(MAX_LINKS + 1):
        (tmp_path / str(number)).symlink_to(str(number + 1))
    found = locate(str(tmp_path), "1")
    assert found is not None
    assert found.path == str(MAX_LINKS + 1)
    with pytest.raises(OSError, match="symbolic") as caught:
        os.stat(tmp_path / "0")
    assert caught.value.errno == errno.ELOOP
    overlay(tmp_path, "0")
    assert codes(tmp_path, "top.qcow2") == {"backing-special": "critical"}


def test_a_domain_that_is_itself_below_dev_and_named_by_a_link(tmp_path: Path) -> None:
    memory = Path("/dev/shm") / tmp_path.name  # noqa: S108
    memory.mkdir()
    try:
        raw(memory / "base.raw", MIB)
        (tmp_path / "domain").symlink_to(memory)
        for name in ("base.raw", "./base.raw", f"{memory}/base.raw", f"{tmp_path}/domain/base.raw"):
            overlay(memory, name)
            assert codes(tmp_path / "domain", "top.qcow2") == {}, name
        overlay(memory, "/dev/null")
        assert codes(memory, "top.qcow2") == {"backing-protocol": "critical"}
        overlay(memory, "../null")
        assert codes(memory, "top.qcow2") == {"backing-outside": "critical"}
    finally:
        subprocess.run(["rm", "-r", memory], check=True)


def test_the_folder_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "domain/sub").mkdir(parents=True)
    root = tmp_path / "domain"
    (root / "folder").symlink_to("sub")
    (root / "out").symlink_to("..")
    for name, expected in (
        ("x", ""), ("sub/x", "sub"), ("folder/x", "sub"), ("sub/../x", ""), (f"{root}/x", ""),
        (f"{root}/folder/x", "sub"), ("../x", None), ("out/x", None), ("gone/x", None), ("a\0/x", None),
    ):  # fmt: skip
        assert folder_of_name(str(root), "", name) == expected, name
    assert folder_of_name(str(root), "sub", "../x") == ""
