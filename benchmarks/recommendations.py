"""Whether the plan that is recommended is the fastest: many shapes of chains, every legal strategy.

    python -m benchmarks.recommendations [--rounds N] [--only WORDS] [--dir DIR]

Each shape is merged by every strategy that is legal, with its verification, caches cold, in turn. A
shape where the recommended one is not within a tenth of the best is measured again before it counts.
"""

import argparse
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks import images
from benchmarks.measuring import machine
from benchmarks.shapes import Sheet, build, copy_commands, copy_sparse, situation
from chains.core.costs import Strategy
from chains.core.extents import ExtentMap
from chains.core.plans import Plan, plans
from chains.merges import witness

KIB, MIB = images.KIB, images.MIB
DISK = 2048 * MIB
TOLERANCE = 1.10
AGAIN = 2
NORMAL = 64 * KIB


@dataclass(frozen=True)
class Shape:
    """A chain and a run of it to merge: indexes from the root; `leaf` is whether top is active."""

    name: str
    sheets: tuple[Sheet, ...]
    base: int
    top: int


@dataclass
class Result:
    """Seconds of each strategy in each round, the recommended one first."""

    shape: Shape
    plans: tuple[Plan, ...]
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The recommended one's median over the best one's."""
        medians = [median(taken) for taken in self.times.values()]
        return medians[0] / min(medians)

    def __str__(self) -> str:
        times = ", ".join(
            f"{plan.strategy} {median(self.times[plan.strategy]):.2f} s"
            f" ({(plan.bytes_read or 0) / MIB:.0f}/{(plan.bytes_written or 0) / MIB:.0f} MiB)"
            for plan in self.plans
        )
        verdict = "" if self.ratio <= TOLERANCE else " MISSED"
        return f"{self.shape.name:44} {self.ratio:5.2f}  {times}{verdict}"


def run(start: int, length: int) -> tuple[str, ...]:
    """Write one stretch; MiB."""
    step = 256
    return tuple(
        f"write -P ? {at}M {min(step, start + length - at)}M"
        for at in range(start, start + length, step)
    )


def scattered(start: int, length: int, piece: int, gap: int) -> tuple[str, ...]:
    """Write pieces of that many KiB, with gaps of that many KiB between; start and length in MiB."""
    ends = (start + length) * 1024
    return tuple(
        f"write -P ? {at}K {piece}K" for at in range(start * 1024, ends - piece, piece + gap)
    )


def blanks(start: int, length: int, verb: str = "write -z -u") -> tuple[str, ...]:
    """Mark stretches as zero; MiB."""
    return tuple(f"{verb} {at}M 16M" for at in range(start, start + length, 16))


def sheets(*layers: Sequence[str], clusters: Sequence[int | None] = ()) -> tuple[Sheet, ...]:
    """Layers of one disk, root first, with clusters of 64 KiB unless said otherwise."""
    sizes = clusters or [NORMAL] * len(layers)
    return tuple(
        Sheet(cluster, DISK if number == 0 else None, tuple(steps))
        for number, (cluster, steps) in enumerate(zip(sizes, layers, strict=True))
    )


def shapes() -> Iterator[Shape]:
    """The matrix."""
    yield from _sizes()
    yield from _places()
    yield from _fragments()
    yield from _clusters()
    yield from _wide()


def _sizes() -> Iterator[Shape]:
    """The usual three layers, merged below the active one, by how much each holds."""
    for name, base, middle, top in (
        ("large base, small snapshot", 700, 60, 30), ("small base, large snapshot", 60, 600, 30),
        ("equal", 300, 300, 60), ("large snapshot, large overlay", 200, 400, 400),
        ("article", 640, 160, 80), ("tiny snapshot", 500, 8, 8),
    ):  # fmt: skip
        apart = sheets(run(0, base), run(base, middle), run(base + middle, top))
        yield Shape(f"{name}, apart", apart, 0, 1)
    for name, base, middle, top in (
        ("large base, small snapshot", 700, 60, 30), ("article", 640, 160, 80),
        ("large snapshot, large overlay", 200, 400, 400),
    ):  # fmt: skip
        over = sheets(run(0, base), run(max(0, base - middle), middle), run(0, top))
        yield Shape(f"{name}, overlapping", over, 0, 1)
    yield Shape(
        "raw base, large", sheets(run(0, 600), run(600, 100), run(0, 20), clusters=[None, NORMAL, NORMAL]),
        0, 1,
    )  # fmt: skip
    yield Shape(
        "raw base, small",
        sheets(run(0, 60), run(100, 500), run(0, 20), clusters=[None, NORMAL, NORMAL]), 0, 1,
    )  # fmt: skip


def _places() -> Iterator[Shape]:
    """Where in the chain the run lies."""
    yield Shape("active, small top", sheets(run(0, 500), run(400, 60)), 0, 1)
    yield Shape("active, large top", sheets(run(0, 100), run(50, 600)), 0, 1)
    yield Shape("active, top covers all", sheets(run(0, 300), run(0, 300)), 0, 1)
    four = sheets(run(0, 500), run(300, 200), run(450, 100), run(0, 30))
    yield Shape("layer below, not active", four, 1, 2)
    yield Shape("layer below, active", four[:3], 1, 2)
    upper = sheets(run(0, 400), run(300, 50), run(300, 400), run(0, 30))
    yield Shape("layer below, large top", upper, 1, 2)
    yield Shape("layer below, large base", (upper[0], upper[2], upper[1], upper[3]), 1, 2)
    deep = [run(0, 300), *(run(100 * number, 80) for number in range(5)), run(0, 10)]
    yield Shape("six layers in a row", sheets(*deep), 0, 5)
    same = [run(0, 200), *(run(0, 100) for _ in range(5)), run(0, 10)]
    yield Shape("six layers that hide one another", sheets(*same), 0, 5)
    yield Shape("four upper ones of six", sheets(*deep[:6]), 2, 5)


def _fragments() -> Iterator[Shape]:
    """Many small extents, and zeroes."""
    small = scattered(0, 600, 64, 192)
    yield Shape("many extents of 64 KiB above", sheets(run(0, 600), small, run(0, 10)), 0, 1)
    yield Shape("many extents of 64 KiB below", sheets(small, run(700, 200), run(0, 10)), 0, 1)
    other = scattered(0, 600, 64, 128)
    yield Shape("many extents in both", sheets(small, other, run(0, 10)), 0, 1)
    yield Shape("many extents, active", sheets(run(0, 300), other), 0, 1)
    below = sheets(run(0, 500), small, other, run(0, 10))
    yield Shape("many extents over a layer below", below, 1, 2)
    wiped = (*run(0, 100), *blanks(200, 320))
    yield Shape("zeroes over data", sheets(run(0, 600), wiped, run(0, 10)), 0, 1)
    yield Shape(
        "zeroes over a layer below", sheets(run(0, 600), run(0, 60), wiped, run(0, 10)), 1, 2
    )


def _clusters() -> Iterator[Shape]:
    """Clusters of other sizes, and of different ones."""
    for name, clusters in (
        ("4 KiB", (4 * KIB, 4 * KIB, 4 * KIB)), ("1 MiB", (MIB, MIB, MIB)),
        ("64 KiB on 1 MiB", (MIB, NORMAL, NORMAL)),
    ):  # fmt: skip
        layers = sheets(run(0, 400), run(300, 200), run(0, 20), clusters=clusters)
        yield Shape(f"clusters of {name}", layers, 0, 1)
    bits = scattered(0, 300, 64, 448)
    mixed = sheets(run(0, 400), bits, run(0, 10), clusters=(MIB, NORMAL, NORMAL))
    yield Shape("small extents on clusters of 1 MiB", mixed, 0, 1)
    swapped = sheets(bits, run(200, 200), run(0, 10), clusters=(NORMAL, MIB, MIB))
    yield Shape("small extents under clusters of 1 MiB", swapped, 0, 1)


def _wide() -> Iterator[Shape]:
    """Large disks with little on them: what looks through all of the disk shows."""
    for name, kind, gib in (("qcow2", NORMAL, 16), ("raw", None, 4)):
        first, *others = sheets(
            run(0, 100), run(50, 250), run(20, 20), clusters=(kind, NORMAL, NORMAL)
        )
        wide = (replace(first, size=gib * 1024 * MIB), *others)
        yield Shape(f"{gib} GiB disk, {name} base, large snapshot", wide, 0, 1)
    first, *others = sheets(run(0, 300), run(300, 50), run(320, 250), run(0, 9))
    yield Shape("16 GiB disk, layer below", (replace(first, size=16 * 1024 * MIB), *others), 1, 2)


def carry_out(folder: Path, plan: Plan, maps: Sequence[ExtentMap]) -> float:
    """Copy and verify as the runner does; seconds."""
    images.drop_caches(sorted(path for path in folder.iterdir() if path.is_file()))
    start = time.perf_counter()
    copies, verification = copy_commands(folder, plan)
    for argv in copies:
        subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    subprocess.run(["sync", "-f", str(folder)], check=True)
    if plan.strategy == Strategy.CONVERT:
        subprocess.run(verification[0], cwd=folder, check=True, capture_output=True)
    else:
        witness.compare(str(folder), plan, maps[0], lambda done, total: None)
    return time.perf_counter() - start


def measure(place: Path, shape: Shape, rounds: int) -> Result:
    """Merge one shape by each legal strategy, in turn; more rounds where it would miss."""
    source, folder = place / "source", place / "work"
    source.mkdir()
    names = [path.name for path in build(source, shape.sheets)]
    seen, maps = situation(source, names[-1])
    maps = maps[len(names) - 1 - shape.top :]
    found = plans(seen, names[shape.base], names[shape.top], maps)
    legal = tuple(plan for plan in found if not plan.refusals)
    result = Result(shape, legal, {plan.strategy: [] for plan in legal})
    done = 0
    while done < rounds or (result.ratio > TOLERANCE and done < rounds + AGAIN):
        for plan in legal:
            shutil.copytree(source, folder, copy_function=copy_sparse)
            result.times[plan.strategy].append(carry_out(folder, plan, maps))
            shutil.rmtree(folder)
        done += 1
    shutil.rmtree(source)
    return result


def report(place: Path, rounds: int, only: str) -> list[Result]:
    """Measure the matrix and print it: the recommended one's time over the best one's."""
    results = []
    for shape in shapes():
        if only in shape.name:
            results.append(measure(place, shape, rounds))
            print(results[-1], flush=True)
    ratios = sorted(result.ratio for result in results)
    missed = sum(ratio > TOLERANCE for ratio in ratios)
    print(
        f"{len(ratios)} shapes: recommended ÷ best {median(ratios):.2f} (median), {ratios[-1]:.2f} at"
        f" the most; more than {TOLERANCE:g} in {missed}"
    )
    return results


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="shapes whose name holds these words")
    parser.add_argument("--dir", help="where the chains are built (default: a temporary directory)")
    options = parser.parse_args()
    print(machine())
    with images.workplace(options.dir) as place:
        report(place, options.rounds, options.only)


if __name__ == "__main__":
    main()
