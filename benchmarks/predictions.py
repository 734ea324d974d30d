"""What a plan predicts against what qemu-img does, on random chains of every kind.

    python -m benchmarks.predictions [--chains N] [--seed N] [--dir DIR] [--all]

Each chain is merged by every strategy, with and without a layer below base. Held against the plan are
the bytes that the tool's system calls write, and the most that the domain has grown meanwhile.
"""

import argparse
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import images
from benchmarks.measuring import machine
from benchmarks.shapes import Sheet, build, carry_out, copy_sparse, situation
from chains.core.clusters import reserve
from chains.core.costs import Costs, Strategy, costs
from chains.core.plans import plan_merge

KIB, MIB = images.KIB, images.MIB
CLUSTERS = (4 * KIB, 64 * KIB, 64 * KIB, MIB)
LENGTHS = (4, 16, 64, 128, 1024, 4096)


def random_sheets(luck: random.Random, size: int) -> list[Sheet]:
    """Choose a chain of four layers, root first."""
    sheets = []
    mixed = luck.random() < 0.7
    usual = luck.choice(CLUSTERS)
    for number in range(4):
        cluster = luck.choice(CLUSTERS) if mixed else usual
        is_raw = number == 0 and luck.random() < 0.3
        grain = 4 * KIB if is_raw else cluster
        mine = size
        if number and luck.random() < 0.25:
            mine = size + luck.choice((-1, 1)) * luck.randrange(1, 32) * MIB
        options = ""
        if not is_raw and cluster >= 64 * KIB and luck.random() < 0.15:
            options = "extended_l2=on"
            grain = cluster // 32
        # (qemu-img stores a block of zeroes at the start of a raw image, which would pass for data.)
        steps = [f"write -P ? 0 {grain}"] if is_raw else []
        for _ in range(luck.randint(2, 25)):
            length = min(-(-luck.choice(LENGTHS) * KIB // grain) * grain, mine // 2)
            start = luck.randrange(0, mine - length) // grain * grain
            verb = luck.choice(("write -P ?",) * 5 + ("write -z", "write -z -u", "discard"))
            steps.append(f"{verb} {start} {min(length, mine - start)}")
        if not is_raw and not options and luck.random() < 0.15:
            start = luck.randrange(0, mine // cluster) * cluster
            steps.insert(0, f"write -c -P ? {start} {cluster}")
        sheets.append(Sheet(None if is_raw else cluster, mine, tuple(steps), options))
    return sheets


@dataclass(frozen=True)
class Merge:
    """One merge: what was foretold and what came of it, bytes. `grown` is the most at any time."""

    number: int
    strategy: Strategy
    sheets: tuple[Sheet, ...]
    run: tuple[int, int]  # base and top
    cluster: int | None
    extents: int
    expected: Costs
    written: int
    grown: int

    @property
    def unit(self) -> int:
        """Bytes of a cluster of the volume written."""
        return self.cluster or 64 * KIB

    @property
    def wrote_as_foretold(self) -> bool:
        """Within one cluster an extent."""
        return abs(self.written - self.expected.written) <= self.extents * self.unit

    @property
    def grew_as_foretold(self) -> bool:
        """Within 2 %, or a few clusters where little is merged."""
        return abs(self.grown - self.expected.extra) <= max(self.grown // 50, 4 * self.unit)

    @property
    def had_room(self) -> bool:
        """Whether the room asked for, with its reserve, was enough."""
        extra = self.expected.extra
        return self.grown <= extra + reserve(extra, self.cluster)

    def __str__(self) -> str:
        clusters = "-".join(str((sheet.cluster or 0) // KIB) for sheet in self.sheets)
        marks = (self.wrote_as_foretold, self.grew_as_foretold, self.had_room)
        return (
            f"{self.number:4} {self.strategy:8} {self.run[0]}…{self.run[1]} of {clusters:18} KiB: "
            f"written {self.written / MIB:8.2f} MiB"
            f" ({(self.written - self.expected.written) / KIB:+6.0f} KiB), "
            f"grown {self.grown / MIB:8.2f} MiB"
            f" ({(self.grown - self.expected.extra) / KIB:+6.0f} KiB)"
            f"{'' if all(marks) else ' MISSED'}"
        )


def measure(place: Path, number: int) -> Iterator[Merge]:
    """Write a random chain and merge a part of it by each strategy."""
    luck = random.Random(number)
    sheets = tuple(random_sheets(luck, 256 * MIB))
    base, top = luck.choice((0, 1)), luck.choice((2, 3))
    source = place / "source"
    source.mkdir()
    paths = build(source, sheets[: top + 1])
    for strategy in Strategy:
        folder = place / strategy.value
        shutil.copytree(source, folder, copy_function=copy_sparse)
        seen, maps = situation(folder, paths[top].name)
        plan = plan_merge(seen, paths[base].name, paths[top].name, maps, strategy)
        if "size" not in {refusal.code for refusal in plan.refusals}:
            expected = costs(maps, top - base + 1, strategy, plan.cluster_size)
            extents = sum(len(layer.starts) for layer in maps[: top - base + 1])
            written, grown = carry_out(folder, plan)
            yield Merge(
                number, strategy, sheets, (base, top), plan.cluster_size, extents, expected,
                written, grown,
            )  # fmt: skip
        shutil.rmtree(folder)
    shutil.rmtree(source)


def report(merges: Sequence[Merge]) -> None:
    """Print how far off each strategy was, and whether that is near enough."""
    for strategy in Strategy:
        mine = [merge for merge in merges if merge.strategy is strategy]
        if not mine:
            continue
        wrote = [merge.written - merge.expected.written for merge in mine]
        grew = [merge.grown - merge.expected.extra for merge in mine]
        exact = sum(merge.wrote_as_foretold for merge in mine)
        near = sum(merge.grew_as_foretold for merge in mine)
        room = sum(merge.had_room for merge in mine)
        print(
            f"{strategy:8} {len(mine)} merges: written − predicted {_spread(wrote)}, within a cluster"
            f" an extent in {exact}; grown − predicted {_spread(grew)}, within 2 % or 4 clusters in"
            f" {near}; room enough in {room}"
        )


def _spread(errors: Sequence[int]) -> str:
    parts = [f"{error / MIB:+.2f}" for error in (min(errors), median(errors), max(errors))]
    return f"{parts[0]} … {parts[2]} MiB (median {parts[1]})"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chains", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1, help="number of the first chain (default 1)")
    parser.add_argument("--dir", help="where the chains are built (default: a temporary directory)")
    parser.add_argument("--all", action="store_true", help="print every merge, not only the missed")
    options = parser.parse_args()
    print(machine())
    merges = []
    with images.workplace(options.dir) as place:
        for number in range(options.seed, options.seed + options.chains):
            for merge in measure(place, number):
                merges.append(merge)
                missed = not (merge.wrote_as_foretold and merge.grew_as_foretold and merge.had_room)
                if options.all or missed:
                    print(merge)
    report(merges)


if __name__ == "__main__":
    main()
