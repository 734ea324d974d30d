"""Chains for the tests of batches: each in a directory of its own."""

import os
import time
from pathlib import Path

from tests import images

SIZE = 8 * images.MIB


def aged(path: Path, hours: float) -> None:
    """As if the layer had been written last so many hours ago."""
    then = time.time() - hours * 3600
    os.utime(path, (then, then))


def line(root: Path, name: str, depth: int, ages: list[float] | None = None) -> list[Path]:
    """A chain of its own directory, root first, each layer with data of its own."""
    layers = [images.qcow2(root / name / "l0.qcow2", SIZE, "write -P 9 0 1M")]
    for number in range(1, depth):
        layers.append(images.overlay(
            root / name / f"l{number}.qcow2", layers[-1].name, "qcow2",
            f"write -P {number} {number * 256}k 512k",
        ))  # fmt: skip
    for path, hours in zip(layers, ages or [], strict=False):
        aged(path, hours)
    return layers


def clones(root: Path, count: int) -> list[Path]:
    """Disks over one template, each with a snapshot of its own; their active layers."""
    images.qcow2(root / "clones" / "tmpl.qcow2", SIZE, "write -P 7 0 2M")
    found = []
    for number in range(count):
        images.overlay(
            root / "clones" / f"c{number}.qcow2", "tmpl.qcow2", "qcow2", "write -P 1 0 64k"
        )
        found.append(images.overlay(
            root / "clones" / f"d{number}.qcow2", f"c{number}.qcow2", "qcow2", "write -P 2 1M 64k"
        ))  # fmt: skip
    return found
