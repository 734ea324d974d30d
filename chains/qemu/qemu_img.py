"""qemu-img, one function a verb: argv lists in, parsed answers and typed failures out.

Every image is named by its absolute path with its format given, so that neither a name nor content
can make the tool probe or take the name for a protocol (QEMU, docs/tools/qemu-img.rst).
"""

import re
from collections.abc import Sequence

from chains.qemu.command import CommandError, Limits, Result, run

OLDEST = (
    5,
    1,
)  # `-F` beside `-b` is asked for since then; `rebase` reads a shared chain once since 4.1
# As much of a tool's last words goes into a message.
LINE_LENGTH = 500


def backing_name(name: str) -> str:
    """A relative backing name as qemu reads it: one with a colon would be taken for a protocol."""
    return f"./{name}" if ":" in name.split("/", 1)[0] else name


def convert(source: str, source_format: str, target: str, target_format: str,
            options: Sequence[str] = (), *, by_reference: bool = False,
            rate: int | None = None) -> list[str]:  # fmt: skip
    """Copy what a guest reads through `source` into a new image without a backing file; `by_reference`
    where the file system can share the blocks. `rate` is the most bytes a second.
    """
    extra = ["-o", ",".join(options)] if options else []
    how = ["-C"] if by_reference else []
    return ["qemu-img", "convert", *how, *_held_to(rate), "-f", source_format, "-O", target_format,
            *extra, source, target]  # fmt: skip


def _held_to(rate: int | None) -> list[str]:
    return ["-r", str(rate)] if rate else []


def create_overlay(target: str, backing: str, backing_format: str, options: Sequence[str] = (), *,
                   quiet: bool = True) -> list[str]:  # fmt: skip
    """A new, empty qcow2 overlay of `backing`; without `quiet` it says what it has made."""
    extra = ["-o", ",".join(options)] if options else []
    return ["qemu-img", "create", *(["-q"] if quiet else []), "-f", "qcow2", *extra,
            "-b", backing, "-F", backing_format, target]  # fmt: skip


def create_raw(target: str, size: str) -> list[str]:
    """A new raw image of `size` (bytes, or with a suffix: `64M`), all of it a hole."""
    return ["qemu-img", "create", "-f", "raw", target, size]


def info(path: str, image_format: str) -> list[str]:
    """What an image's header says, and what it takes on disk, in words for people."""
    return ["qemu-img", "info", "-f", image_format, path]


def mapped(path: str, image_format: str) -> list[str]:
    """Which file of its chain holds each stretch of data, in words for people."""
    return ["qemu-img", "map", "-f", image_format, path]


def rebase(target: str, backing: str, backing_format: str | None, *, unsafe: bool) -> list[str]:
    """Put `target` over `backing`, over nothing with ""; `unsafe` rewrites the name only, else content
    is kept by copying.
    """
    recorded = ["-F", backing_format] if backing_format else []
    return ["qemu-img", "rebase", *(["-u"] if unsafe else []), "-f", "qcow2",
            "-b", backing, *recorded, target]  # fmt: skip


def commit(top: str, top_format: str, base: str, *, rate: int | None = None) -> list[str]:
    """Write what the layers from `top` down to above `base` hold into `base`; they stay as they are.

    `rate` is the most bytes a second.
    """
    return ["qemu-img", "commit", *_held_to(rate), "-d", "-f", top_format, "-b", base, top]


def compare(first: str, first_format: str, second: str, second_format: str) -> list[str]:
    """Read both images through their whole chains and compare every byte.

    Where one is longer, the rest of it must read as zeroes: the caller compares the sizes. (`-s` would
    also refuse images that are alike but allocated differently, which two layouts always are.)
    """
    return ["qemu-img", "compare", "-f", first_format, "-F", second_format,
            first, second]  # fmt: skip


def check(path: str) -> list[str]:
    """Look for leaked and overlapping clusters of a qcow2 volume; nothing is repaired.

    Exit codes: 0 sound, 2 corruptions, 3 leaks only, 1 the check could not be made.
    """
    return ["qemu-img", "check", "--output=json", "-f", "qcow2", path]


async def version() -> tuple[int, int]:
    """(major, minor) of the installed qemu-img; raises CommandError when there is none."""
    result = await run(["qemu-img", "--version"], cwd="/", timeout=10, limits=Limits())
    found = re.search(rb"version (\d+)\.(\d+)", result.stdout)
    if result.returncode != 0 or found is None:
        raise CommandError("qemu-img does not tell its version; reinstall qemu-utils")
    return int(found[1]), int(found[2])


def checked(result: Result) -> Result:
    """The result, when it is a success; raises CommandError with what the tool said."""
    if result.returncode == 0:
        return result
    verb = " ".join(result.argv[:2])
    if result.returncode < 0:
        text = f"{verb} was ended by signal {-result.returncode}"
    else:
        text = f"{verb} failed (exit code {result.returncode})"
    said = result.warnings
    if "lock" in said and "Is another process using" in said:
        text += ": the image is in use by another process; shut its VM down and try again"
    elif "No space left" in said:
        text += ": the storage domain is full; free some space and try again"
    elif said:
        text += f": {said.splitlines()[-1].removeprefix('qemu-img: ')[-LINE_LENGTH:]}"
    raise CommandError(text, returncode=result.returncode, stderr=said)
