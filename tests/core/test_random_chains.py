"""Random chains, compared with `qemu-img map`: the whole chain, and the view of every layer."""

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.core.chain import read_chain
from chains.core.findings import Code
from tests.core.images import KIB, MIB, assert_like_qemu, is_marked_corrupt, qcow2, raw, write

CLUSTERS = [512, 1 * KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 2 * MIB]
SECTORS = 4 * MIB // 512
VERBS = ["write", "write", "write -z", "write -z -u", "discard", "write -c"]


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
class Plan:
    size: int
    cluster: int
    style: str
    steps: tuple[Step, ...]


steps = st.builds(
    Step,
    st.sampled_from(VERBS),
    st.integers(0, SECTORS - 1).map(lambda n: n * 512),
    st.one_of(st.integers(1, 64), st.integers(1, SECTORS)).map(lambda n: n * 512),
)
layers = st.builds(
    Plan,
    st.one_of(st.just(4 * MIB), st.integers(1, SECTORS).map(lambda n: n * 512)),
    st.sampled_from(CLUSTERS),
    st.sampled_from(["plain", "plain", "sub", "v2", "zstd", "metadata"]),
    st.lists(steps, max_size=6).map(tuple),
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
        options: dict[str, object] = {"cluster_size": plan.cluster}
        if plan.style == "sub" and plan.cluster >= 16 * KIB:
            options["extended_l2"] = "on"
        elif plan.style == "v2":
            options["compat"] = "0.10"
        elif plan.style == "zstd":
            options["compression_type"] = "zstd"
        elif plan.style == "metadata" and not backing:
            options["preallocation"] = "metadata"
        commands = [step.command(plan.size, plan.cluster) for step in plan.steps]
        image = qcow2(folder / f"{number}.qcow2", plan.size, backing=backing, **options)
        write(image, *commands, refusals=True)
        made.append(image)
        backing = image.name
    return made


def compare(plan: tuple[int | None, list[Plan]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for image in build(Path(folder), *plan):
            found = read_chain(folder, image.name).findings
            if any(finding.code is Code.CORRUPT for finding in found):
                # QEMU 7.2 marks its own image when a compressed cluster is zeroed and compressed
                # again; the layers above it are then refused, rightly.
                assert is_marked_corrupt(image)
                return
            assert_like_qemu(image, "raw" if image.suffix == ".raw" else "qcow2")


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
