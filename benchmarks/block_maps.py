"""Block maps: Strata's reader against `qemu-img map --output=json`, and against the bare reads.

    python -m benchmarks.block_maps [W1 … W6] [--rounds N] [--cold-rounds N] [--dir DIR]

Six chains are built (see images.py), proven by `qemu-img check`, and both readers must say the same
of every byte before anything is timed. Rounds are interleaved, figures are medians. The floor is a
bare pread of the same L2 tables. Memory is the peak of a fresh process beyond its imports.
"""

import argparse
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks import images
from benchmarks.measuring import interleaved, machine, run_tool, verdict
from chains.core.chain import Chain, read_chain
from chains.core.extents import ExtentMap
from chains.core.reads import ReadMap, entries, read_chain_maps, resolve

BATCH = 2 * images.MIB
WARM_FLOOR, COLD_FLOOR, MEMORY_MIB = 2.0, 1.1, 120


def native(top: Path) -> ReadMap:
    """Do what a worker does: read the headers, then the tables, and resolve them."""
    return resolve(tables(top))


def tables(top: Path) -> list[ExtentMap]:
    """Do all but the resolving."""
    return read_chain_maps(read_chain(str(top.parent), top.name))


def floor(top: Path) -> tuple[Callable[[], None], int]:
    """Return a bare read of all L2 tables of a chain, and how many bytes that is."""
    chain = read_chain(str(top.parent), top.name)
    plan = [
        (top.parent / layer.path, stretches(chain, number))
        for number, layer in enumerate(chain.layers)
    ]
    buffer = memoryview(mmap.mmap(-1, BATCH))  # page by page, the fastest that a read can be

    def read() -> None:
        for path, parts in plan:
            fd = os.open(path, os.O_RDONLY)
            for offset, length in parts:
                os.preadv(fd, [buffer[:length]], offset)
            os.close(fd)

    return read, sum(length for _, parts in plan for _, length in parts)


def stretches(chain: Chain, number: int) -> list[tuple[int, int]]:
    """Offset and length of reads of a layer's L2 tables: neighbours together, 2 MiB at most."""
    layer = chain.layers[number]
    assert layer.header is not None
    with open(Path(chain.root) / layer.path, "rb") as file:
        l1 = os.pread(file.fileno(), layer.header.l1_entries * 8, layer.header.l1_offset)
    found = np.frombuffer(l1, ">u8") & np.uint64(0x00FF_FFFF_FFFF_FE00)
    offsets = np.sort(found[found != 0].astype(np.int64))
    step = BATCH // images.CLUSTER
    parts = []
    for at in range(0, len(offsets), step):
        chunk = offsets[at : at + step]
        breaks = np.flatnonzero(np.diff(chunk) != images.CLUSTER) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(chunk)]):
            parts.append((int(chunk[first]), (last - first) * images.CLUSTER))
    return parts


def assert_same(top: Path) -> int:
    """Hold both readers against each other, run by run; returns the number of runs."""
    argv = ["qemu-img", "map", "--output=json", "-f", "qcow2", str(top)]
    printed = subprocess.run(argv, check=True, capture_output=True).stdout
    ours, theirs = normal(list(entries(native(top)))), normal(json.loads(printed))
    if ours != theirs:
        raise SystemExit(f"{top}: the two readers differ: nothing else matters")
    return len(ours)


def normal(found: list[dict[str, int | bool]]) -> list[tuple[int, ...]]:
    """Join equal neighbours; `zero` beside `data` tells of the file, not of the guest."""
    runs: list[tuple[int, ...]] = []
    for entry in found:
        key = (entry["depth"], entry["present"], entry["data"], entry["zero"] or entry["data"])
        if runs and runs[-1][2:] == key and runs[-1][0] + runs[-1][1] == entry["start"]:
            runs[-1] = (runs[-1][0], runs[-1][1] + int(entry["length"]), *key)
        else:
            runs.append((int(entry["start"]), int(entry["length"]), *key))
    return runs


def peak_mib() -> int:
    """Return the peak of this process' memory in MiB (proc(5), VmHWM: not inherited)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) // 1024


def memory(top: Path) -> int:
    """Return the peak of a fresh process that maps a chain, beyond its imports; MiB."""
    argv = [sys.executable, "-m", "benchmarks.block_maps", "--memory-of", str(top)]
    return int(subprocess.run(argv, check=True, capture_output=True).stdout)


def measure(workload: images.Workload, top: Path, rounds: int, cold_rounds: int) -> None:
    """Time one chain and print its lines."""
    layers = sorted(top.parent.iterdir())
    for layer in layers:
        images.check(layer)
    runs = assert_same(top)
    bare, size = floor(top)
    contenders: dict[str, Callable[[], object]] = {
        "map": partial(run_tool, ["qemu-img", "map", "--output=json", "-f", "qcow2", str(top)]),
        "floor": bare,
        "tables": partial(tables, top),
        "native": partial(native, top),
    }
    print(f"{workload.name}  {workload.words}: {size / images.MIB:.0f} MiB of L2, {runs:,} runs")
    warm = interleaved(contenders, rounds)
    print(
        f"    warm  qemu-img map {warm['map']:.3f} s, Strata {warm['native']:.4f} s: "
        f"{verdict(warm['map'] / warm['native'], workload.target)}; reading ÷ bare reads "
        f"{verdict(warm['tables'] / warm['floor'], WARM_FLOOR, at_least=False)}, "
        f"with resolving {warm['native'] / warm['floor']:.2f}"
    )
    cold = interleaved(contenders, cold_rounds, lambda: images.drop_caches(layers))
    print(
        f"    cold  qemu-img map {cold['map']:.3f} s, Strata {cold['native']:.4f} s: "
        f"{cold['map'] / cold['native']:.2f}; reading ÷ bare reads "
        f"{verdict(cold['tables'] / cold['floor'], COLD_FLOOR, at_least=False)}"
    )
    used = memory(top)
    print(
        f"    memory beyond the imports {verdict(used, MEMORY_MIB, at_least=False)} MiB", flush=True
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="W1 … W6 (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-rounds", type=int, default=5)
    parser.add_argument(
        "--dir", help="where the chains are built (default: the temporary directory)"
    )
    parser.add_argument("--memory-of", metavar="TOP", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        before = peak_mib()
        native(Path(options.memory_of))
        print(peak_mib() - before)
        return
    print(machine())
    for workload in images.workloads():
        if options.names and workload.name not in options.names:
            continue
        with images.workplace(options.dir) as folder:
            measure(workload, images.build(folder, workload), options.rounds, options.cold_rounds)


if __name__ == "__main__":
    main()
