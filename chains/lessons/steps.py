"""The eleven steps of the lesson: which commands each of them runs, on which files.

The disk is small and sparse. What is drawn and asked about is its beginning: sixteen blocks, each as long
as one cluster of a qcow2 volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chains.qemu import qemu_img, qemu_io
from chains.qemu.qemu_io import Stretch

BASE, SNAP1, SNAP2, NEWBASE = "base.img", "snap1.img", "snap2.img", "newbase.img"
# All that the lesson ever makes or removes.
FILES = (BASE, SNAP1, SNAP2, NEWBASE)
FORMATS = {BASE: "raw", SNAP1: "qcow2", SNAP2: "qcow2", NEWBASE: "raw"}
DISK = "64M"
BLOCK = 64 * 1024
BLOCKS = 16


@dataclass(frozen=True)
class Step:
    """One step. `guest` is the file that the guest's disk is then attached to; the others are those
    that it makes, writes into and removes.
    """

    number: int
    commands: Sequence[Sequence[str]]
    guest: str
    makes: Sequence[str] = ()
    writes: Sequence[str] = ()
    removes: Sequence[str] = ()


def _blocks(pattern: int, *runs: tuple[int, int]) -> list[Stretch]:
    """Runs of blocks, (first, last), filled with a pattern."""
    return [Stretch(pattern, first * BLOCK, (last - first + 1) * BLOCK) for first, last in runs]


_BASE_BYTE, _SNAP1_BYTE, _SNAP2_BYTE = 0xB0, 0x51, 0x52

STEPS = (
    Step(1, [qemu_img.create_raw(BASE, DISK)], BASE, makes=[BASE]),
    Step(
        2,
        [
            qemu_io.write(BASE, "raw", _blocks(_BASE_BYTE, (0, 9))),
            qemu_img.info(BASE, "raw"),
        ],
        BASE, writes=[BASE],
    ),
    Step(3, [qemu_img.create_overlay(SNAP1, BASE, "raw", quiet=False)], SNAP1, makes=[SNAP1]),
    Step(
        4,
        [
            qemu_io.write(SNAP1, "qcow2", _blocks(_SNAP1_BYTE, (4, 7), (11, 11))),
            qemu_img.info(SNAP1, "qcow2"),
        ],
        SNAP1, writes=[SNAP1],
    ),
    Step(5, [qemu_img.create_overlay(SNAP2, SNAP1, "qcow2", quiet=False)], SNAP2, makes=[SNAP2]),
    Step(
        6,
        [
            qemu_io.write(SNAP2, "qcow2", _blocks(_SNAP2_BYTE, (6, 8), (13, 13))),
            qemu_img.info(SNAP2, "qcow2"),
            qemu_img.mapped(SNAP2, "qcow2"),
        ],
        SNAP2, writes=[SNAP2],
    ),
    Step(7, [qemu_img.convert(SNAP1, "qcow2", NEWBASE, "raw")], SNAP2, makes=[NEWBASE]),
    Step(
        8,
        [qemu_img.info(NEWBASE, "raw"), qemu_img.compare(SNAP1, "qcow2", NEWBASE, "raw")],
        SNAP2,
    ),
    Step(9, [qemu_img.rebase(SNAP2, NEWBASE, "raw", unsafe=False)], SNAP2, writes=[SNAP2]),
    Step(
        10,
        [
            qemu_img.info(SNAP2, "qcow2"),
            qemu_io.read(
                SNAP2, "qcow2",
                [
                    *_blocks(_BASE_BYTE, (1, 1)),
                    *_blocks(_SNAP1_BYTE, (5, 5)),
                    *_blocks(_SNAP2_BYTE, (6, 6)),
                ],
            ),
        ],
        SNAP2,
    ),
    Step(11, [["rm", BASE, SNAP1]], SNAP2, removes=[BASE, SNAP1]),
)  # fmt: skip
LAST = len(STEPS)
# What the merge of these steps joins: Strata's own plan of it is shown where it is made.
MERGED_BASE, MERGED_TOP = BASE, SNAP1
PLANNED_AFTER = 6


def step_of(number: int) -> Step:
    """The step of this number, 1 to LAST."""
    return STEPS[number - 1]
