"""Headers: Strata's reader against `qemu-img info`, and against open + fstat + pread.

    python -m benchmarks.headers [--images N] [--sample N] [--rounds N] [--dir DIR]

A domain of chains one to ten layers deep is built. Strata reads all of it in one process; the tool is
run on a sample, for each run takes milliseconds, and its time an image is compared with ours.
"""

import argparse
import os
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import images
from benchmarks.measuring import interleaved, machine, run_tool, verdict
from chains.core.chain import read_chain, read_layer
from chains.core.paths import RealRoot, real_root
from chains.storage.directory import list_files

DEPTHS = range(1, 11)
ALONE, CHAINED, FLOOR = 600, 150, 2.5


def build(folder: Path, wanted: int) -> tuple[list[str], list[str]]:
    """Write at least `wanted` images; returns all names, and those of the active layers."""
    names: list[str] = []
    leaves: list[str] = []
    none = np.zeros(0, np.int64)
    while len(names) < wanted:
        for depth in DEPTHS:
            backing = ""
            for _ in range(depth):
                name = f"{len(names):06}.qcow2"
                images.write_layer(folder / name, 10 * images.GIB, none, backing=backing)
                names.append(name)
                backing = name
            leaves.append(backing)
    return names, leaves


def bare(folder: str, names: Sequence[str]) -> None:
    """Do the least that reading a header can cost."""
    for name in names:
        fd = os.open(f"{folder}/{name}", os.O_RDONLY)
        os.fstat(fd)
        os.pread(fd, 4096, 0)
        os.close(fd)


def listed(folder: str) -> RealRoot:
    """List the directory, as a scan does before it reads; that is not timed, nor is the floor's."""
    root = real_root(folder)
    root.listed(list_files(folder))
    return root


def layers(root: RealRoot, names: Sequence[str]) -> None:
    """Read every header, each for itself, as a scan does."""
    for name in names:
        if not read_layer(root, name).is_readable:
            raise SystemExit(f"{name} could not be read")


def chains(root: RealRoot, leaves: Sequence[str], expected: int) -> None:
    """Read every chain from its active layer down."""
    found = [read_chain(root, leaf) for leaf in leaves]
    if sum(len(chain.layers) for chain in found) != expected or not all(c.is_safe for c in found):
        raise SystemExit("the chains were not read to their ends")


def tool(folder: str, names: Sequence[str], *options: str) -> None:
    """Run qemu-img info on each."""
    for name in names:
        run_tool(
            ["qemu-img", "info", "-U", "--output=json", "-f", "qcow2", *options, f"{folder}/{name}"]
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--dir", help="where the images are built (default: the temporary directory)"
    )
    options = parser.parse_args()
    with images.workplace(options.dir) as place:
        names, leaves = build(place, options.images)
        folder, root = str(place), listed(str(place))
        luck = random.Random(1)
        alone = luck.sample(names, min(options.sample, len(names)))
        # One of each depth, again and again: the tool's time an image depends on the depth.
        several = leaves[: max(1, options.sample // sum(DEPTHS)) * len(DEPTHS)]
        in_chains = len(several) // len(DEPTHS) * sum(DEPTHS)
        print(f"{machine()}\n{len(names):,} images in {len(leaves):,} chains; the tool on a sample")
        times = interleaved(
            {
                "floor": partial(bare, folder, names),
                "layers": partial(layers, root, names),
                "chains": partial(chains, root, leaves, len(names)),
                "info": partial(tool, folder, alone),
                "info chain": partial(tool, folder, several, "--backing-chain"),
            },
            options.rounds,
        )
    each = {name: times[name] / len(names) for name in ("floor", "layers", "chains")}
    each |= {"info": times["info"] / len(alone), "info chain": times["info chain"] / in_chains}
    print("microseconds an image: " + ", ".join(f"{k} {v * 1e6:.1f}" for k, v in each.items()))
    print(f"headers, against qemu-img info: {verdict(each['info'] / each['layers'], ALONE)}")
    print(
        f"headers ÷ open, fstat, pread: {verdict(each['layers'] / each['floor'], FLOOR, at_least=False)}"
    )
    print(
        "chains, against qemu-img info --backing-chain: "
        f"{verdict(each['info chain'] / each['chains'], CHAINED)}"
    )


if __name__ == "__main__":
    main()
