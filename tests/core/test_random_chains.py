"""Random chains, compared with `qemu-img map`: the whole chain, and the view of every layer."""

import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.core.chain import read_chain
from chains.core.findings import Code
from chains.core.qcow2 import parse_header
from tests.core.images import KIB, MIB, assert_like_qemu, is_marked_corrupt, qcow2, raw, tool, write

CLUSTERS = [512 << n for n in range(13)]  # all that there are: 512 B to 2 MiB
SECTORS = 4 * MIB // 512
VERBS = ["write", "write", "write -z", "write -z -u", "discard", "write -c"]
STYLES = [
    "plain",
    "plain",
    "sub",
    "v2",
    "zstd",
    "metadata",
    "lazy",
    "data",
    "data",
    "sub-data",
    "data-raw",
]
EVENTS = ["snapshot", "resize", "resize"]


@dataclass(frozen=True)
class Step:
    verb: str
    start: int
    length: int

    def command(self, size: int, cluster: int) -> str:
        start, length = self.start % max(size, 512), self.length
        if "-c" in self.verb:  # a compressed write takes exactly one cluster
            start, length = start // cluster * cluster, cluster
        length = min(length, size - start)
        return f"{self.verb} {start} {length}" if length > 0 else "length"


@dataclass(frozen=True)
class Round:
    """Something that is done to a layer, and what is written after it."""

    event: str
    size: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    size: int
    cluster: int
    style: str
    refcount_bits: int
    steps: tuple[Step, ...]
    rounds: tuple[Round, ...]

    def __post_init__(self) -> None:
        if self.style.startswith("sub"):  # there are none below
            object.__setattr__(self, "cluster", max(self.cluster, 16 * KIB))

    def options(self, name: str, backing: str) -> dict[str, object]:
        options: dict[str, object] = {"cluster_size": self.cluster}
        if self.style == "v2":
            return options | {"compat": "0.10"}
        options["refcount_bits"] = self.refcount_bits
        if self.style.startswith("sub"):
            options["extended_l2"] = "on"
        if "data" in self.style.split("-"):
            options["data_file"] = f"{name}.data"
            if self.style == "data-raw" and not backing:
                options["data_file_raw"] = "on"
        if self.style == "zstd":
            options["compression_type"] = "zstd"
        elif self.style == "lazy":
            options["lazy_refcounts"] = "on"
        elif self.style == "metadata" and not backing:
            options["preallocation"] = "metadata"
        return options


sizes = st.one_of(st.just(4 * MIB), st.integers(1, SECTORS).map(lambda n: n * 512))
steps = st.builds(
    Step,
    st.sampled_from(VERBS),
    st.integers(0, SECTORS - 1).map(lambda n: n * 512),
    st.one_of(st.integers(1, 64), st.integers(1, SECTORS)).map(lambda n: n * 512),
)
some_steps = st.lists(steps, max_size=6).map(tuple)
rounds = st.builds(Round, st.sampled_from(EVENTS), sizes, some_steps)
layers = st.builds(
    Plan,
    sizes,
    st.sampled_from(CLUSTERS),
    st.sampled_from(STYLES),
    st.sampled_from([16, 1, 2, 4, 8, 32, 64]),
    some_steps,
    st.lists(rounds, max_size=2).map(tuple),
)
raw_roots = st.one_of(st.none(), st.integers(1, 4 * MIB))
chains = st.tuples(raw_roots, st.lists(layers, min_size=1, max_size=4))


def build(folder: Path, root_size: int | None, plans: list[Plan]) -> list[Path]:
    backing = ""
    made = []
    if root_size is not None:
        steps = ("write 0 512", f"write {root_size // 1024 * 512} 512") if root_size > 1024 else ()
        made.append(raw(folder / "root.raw", root_size, *steps))
        backing = "root.raw"
    for number, plan in enumerate(plans):
        name = f"{number}.qcow2"
        image = qcow2(folder / name, plan.size, backing=backing, **plan.options(name, backing))
        _write(image, plan.steps, plan.size, plan.cluster)
        size = plan.size
        for event in plan.rounds:
            if event.event == "snapshot":
                tool("qemu-img", "snapshot", "-c", "kept", name, cwd=folder, refusals=True)
            else:
                argv = ["--shrink"] if event.size < size else []
                tool("qemu-img", "resize", "-q", *argv, name, str(event.size), cwd=folder,
                     refusals=True)  # fmt: skip
                with image.open("rb") as file:  # what QEMU refuses leaves the size as it is
                    size = parse_header(file.fileno()).virtual_size
            _write(image, event.steps, size, plan.cluster)
        made.append(image)
        backing = image.name
    return made


def _write(image: Path, steps: tuple[Step, ...], size: int, cluster: int) -> None:
    write(image, *[step.command(size, cluster) for step in steps], refusals=True)


def assert_marks_read_zero(image: Path, image_format: str) -> None:
    """Prove the one difference to be none: data that QEMU also marks zero does read as zeroes."""
    argv = ["qemu-img", "map", "--output=json", "-f", image_format, f"./{image.name}"]
    marked = [e for e in json.loads(tool(*argv, cwd=image.parent)) if e["data"] and e["zero"]]
    if not marked:
        return
    tool(
        "qemu-img", "convert", "-f", image_format, "-O", "raw", image.name, "view", cwd=image.parent
    )
    view = (image.parent / "view").read_bytes()
    for entry in marked:
        start, end = entry["start"], entry["start"] + entry["length"]
        assert view[start:end].count(0) == len(view[start:end]), entry


def compare(plan: tuple[int | None, list[Plan]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for image in build(Path(folder), *plan):
            found = read_chain(folder, image.name).findings
            if any(finding.code is Code.CORRUPT for finding in found):
                # QEMU 7.2 marks its own image when a compressed cluster is zeroed and compressed
                # again; the layers above it are then refused, rightly.
                assert is_marked_corrupt(image)
                return
            image_format = "raw" if image.suffix == ".raw" else "qcow2"
            assert_like_qemu(image, image_format)
            assert_marks_read_zero(image, image_format)


def examples(count: int) -> Callable[..., Callable[..., None]]:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )


@examples(40)
@given(chains)
def test_random_chains(plan: tuple[int | None, list[Plan]]) -> None:
    compare(plan)


@pytest.mark.slow
@examples(700)
@given(chains)
def test_many_random_chains(plan: tuple[int | None, list[Plan]]) -> None:
    compare(plan)


@pytest.mark.slow
def test_every_pair_of_writes_at_the_border_of_tables(tmp_path: Path) -> None:
    border = 32 * KIB  # what an L2 table covers at 512-byte clusters
    spots = [border - 512, border, 2 * border - 512, 2 * border]
    qcow2(tmp_path / "base.qcow2", 4 * border, f"write 0 {4 * border}", cluster_size=512)
    for number, (first, second) in enumerate(itertools.product(spots, spots)):
        for verb in ("write", "write -z"):
            name = f"{number}-{len(verb)}.qcow2"
            top = qcow2(tmp_path / name, None, f"write {first} 1k", f"{verb} {second} 512",
                        backing="base.qcow2", cluster_size=512)  # fmt: skip
            assert_like_qemu(top)
