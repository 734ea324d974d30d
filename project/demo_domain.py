"""The demo's storage domain: small, real images that show all that Strata has to say."""

import asyncio
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chains.qemu.command import CommandError, run

GIB = 1024
DAY = 86_400.0
TIMEOUT = 120.0

Run = tuple[int, int]
"""Offset and length in MiB."""


class DemoImageError(Exception):
    """An image of the demo could not be made; the text is qemu-img's reason."""


@dataclass(frozen=True)
class Image:
    """One file: what it is, what it lies over, and what a guest has written into it."""

    name: str
    size: int  # MiB
    age: float | datetime  # in days, or the moment itself
    data: tuple[Run, ...] = ()
    zeros: tuple[Run, ...] = ()
    format: str = "qcow2"
    backing: str = ""
    backing_format: str = "qcow2"
    unopened: bool = False  # the backing file is recorded only: nothing looks whether it exists


def _lesson() -> list[Image]:
    """A raw disk and two snapshots. Drawn as 32 blocks, one is 32 MiB."""
    return [
        Image(
            "lesson/base.img",
            GIB,
            240,
            ((0, 48), (128, 32), (256, 16), (416, 32), (640, 32), (928, 16)),
            format="raw",
        ),
        Image(
            "lesson/snap1.img",
            GIB,
            95,
            ((32, 16), (160, 32), (416, 16), (736, 32), (928, 16)),
            backing="base.img",
            backing_format="raw",
        ),
        Image(
            "lesson/snap2.img",
            GIB,
            3,
            ((128, 16), (176, 16), (512, 32), (736, 16)),
            zeros=((256, 16),),
            backing="snap1.img",
        ),
    ]


def _clones() -> list[Image]:
    """One template and four machines that share it."""
    template = Image(
        "templates/debian12.qcow2", 10 * GIB, 310, ((0, 24), (1024, 16), (4096, 16), (8192, 8))
    )
    clones = [
        Image(
            f"clones/web{number}.qcow2",
            10 * GIB,
            number * 0.7,
            ((8 * number, 4), (1024 + 2 * number, 2), (2048 * number, 2 * number)),
            backing="../templates/debian12.qcow2",
        )
        for number in range(1, 5)
    ]
    return [template, *clones]


def _database() -> list[Image]:
    """A snapshot a month and never one removed: every read walks down eight layers."""
    months = [datetime(2026, month, 1, 2, 30, tzinfo=UTC) for month in range(2, 9)]
    images = [
        Image("db/root.qcow2", 4 * GIB, datetime(2026, 1, 5, 14, tzinfo=UTC), ((0, 32), (1024, 16)))
    ]
    below = "root.qcow2"
    for number, moment in enumerate(months):
        name = f"{moment:%Y-%m-%d}.qcow2"
        images.append(
            Image(
                f"db/{name}",
                4 * GIB,
                moment,
                # The journal at the front is written again each month, the tables grow.
                ((0, 4), (2 * number, 4), (1024 + 16 * number, 8)),
                zeros=((1024, 4),) if number == 5 else (),
                backing=below,
            )
        )
        below = name
    return images


def _fork() -> list[Image]:
    """A machine, and a preview of its older snapshot beside it."""
    return [
        Image("fork/base.qcow2", 2 * GIB, 130, ((0, 16), (512, 16), (1536, 8))),
        Image("fork/snap1.qcow2", 2 * GIB, 60, ((8, 8), (768, 16)), backing="base.qcow2"),
        Image("fork/active.qcow2", 2 * GIB, 0.2, ((512, 4), (1024, 8)), backing="snap1.qcow2"),
        Image("fork/preview.qcow2", 2 * GIB, 1, ((0, 2), (1792, 4)), backing="base.qcow2"),
    ]


def _broken() -> list[Image]:
    """A chain that lost its root, and one whose header points out of the domain."""
    return [
        Image("broken/orphan.qcow2", GIB, 45, backing="gone.qcow2", unopened=True),
        Image(
            "broken/escape.qcow2",
            GIB,
            12,
            backing="../../outside-secret.img",
            backing_format="raw",
            unopened=True,
        ),
    ]


def images() -> list[Image]:
    """Every image of the domain, each after the one that it lies over."""
    return [*_lesson(), *_clones(), *_database(), *_fork(), *_broken()]


def build(target: Path) -> bool:
    """Makes the domain unless it is there. Whether it had to be made. Raises DemoImageError.

    It is made under another name and renamed when it is complete: cut off, it is made again.
    """
    if target.exists():
        return False
    draft = target.with_name(target.name + ".new")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    asyncio.run(_fill(draft))
    # Last of all: to lie under a new overlay, or to be written, would make an image look younger.
    now = time.time()
    for image in images():
        age = image.age
        moment = age.timestamp() if isinstance(age, datetime) else now - age * DAY
        os.utime(draft / image.name, (moment, moment))
    draft.rename(target)
    return True


async def _fill(root: Path) -> None:
    for number, image in enumerate(images()):
        await _create(root, image)
        await _write(root, image, pattern=number + 1)


async def _create(root: Path, image: Image) -> None:
    (root / image.name).parent.mkdir(exist_ok=True)
    argv = ["qemu-img", "create", "-q", "-f", image.format]
    if image.backing:
        argv += ["-b", image.backing, "-F", image.backing_format]
    if image.unopened:
        argv.append("-u")
    await _must([*argv, image.name, f"{image.size}M"], root, image.name)


async def _write(root: Path, image: Image, pattern: int) -> None:
    argv = ["qemu-io", "-f", image.format]
    for offset, length in image.data:
        argv += ["-c", f"write -q -P {pattern} {offset}M {length}M"]
    for offset, length in image.zeros:
        argv += ["-c", f"write -q -z {offset}M {length}M"]
    if image.data or image.zeros:
        await _must([*argv, image.name], root, image.name)


async def _must(argv: list[str], root: Path, name: str) -> None:
    try:
        done = await run(argv, cwd=str(root), timeout=TIMEOUT)
    except CommandError as error:
        raise DemoImageError(str(error)) from None
    # qemu-io reports a failed write on stdout and may end with 0 all the same.
    said = (done.stderr + done.stdout).decode(errors="replace").strip()
    if done.returncode or said:
        reason = said.splitlines()[0] if said else f"exit code {done.returncode}"
        raise DemoImageError(f"the demo's image {name} could not be made: {reason}")
