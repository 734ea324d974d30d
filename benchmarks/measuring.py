"""Interleaved rounds and medians: what every benchmark here measures with."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping

# A name, and what is timed under it.
Contenders = Mapping[str, Callable[[], object]]


def interleaved(
    contenders: Contenders, rounds: int, before: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """Time all contenders in turn, so that a noisy moment meets all of them; medians in seconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            before()
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def run_tool(argv: list[str]) -> int:
    """Run a tool and read all that it prints, as a caller would; returns the bytes printed."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        printed = 0
        while chunk := process.stdout.read(1 << 20):
            printed += len(chunk)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return printed


def verdict(reached: float, wanted: float, *, at_least: bool = True) -> str:
    """Say whether a ratio is where it should be."""
    good = reached >= wanted if at_least else reached <= wanted
    sign = "≥" if at_least else "≤"
    return f"{reached:.2f} ({sign} {wanted:g} {'reached' if good else 'MISSED'})"


def machine() -> str:
    """One line about the machine: a ratio is worth as much as the quiet that it was taken in."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    version = subprocess.run(["qemu-img", "--version"], capture_output=True, check=True)
    return f"{os.cpu_count()} processors, load {load}, {version.stdout.decode().splitlines()[0]}"
