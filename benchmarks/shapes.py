"""Chains of any shape for the benchmarks of merges, written by the real tools."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import django

from chains.core.chain import read_chain
from chains.core.extents import ExtentMap
from chains.core.forest import link
from chains.core.plans import Plan
from chains.core.reads import read_chain_maps
from chains.core.situation import PlanVolume, Situation

POLL_SECONDS = 0.002


def tool(*argv: str | Path, stdin: str | None = None) -> None:
    """Run a tool to its end."""
    argv_text = [str(part) for part in argv]
    subprocess.run(argv_text, check=True, capture_output=True, text=True, input=stdin)


@dataclass(frozen=True)
class Sheet:
    """One layer to write. `cluster` is bytes, None is raw; `size` is bytes, None is that of the layer
    below; `steps` are commands of qemu-io, in which `-P ?` takes a byte of the layer's own.
    """

    cluster: int | None
    size: int | None
    steps: tuple[str, ...]
    options: str = ""

    @property
    def format(self) -> str:
        """What qemu-img calls it."""
        return "raw" if self.cluster is None else "qcow2"


def build(folder: Path, sheets: Sequence[Sheet]) -> list[Path]:
    """Write a chain, root first. No two layers hold the same bytes: a rebase passes over such."""
    made: list[Path] = []
    for number, sheet in enumerate(sheets):
        path = folder / f"{number}.{sheet.format}"
        options = [] if sheet.cluster is None else ["-o", f"cluster_size={sheet.cluster}"]
        if sheet.options:
            options += ["-o", sheet.options]
        below = ["-b", made[-1].name, "-F", sheets[number - 1].format] if made else []
        size = [] if sheet.size is None else [str(sheet.size)]
        tool("qemu-img", "create", "-q", "-f", sheet.format, *options, *below, path, *size)
        steps = "\n".join(sheet.steps).replace("-P ?", f"-P {number + 1}")
        if steps:
            tool("qemu-io", "-f", sheet.format, "-d", "unmap", path, stdin=f"{steps}\n")
        made.append(path)
    return made


def copy_sparse(source: str, target: str) -> None:
    """Copy a file with the holes that it has, and no others: cp(1) would make some of zeroes."""
    reader, writer = os.open(source, os.O_RDONLY), os.open(target, os.O_WRONLY | os.O_CREAT)
    try:
        size, at = os.fstat(reader).st_size, 0
        os.ftruncate(writer, size)
        while at < size:
            try:
                start = os.lseek(reader, at, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                break
            at = os.lseek(reader, start, os.SEEK_HOLE)
            while start < at:
                start += os.copy_file_range(reader, writer, at - start, start, start)
    finally:
        os.close(reader)
        os.close(writer)


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


def copy_commands(folder: Path, plan: Plan) -> tuple[list[list[str]], list[list[str]]]:
    """The commands of a plan that copy, and, of a new volume, the one that verifies it."""
    # The plan's commands stand among the models, which need Django's settings, though no database.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from chains.merges.work import commands

    formats = {path: Path(path).suffix.removeprefix(".") for path in plan.layers}
    found = commands(str(folder), plan, 0, formats)
    return found.copy, found.verify


def carry_out(folder: Path, plan: Plan) -> tuple[int, int]:
    """Run a plan's copy; returns bytes written and bytes that the folder has grown at the peak."""
    before = on_disk(folder)
    copies, _ = copy_commands(folder, plan)
    with _Peak(lambda: on_disk(folder)) as peak:
        written = sum(written_by(argv, folder) for argv in copies)
        subprocess.run(["sync", "-f", str(folder)], check=True)
    return written, peak.most - before


class _Peak:
    """Looks again and again while something else goes on, and keeps the most that it saw."""

    def __init__(self, look: Callable[[], int]) -> None:
        self._look = look
        self._end = Event()
        self._thread = Thread(target=self._watch)
        self.most = 0

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.most = max(self.most, self._look())

    def _watch(self) -> None:
        while not self._end.wait(POLL_SECONDS):
            self.most = max(self.most, self._look())
