"""qemu-io, which reads and writes an image as a guest would: argv lists, as chains/qemu/qemu_img.py."""

from collections.abc import Sequence
from typing import NamedTuple


class Stretch(NamedTuple):
    """`length` bytes at `offset` of a disk, all of them the byte `pattern`."""

    pattern: int
    offset: int
    length: int


def write(path: str, image_format: str, stretches: Sequence[Stretch]) -> list[str]:
    """Write these stretches into an image, one after the other."""
    return ["qemu-io", "-f", image_format, *_commands("write", stretches), path]


def read(path: str, image_format: str, stretches: Sequence[Stretch]) -> list[str]:
    """Read these stretches through an image's chain, without writing to it; exit code 1 where one
    holds anything else than its pattern.
    """
    return ["qemu-io", "-r", "-f", image_format, *_commands("read", stretches), path]


def _commands(verb: str, stretches: Sequence[Stretch]) -> list[str]:
    found = []
    for pattern, offset, length in stretches:
        found += ["-c", f"{verb} -P {pattern:#04x} {_size(offset)} {_size(length)}"]
    return found


def _size(count: int) -> str:
    """A number of bytes as qemu-io reads it."""
    whole, rest = divmod(count, 1024)
    return str(count) if rest or not whole else f"{whole}k"
