"""Small real images, made by the real tools."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024**2
KIB64 = 65536


def qemu_img(*arguments: str | Path) -> str:
    """Run qemu-img; its failure is the test's."""
    argv = ["qemu-img", *map(str, arguments)]
    done = subprocess.run(argv, check=True, capture_output=True)
    return os.fsdecode(done.stdout)


def locked(path: Path, *arguments: str, image_format: str = "qcow2") -> Path:
    """An image encrypted by LUKS. On a busy machine qemu-img often fails to measure what a key costs."""
    prefix = "" if image_format == "luks" else "encrypt."
    options = ["format=luks"] if prefix else []
    options += ["key-secret=key", "iter-time=10"]
    argv = ["qemu-img", "create", "-q", "-f", image_format, "--object", "secret,id=key,data=words",
            "-o", ",".join(prefix + option for option in options), *arguments]  # fmt: skip
    for _ in range(50):
        done = subprocess.run([*argv[:-1], path.name, argv[-1]], cwd=path.parent, check=False)
        if done.returncode == 0:
            return path
    raise AssertionError("qemu-img made no key")


def write(path: Path, image_format: str, *commands: str) -> None:
    """Run qemu-io commands on an image."""
    argv = ["qemu-io", "-f", image_format]
    for command in commands:
        argv += ["-c", command]
    done = subprocess.run([*argv, str(path)], check=True, capture_output=True)
    assert b"error" not in done.stdout.lower() + done.stderr.lower(), done


def raw(path: Path, size: int, *commands: str) -> Path:
    """A raw root layer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    qemu_img("create", "-q", "-f", "raw", path, str(size))
    if commands:
        write(path, "raw", *commands)
    return path


def qcow2(path: Path, size: int, *commands: str, options: Sequence[str] = ()) -> Path:
    """A qcow2 root layer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    extra = ["-o", ",".join(options)] if options else []
    qemu_img("create", "-q", "-f", "qcow2", *extra, path, str(size))
    if commands:
        write(path, "qcow2", *commands)
    return path


def overlay(
    path: Path, backing: str, backing_format: str, *commands: str, size: int | None = None
) -> Path:
    """A qcow2 overlay; `backing` as its header shall record it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tail = [str(size)] if size is not None else []
    qemu_img("create", "-q", "-f", "qcow2", "-b", backing, "-F", backing_format, path, *tail)
    if commands:
        write(path, "qcow2", *commands)
    return path


def view(path: Path, image_format: str = "qcow2") -> str:
    """What a guest reads through an image, as a digest."""
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "view.raw"
        qemu_img("convert", "-f", image_format, "-O", "raw", path, target)
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(path: Path, image_format: str = "qcow2") -> Iterator[None]:
    """Somebody else has the image open for writing, as a running VM has."""
    argv = ["qemu-io", "-f", image_format, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"read 0 512\n")
        holder.stdin.flush()
        while b"read 512/512" not in holder.stdout.readline():
            pass
        yield
        holder.stdin.close()


def lesson(root: Path, size: int = 64 * MIB) -> tuple[Path, Path, Path]:
    """The classic chain: raw base, two snapshots, data in each, overlapping."""
    base = raw(root / "base.img", size, "write -P 1 0 8M", "write -P 1 20M 2M")
    snap1 = overlay(root / "snap1.img", "base.img", "raw", "write -P 2 4M 8M", "write -z 1M 1M")
    snap2 = overlay(
        root / "snap2.img", "snap1.img", "qcow2", "write -P 3 10M 4M", "write -P 3 30M 1M"
    )
    return base, snap1, snap2


def deep(root: Path, depth: int, size: int = 32 * MIB) -> list[Path]:
    """A qcow2 chain of `depth` layers, each with its own data over its neighbours'; root first."""
    layers = [qcow2(root / "layer0.qcow2", size, "write -P 100 0 4M")]
    for number in range(1, depth):
        layers.append(overlay(
            root / f"layer{number}.qcow2", layers[-1].name, "qcow2",
            f"write -P {number} {number}M 2M", f"write -z {number * 2 + 8}M 512k",
        ))  # fmt: skip
    return layers


@contextmanager
def mounted(where: Path, kind: str, size: int = 400 * MIB) -> Iterator[Path]:
    """A file system of its own, out of a file beside it; skips where root can not mount."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    store = where.parent / f"{where.name}.{kind}"
    with store.open("xb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{kind}", "-q", store], check=True, capture_output=True)
    with mounted_again(store, where):
        yield where


@contextmanager
def mounted_again(store: Path, where: Path) -> Iterator[None]:
    """A file system that was made before."""
    if subprocess.run(["mount", "-o", "loop", store, where], check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)
