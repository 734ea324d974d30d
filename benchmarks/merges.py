"""Merges: what a plan predicts, which plan is recommended, and that one against the classic way.

    python -m benchmarks.merges [--chains N] [--rounds N] [--size MIB] [--dir DIR]

First the predictions (see predictions.py), then the recommendations (see recommendations.py; each is
a command of its own, too). Then the article's chain (base 4 GiB, snapshot 1 GiB, overlay 0.5 GiB, or a
part of it with --size) is merged the classic way (convert and rebase -u) and the recommended way with
its verification, cold, and both are timed.
"""

import argparse
import shutil
import subprocess
import time
from pathlib import Path
from statistics import median

from benchmarks import images, predictions, recommendations
from benchmarks.measuring import machine, verdict
from benchmarks.recommendations import carry_out
from benchmarks.shapes import situation, tool
from chains.core.plans import Plan, plans

MIB = images.MIB


def article(folder: Path, mib: int) -> None:
    """Write the article's chain: base, snapshot of a quarter, overlay of an eighth of it."""
    tool("qemu-img", "create", "-q", "-f", "qcow2", folder / "base.qcow2", f"{mib * 5 // 2}M")
    for at in range(0, mib, 512):
        write = f"write -P 1 {at}M {min(512, mib - at)}M"
        tool("qemu-io", "-f", "qcow2", "-c", write, folder / "base.qcow2")
    for name, below, start, length in (
        ("s1", "base", mib // 2, mib // 4), ("s2", "s1", mib, mib // 8),
    ):  # fmt: skip
        path = folder / f"{name}.qcow2"
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", f"{below}.qcow2", "-F", "qcow2", path)
        tool("qemu-io", "-f", "qcow2", "-c", f"write -P 2 {start}M {length}M", path)


def classic(folder: Path) -> float:
    """convert base + s1 into a new base, rebase s2 onto it, delete the old files; seconds."""
    start = time.perf_counter()
    tool(
        "qemu-img",
        "convert",
        "-f",
        "qcow2",
        "-O",
        "qcow2",
        folder / "s1.qcow2",
        folder / "new.qcow2",
    )
    tool(
        "qemu-img",
        "rebase",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "new.qcow2",
        "-F",
        "qcow2",
        folder / "s2.qcow2",
    )
    subprocess.run(["sync", "-f", str(folder)], check=True)
    for name in ("base", "s1"):
        (folder / f"{name}.qcow2").unlink()
    return time.perf_counter() - start


def recommended(folder: Path) -> tuple[float, Plan]:
    """The recommended plan's copy and its verification; seconds."""
    found, maps = situation(folder, "s2.qcow2")
    plan = plans(found, "base.qcow2", "s1.qcow2", maps[1:])[0]
    return carry_out(folder, plan, maps[1:]), plan


def race(place: Path, mib: int, rounds: int) -> None:
    """Time both ways on the article's chain, in turn, with cold caches."""
    times: dict[str, list[float]] = {"classic": [], "recommended": []}
    plan = None
    for _ in range(rounds):
        for name, taken in times.items():
            folder = place / name
            folder.mkdir()
            article(folder, mib)
            images.drop_caches(sorted(folder.iterdir()))
            if name == "classic":
                taken.append(classic(folder))
            else:
                seconds, plan = recommended(folder)
                taken.append(seconds)
            shutil.rmtree(folder)
    assert plan is not None
    copies = mib * MIB  # what base and s1 show together
    ratio = median(times["recommended"]) / median(times["classic"])
    part = (plan.bytes_to_copy or 0) / copies
    print(
        f"article's chain, base {mib} MiB: classic {median(times['classic']):.2f} s, {plan.strategy} "
        f"with verification {median(times['recommended']):.2f} s: time "
        f"{verdict(ratio, 1 / 3, at_least=False)}, bytes {verdict(part, 1 / 4, at_least=False)}"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chains", type=int, default=60, help="for the predictions (default 60)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=4096, help="MiB of base (default 4096)")
    parser.add_argument("--dir", help="where the chains are built (default: a temporary directory)")
    options = parser.parse_args()
    print(machine())
    with images.workplace(options.dir) as place:
        predictions.report(
            [m for n in range(options.chains) for m in predictions.measure(place, n)]
        )
        recommendations.report(place, options.rounds, "")
        race(place, options.size, options.rounds)


if __name__ == "__main__":
    main()
