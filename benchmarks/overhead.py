"""What Strata's journal, progress and care cost: a merge by its runner against the bare tools.

    python -m benchmarks.overhead [--size MIB] [--rounds N] [--dir DIR]

The named peer are the very commands that the plan shows (qemu-img, mv, rm), one after the other in a
shell's way, with a sync of the written file system before the switch; at the same low priority, which on
a busy machine is a wish of Strata's and no cost of it. Both begin cold and take turns; Strata's merges are
not verified. Beside the whole merge the copy alone is compared, which is what grows
with the size.
"""

import argparse
import shutil
import subprocess
import time
from pathlib import Path
from statistics import median

from benchmarks import images, real_merges
from benchmarks.measuring import machine, run_tool, verdict
from benchmarks.progress import recording

WANTED = 1.05
LOW = ["ionice", "-c", "3", "nice", "-n", "19"]


def bare(folder: Path, strategy: str) -> tuple[float, float]:
    """Carry the plan's commands out as they are; seconds of all and of copy and sync."""
    from chains.core.plans import Plan
    from chains.merges.work import commands

    merge = real_merges.asked(folder, strategy)
    plan = Plan.from_json(merge.plan)
    todo = commands(str(folder), plan, merge.pk, dict.fromkeys(plan.layers, "qcow2"))
    start = time.perf_counter()
    for argv in todo.copy:
        run_tool([*LOW, *argv])
    subprocess.run(["sync", "-f", str(folder)], check=True)
    copied = time.perf_counter() - start
    for argv in [*todo.place, *todo.switch, *todo.remove]:
        run_tool([*LOW, *argv])
    return time.perf_counter() - start, copied


def strata(folder: Path, strategy: str) -> tuple[float, float]:
    """Let the runner carry the same plan out; seconds of all and of its copy step."""
    merge = real_merges.asked(folder, strategy)
    merge.verification = "none"
    merge.save()
    with recording() as record:
        real_merges.carry_out(merge)
    return record.ended - record.began, record.took("copy")


def race(place: Path, source: Path, strategy: str, rounds: int) -> None:
    """Time both in turn, and print the ratios of the medians."""
    contenders = {"bare": bare, "strata": strata}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in sorted(contenders, reverse=bool(number % 2)):
            folder = place / f"{strategy}-{name}-{number}"
            shutil.copytree(source, folder, copy_function=images.sparse_copy)
            taken[name].append(contenders[name](folder, strategy))
            shutil.rmtree(folder)
    for which, what in enumerate(("whole merge", "copy")):
        times = {name: median(pair[which] for pair in pairs) for name, pairs in taken.items()}
        print(
            f"{strategy:8} {what:11} bare {times['bare']:.2f} s, Strata {times['strata']:.2f} s: "
            f"{verdict(times['strata'] / times['bare'], WANTED, at_least=False)}",
            flush=True,
        )
    print("         bare", " ".join(f"{all_:.2f}" for all_, _ in taken["bare"]),
          "Strata", " ".join(f"{all_:.2f}" for all_, _ in taken["strata"]), flush=True)  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=1024, help="MiB that the joined layers show")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", help="where the chains are built")
    options = parser.parse_args()
    print(machine())
    with images.workplace(options.dir) as place, real_merges.database(place / "var"):
        source = place / "source"
        source.mkdir()
        real_merges.chain(source, options.size)
        for strategy in real_merges.STRATEGIES:
            race(place, source, strategy, options.rounds)


if __name__ == "__main__":
    main()
