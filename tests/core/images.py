"""Small real images, made and read by the real tools: the oracle of these tests."""

import json
import os
import struct
import subprocess
from pathlib import Path

from chains.core.chain import read_chain
from chains.core.readmap import ReadMap, entries
from chains.core.reads import read_chain_maps, resolve

KIB, MIB, GIB = 1024, 1024**2, 1024**3


def tool(*argv: str | os.PathLike[str], cwd: Path, refusals: bool = False) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, timeout=60, check=False)
    assert refusals or done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout.decode(errors="replace")


def raw(path: Path, size: int, *commands: str) -> Path:
    path.touch()
    os.truncate(path, size)
    write(path, *commands, image_format="raw")
    return path


def qcow2(path: Path, size: int | None, *commands: str, backing: str = "", backing_format: str = "",
          **options: object) -> Path:  # fmt: skip
    argv = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if options:
        argv += ["-o", ",".join(f"{name}={value}" for name, value in options.items())]
    if backing:
        argv += ["-b", backing, "-F", backing_format or ("raw" if "raw" in backing else "qcow2")]
    tool(*argv, f"./{path.name}", *([str(size)] if size is not None else []), cwd=path.parent)
    write(path, *commands)
    return path


def write(path: Path, *commands: str, image_format: str = "qcow2", refusals: bool = False) -> None:
    """Run qemu-io commands; with `refusals` some may fail, as a second compressed write does."""
    if commands:
        parts = [part for command in commands for part in ("-c", command)]
        tool("qemu-io", "-f", image_format, "-d", "unmap", *parts, f"./{path.name}",
             cwd=path.parent, refusals=refusals)  # fmt: skip


def qemu_map(path: Path, image_format: str = "qcow2") -> list[tuple[int, ...]]:
    argv = ["qemu-img", "map", "--output=json", "-f", image_format, f"./{path.name}"]
    printed = tool(*argv, cwd=path.parent)
    return normal(json.loads(printed))


def normal(found: list[dict[str, int | bool]]) -> list[tuple[int, ...]]:
    """Join equal neighbours; `zero` counts only without `data`: else it tells of the file."""
    runs: list[tuple[int, ...]] = []
    for entry in found:
        start, length = int(entry["start"]), int(entry["length"])
        key = (entry["depth"], entry["present"], entry["data"], entry["zero"] or entry["data"])
        if runs and runs[-1][2:] == key and runs[-1][0] + runs[-1][1] == start:
            runs[-1] = (runs[-1][0], runs[-1][1] + length, *key)
        elif length:
            runs.append((start, length, *key))
    return runs


def read_map(path: Path) -> ReadMap:
    chain = read_chain(str(path.parent), path.name)
    assert chain.is_safe, chain.findings
    return resolve(read_chain_maps(chain))


def is_marked_corrupt(path: Path) -> bool:
    """Ask qemu-img whether QEMU has marked an image as corrupt."""
    argv = ["qemu-img", "info", "--output=json", "-f", "qcow2", f"./{path.name}"]
    facts = json.loads(tool(*argv, cwd=path.parent))
    return bool(facts["format-specific"]["data"].get("corrupt"))


def assert_like_qemu(path: Path, image_format: str = "qcow2") -> None:
    """Compare the reader with qemu-img map, run by run."""
    ours = normal(list(entries(read_map(path))))
    assert ours == qemu_map(path, image_format)


def patch(path: Path, offset: int, layout: str, *values: int | bytes) -> Path:
    """Overwrite fields of a file in place, as big-endian numbers."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(">" + layout, *values))
    return path
