"""Merges: what a plan predicts against what qemu-img does, and the recommended way against the classic.

    python -m benchmarks.merges [--chains N] [--rounds N] [--size MIB] [--dir DIR]

First N random chains are merged by every strategy that is legal, and the bytes that the tool writes
and the space that the domain then needs more are held against the plan. Then the article's chain (base
4 GiB, snapshot 1 GiB, overlay 0.5 GiB, or a part of it with --size) is merged the classic way (convert
and rebase -u) and the recommended way with its verification, cold, and both are timed.
"""

import argparse
import os
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import images
from benchmarks.measuring import machine, verdict
from chains.core.chain import read_chain
from chains.core.costs import Strategy, costs
from chains.core.extents import ExtentMap
from chains.core.forest import link
from chains.core.plans import Plan, plan_merge, plans
from chains.core.reads import read_chain_maps
from chains.core.situation import PlanVolume, Situation
from chains.merges import witness
from chains.merges.work import commands

MIB = images.MIB


def tool(*argv: str | Path) -> None:
    """Run a tool to its end."""
    subprocess.run([str(part) for part in argv], check=True, capture_output=True)


def make(folder: Path, luck: random.Random, size: int) -> list[Path]:
    """Write a random chain of four layers; root first."""
    layers: list[Path] = []
    for number in range(4):
        path = folder / f"{number}.qcow2"
        cluster = luck.choice([4096, 65536, 65536, 1048576])
        options = ["-o", f"cluster_size={cluster}"]
        below = ["-b", layers[-1].name, "-F", "qcow2"] if layers else []
        tool("qemu-img", "create", "-q", "-f", "qcow2", *options, *below, path, str(size))
        writes: list[str] = []
        for _ in range(luck.randint(3, 12)):
            length = luck.choice([64, 256, 1024, 4096]) * 1024
            start = luck.randrange(0, size - length) // 65536 * 65536
            # No two layers hold the same bytes: a rebase does not copy what is the same below.
            kind = luck.choice([f"-P {number + 1}", f"-P {number + 1}", "-z"])
            writes += ["-c", f"write {kind} {start} {length}"]
        tool("qemu-io", "-f", "qcow2", *writes, path)
        layers.append(path)
    return layers


def situation(folder: Path, leaf: str) -> tuple[Situation, list[ExtentMap]]:
    """The domain as the planner sees it, and the maps of the chain below a leaf."""
    chain = read_chain(str(folder), leaf)
    forest = link({layer.path: layer for layer in chain.layers}, str(folder))
    volumes = {
        path: PlanVolume(
            path, layer.format, layer.virtual_size, layer.on_disk, layer.cluster_size,
            layer.backing_path, backing_format=layer.backing_format,
        )
        for path, layer in forest.layers.items()
    }  # fmt: skip
    return Situation(volumes, {}, shutil.disk_usage(folder).free), read_chain_maps(chain)


def on_disk(folder: Path) -> int:
    """Bytes that the file system gave to all files of a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def written_by(argv: Sequence[str], folder: Path) -> int:
    """Run a tool and return the bytes that its system calls wrote (proc(5): io, of the ended child)."""
    child = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    facts = dict(
        line.split(": ") for line in Path(f"/proc/{child.pid}/io").read_text().splitlines()
    )
    if child.wait() != 0:
        assert child.stderr is not None
        raise SystemExit(child.stderr.read().decode())
    return int(facts["wchar"])


def carry_out(folder: Path, plan: Plan) -> tuple[int, int]:
    """Run a plan's copy; returns bytes written and bytes that the folder has grown."""
    before = on_disk(folder)
    formats = dict.fromkeys(plan.layers, "qcow2")
    if plan.layers[-1].endswith(".raw"):
        formats[plan.base] = "raw"
    written = sum(written_by(argv, folder) for argv in commands(str(folder), plan, 0, formats).copy)
    subprocess.run(["sync", "-f", str(folder)], check=True)
    return written, on_disk(folder) - before


def predictions(place: Path, count: int) -> None:
    """Hold the plans of random chains against what the tools did."""
    luck = random.Random(1)
    errors: dict[Strategy, list[tuple[int, int]]] = {strategy: [] for strategy in Strategy}
    for _ in range(count):
        source = place / "source"
        source.mkdir()
        layers = make(source, luck, 256 * MIB)
        for strategy in Strategy:
            folder = place / strategy.value
            shutil.copytree(source, folder, copy_function=_sparse)
            found, maps = situation(folder, layers[2].name)
            plan = plan_merge(found, layers[1].name, layers[2].name, maps, strategy)
            written, grown = carry_out(folder, plan)
            expected = costs(maps, 2, strategy, plan.cluster_size)
            errors[strategy].append((written - expected.written, grown - expected.extra))
            shutil.rmtree(folder)
        shutil.rmtree(source)
    for strategy, found_errors in errors.items():
        wrote = [error for error, _ in found_errors]
        grew = [error for _, error in found_errors]
        print(
            f"{strategy:8} {count} chains: written − predicted {min(wrote) / MIB:+.2f} … "
            f"{max(wrote) / MIB:+.2f} MiB; grown − room asked for {min(grew) / MIB:+.2f} … "
            f"{max(grew) / MIB:+.2f} MiB"
        )


def _sparse(source: str, target: str) -> None:
    tool("cp", "--sparse=always", "--preserve=timestamps", source, target)


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
    start = time.perf_counter()
    carry_out(folder, plan)
    witness.compare(str(folder), plan, maps[1], lambda done, total: None)
    return time.perf_counter() - start, plan


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
    parser.add_argument("--chains", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=4096, help="MiB of base (default 4096)")
    parser.add_argument(
        "--dir", help="where the chains are built (default: the temporary directory)"
    )
    options = parser.parse_args()
    print(machine())
    with images.workplace(options.dir) as place:
        predictions(place, options.chains)
        race(place, options.size, options.rounds)


if __name__ == "__main__":
    main()
