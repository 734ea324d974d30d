"""Linking the layers of a whole domain."""

import os
import time
from pathlib import Path

from chains.core.chain import (
    Chain,
    Fingerprint,
    Forest,
    Layer,
    hints,
    link,
    outdated,
    read_chain,
    read_layer,
)
from chains.core.findings import Code
from tests.core.images import MIB, qcow2, raw
from tests.core.test_chain import overlay


def layer(path: str, backing: str | None = None, recorded: str | None = "qcow2",
          image_format: str = "qcow2", size: int = MIB) -> Layer:  # fmt: skip
    file = Fingerprint(1, int.from_bytes(path.encode()), 3, 4, 5)
    name = f"/domain/{backing}" if backing else None
    return Layer(
        path, image_format, size, size, name, recorded if backing else None, backing, file, None,
        (),
    )  # fmt: skip


def forest(*layers: Layer) -> Forest:
    return link({each.path: each for each in layers}, "/domain")


def found(chain: Chain | Forest) -> list[tuple[str, str]]:
    return [(str(f.code), f.path) for f in chain.findings]


def scan(root: Path) -> dict[str, Layer]:
    layers = {name: read_layer(str(root), name) for name in sorted(os.listdir(root))}
    while again := outdated(layers):
        layers |= {path: read_layer(str(root), path, said) for path, said in again.items()}
    return layers


def test_siblings_leaves_and_chains() -> None:
    domain = forest(
        layer("base", image_format="raw"), layer("a", "base", "raw"), layer("b", "base", "raw"),
        layer("c", "a"), layer("d", "a"), layer("alone"),
    )  # fmt: skip
    assert domain.overlays == {"base": ("a", "b"), "a": ("c", "d")}
    assert domain.leaves == ("alone", "b", "c", "d")
    assert domain.findings == ()
    chain = domain.chain("c")
    assert [each.path for each in chain.layers] == ["c", "a", "base"]
    assert (chain.root, chain.is_safe) == ("/domain", True)
    assert [each.path for each in domain.chain("a").layers] == ["a", "base"]


def test_a_backing_file_that_the_scan_did_not_meet() -> None:
    domain = forest(layer("top", "gone"))
    assert found(domain) == found(domain.chain("top")) == [("backing-missing", "top")]
    assert domain.leaves == ("top",)


def test_rings_are_seen_and_end() -> None:
    ring = [layer("a", "b"), layer("b", "c"), layer("c", "a")]
    domain = forest(*ring)
    assert domain.leaves == ("a",), "a ring has no leaf: its first layer stands for it"
    assert sorted(found(domain)) == [("backing-loop", path) for path in "abc"]
    for path in "abc":
        chain = domain.chain(path)
        assert len(chain.layers) == 3
        assert [code for code, _ in found(chain)] == ["backing-loop"]
    domain = forest(*ring, layer("leaf", "b"), layer("other", "leaf"), layer("self", "self"))
    assert domain.leaves == ("other", "self")
    assert len(domain.chain("other").layers) == 5
    assert not domain.chain("other").is_safe


def test_too_deep() -> None:
    domain = forest(layer("0"), *(layer(str(n), str(n - 1)) for n in range(1, 6)))
    assert domain.chain("5", max_depth=6).is_safe
    assert found(domain.chain("5", max_depth=5)) == [("too-deep", "1")]


def test_formats_as_recorded() -> None:
    for recorded, read_as, code in (
        ("raw", "qcow2", "backing-format-wrong"),
        ("qcow2", "raw", "backing-format-wrong"),
        ("vmdk", "raw", "not-a-chain-format"),
        (None, "raw", "backing-format-unset"),
        (None, "qcow2", "backing-format-unset"),
    ):
        domain = forest(layer("base", image_format=read_as), layer("top", "base", recorded))
        assert found(domain) == found(domain.chain("top")) == [(code, "top")]
    domain = forest(layer("base", size=2 * MIB), layer("top", "base"))
    assert found(domain) == [("size-shrinks", "top")]


def test_hints_say_what_overlays_record() -> None:
    layers = [
        layer("base"), layer("a", "base", "qcow2"), layer("b", "base", "raw"),
        layer("c", "a"), layer("d", "gone"), layer("e", "b", None), layer("f", "b", "vmdk"),
    ]  # fmt: skip
    table = {each.path: each for each in layers}
    assert hints(table) == {"base": "raw", "a": "qcow2"}
    assert outdated(table) == {"base": "raw"}


def test_a_scan_agrees_with_reading_each_chain(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 1 * MIB)
    (tmp_path / "base.qcow2").write_bytes(bytes(65536))  # raw, whatever its name says
    (tmp_path / "vmdk.raw").write_bytes(b"KDMV" + bytes(8188))
    qcow2(tmp_path / "inner.qcow2", 1 * MIB)
    overlay(tmp_path, "inner.qcow2", b"qcow2", name="guest.raw")
    overlay(tmp_path, "nbd:host:1", b"raw", name="far.qcow2")
    for number, (backing, recorded) in enumerate([
        ("base.raw", b"raw"), ("base.qcow2", b"raw"), ("vmdk.raw", b"raw"), ("guest.raw", b"raw"),
        ("guest.raw", b"qcow2"), ("base.raw", b"qcow2"), ("inner.qcow2", None), ("base.raw", None),
        ("gone.raw", b"raw"), ("far.qcow2", b"qcow2"),
    ]):  # fmt: skip
        overlay(tmp_path, backing, recorded, name=f"{number}.qcow2")
    layers = scan(tmp_path)
    domain = link(layers, str(tmp_path))
    agreeing = [f"{n}.qcow2" for n in (0, 1, 2, 3, 6, 8, 9)]
    for path in agreeing:
        assert found(domain.chain(path)) == found(read_chain(str(tmp_path), path)), path
    # Overlays that contradict one another: each view is refused, if not with the same words.
    assert not domain.chain("4.qcow2").is_safe
    assert not domain.chain("5.qcow2").is_safe


def test_links_are_no_overlays_of_their_own(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 1 * MIB)
    qcow2(tmp_path / "top.qcow2", None, backing="base.raw")
    (tmp_path / "alias.qcow2").symlink_to("top.qcow2")
    domain = link(scan(tmp_path), str(tmp_path))
    assert set(domain.layers) == {"base.raw", "top.qcow2"}
    assert domain.overlays == {"base.raw": ("top.qcow2",)}


def test_a_large_domain_links_in_about_a_second() -> None:
    layers: dict[str, Layer] = {}
    for number in range(20_000):
        below = None
        for depth in range(5):
            path = f"{number}/{depth}"
            layers[path] = layer(path, below)
            below = path
    before = time.perf_counter()
    domain = link(layers)
    chains = [domain.chain(leaf) for leaf in domain.leaves]
    assert time.perf_counter() - before < 4, "about one second on an idle machine"
    assert len(chains) == 20_000
    assert all(len(chain.layers) == 5 and chain.is_safe for chain in chains)


def test_one_very_long_chain_links_in_no_time() -> None:
    names = [str(number) for number in range(50_000)]
    layers = {name: layer(name, below) for name, below in zip(names, [None, *names], strict=False)}
    before = time.perf_counter()
    domain = link(layers)
    assert time.perf_counter() - before < 4
    assert domain.leaves == (names[-1],)
    assert domain.chain(names[-1]).findings[-1].code is Code.TOO_DEEP
