"""The bar and the time left of real merges, as they are told while the merges run.

    python -m benchmarks.progress [--size MIB] [--rounds N] [--rate MIB] [--dir DIR]

For each strategy a chain of images is merged, cold, by Strata's runner, and every report is written
down: how soon the first message comes after the copy began, how many come a second and the longest gap
between two until the verification has ended, whether the percent ever runs backwards, and how far the
time left is from the truth from a quarter of the merge on, as a share of the whole time. With --rate the
merges are held to a limit, and what they really read or wrote a second is told too.
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks import images, real_merges
from benchmarks.measuring import machine, verdict

if TYPE_CHECKING:
    from chains.core.progress import Progress
    from chains.models import Merge

MIB = images.MIB
FIRST, GAP, ERROR = 1.0, 0.5, 0.25


@dataclass
class Record:
    """What was told of one merge, and when."""

    began: float = 0.0
    ended: float = 0.0
    steps: dict[str, list[float]] = field(default_factory=dict)
    told: list[tuple[float, "Progress"]] = field(default_factory=list)

    @property
    def first(self) -> float:
        """Seconds from the begin of the copy to the first message."""
        return self.told[0][0] - self.steps["copy"][0]

    @property
    def gaps(self) -> list[float]:
        """Seconds between two messages, from the begin of the copy to the end of the verification."""
        times = [self.steps["copy"][0], *(at for at, _ in self.told), self.steps["verify"][1]]
        return [later - earlier for earlier, later in pairwise(times)]

    @property
    def is_monotone(self) -> bool:
        """Whether neither percent nor bytes ever ran backwards."""
        told = [progress for _, progress in self.told]
        return all(a.percent <= b.percent and a.done <= b.done for a, b in pairwise(told))

    @property
    def worst(self) -> float:
        """The worst error of the time left from a quarter on, as a share of the whole time."""
        whole = self.ended - self.began
        return max(
            1.0 if said.seconds_left is None else abs(said.seconds_left - (self.ended - at)) / whole
            for at, said in self.told
            if at >= self.began + whole / 4
        )

    def took(self, step: str) -> float:
        """Seconds of a step."""
        return self.steps[step][1] - self.steps[step][0]


@contextmanager
def recording(rate: int | None = None) -> Iterator[Record]:
    """Write down all that is told of a merge meanwhile; merges are held to `rate` bytes a second."""
    from chains.merges import journal, runner

    record = Record()

    def after(name: str, note: Callable[..., object]) -> Any:
        real = getattr(journal, name)

        def call(*arguments: Any) -> Any:
            answer = real(*arguments)
            note(time.monotonic(), *arguments)
            return answer

        return mock.patch.object(journal, name, call)

    real_work = runner._work

    def work(merge: "Merge") -> Any:
        found = real_work(merge)
        found.rate = rate
        found.measure()
        return found

    with (
        after("report", lambda at, _, progress: record.told.append((at, progress))),
        after("begin", lambda at, step: record.steps.setdefault(step.name, [at])),
        after("end", lambda at, step, _: record.steps[step.name].append(at)),
        mock.patch.object(runner, "_work", work),
    ):
        record.began = time.monotonic()
        yield record
        record.ended = time.monotonic()


def one(place: Path, source: Path, strategy: str, rate: int | None) -> None:
    """Merge a copy of the source's chain, cold, and print what was told."""
    folder = place / f"{strategy}-{time.monotonic_ns()}"
    shutil.copytree(source, folder, copy_function=images.sparse_copy)
    merge = real_merges.asked(folder, strategy)
    with recording(rate) as record:
        real_merges.carry_out(merge)
    shutil.rmtree(folder)
    whole, gaps = record.ended - record.began, record.gaps
    print(
        f"{strategy:8}{whole:6.2f} s (copy {record.took('copy'):.2f}, verify "
        f"{record.took('verify'):.2f}): first message after "
        f"{verdict(record.first, FIRST, at_least=False)} s; {1 / statistics.median(gaps):.1f} a second, "
        f"longest gap {verdict(max(gaps), GAP, at_least=False)} s; "
        f"{'monotone' if record.is_monotone else 'BACKWARDS'}; time left off by "
        f"{verdict(record.worst, ERROR, at_least=False)} of the whole at worst",
        flush=True,
    )
    if rate:
        # Copied: what is read or written, whichever is more. Compared: each byte is read twice.
        copied = max(merge.plan["bytes_read"], merge.plan["bytes_written"])
        for step, moved in (("copy", copied), ("verify", 2 * merge.plan["bytes_to_copy"])):
            print(f"         {step}: {moved / record.took(step) / rate:.2f} of the rate")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=1024, help="MiB that the joined layers show")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, help="MiB a second (default: no limit)")
    parser.add_argument("--dir", help="where the chains are built")
    options = parser.parse_args()
    print(machine())
    with images.workplace(options.dir) as place, real_merges.database(place / "var"):
        source = place / "source"
        source.mkdir()
        real_merges.chain(source, options.size)
        for _ in range(options.rounds):
            for strategy in real_merges.STRATEGIES:
                one(place, source, strategy, options.rate * MIB if options.rate else None)


if __name__ == "__main__":
    main()
