"""What the steps of one merge share, and the exact commands that its plan comes to."""

import os
import posixpath
import time
from dataclasses import dataclass, field

from chains.core.plans import Plan
from chains.core.progress import Meter
from chains.qemu import qemu_img
from chains.qemu.command import Child


@dataclass
class Work:
    """What the steps of one merge share."""

    pk: int
    root: str
    read_only: bool
    plan: Plan
    fingerprints: dict[str, str]
    meter: Meter = field(init=False)
    child: Child | None = None

    def __post_init__(self) -> None:
        self.meter = Meter(2 * (self.plan.bytes_to_copy or 0), time.monotonic)

    def at(self, path: str) -> str:
        """The absolute path of a volume."""
        return os.path.join(self.root, path)

    @property
    def temporary(self) -> str:
        """Absolute path of the new volume while it is built."""
        return self.at(self.plan.temporary_path(self.pk))

    @property
    def new(self) -> str:
        """Absolute path of the new volume."""
        return self.at(self.plan.new_path(self.pk))


def seen_from(directory: str, path: str) -> str:
    """How a header in `directory` names the volume `path`, both relative to the root."""
    return qemu_img.backing_name(posixpath.relpath(path, directory or "."))


@dataclass(frozen=True)
class Commands:
    """The exact commands of a plan, as the plan page shows them and the runner runs them."""

    copy: list[list[str]]
    verify: list[str]
    place: list[str]
    switch: list[list[str]]
    remove: list[str]


def commands(root: str, plan: Plan, number: int | str, formats: dict[str, str]) -> Commands:
    """What will be run; `formats` are the formats of the plan's layers and overlays."""
    top, top_format = os.path.join(root, plan.top), formats[plan.top]
    temporary = os.path.join(root, plan.temporary_path(number))
    options = [f"cluster_size={plan.cluster_size}"] if plan.cluster_size else []
    if plan.below is None:
        copy = [qemu_img.convert(top, top_format, temporary, plan.new_format, options)]
    else:
        # convert -B would skip what only base…top−1 hold: it asks top alone what is allocated. An
        # empty overlay of top, rebased onto what lies below base, takes exactly the difference.
        assert plan.below_format is not None
        copy = [
            qemu_img.create_overlay(temporary, seen_from(plan.directory, plan.top), top_format, options),
            qemu_img.rebase(temporary, seen_from(plan.directory, plan.below), plan.below_format, unsafe=False),
        ]  # fmt: skip
    verify = qemu_img.compare(top, top_format, temporary, plan.new_format)
    place = ["mv", temporary, os.path.join(root, plan.new_path(number))]
    remove = ["rm", *[os.path.join(root, path) for path in plan.removed]]
    switch = [
        qemu_img.rebase(
            os.path.join(root, path), seen_from(posixpath.dirname(path), plan.new_path(number)),
            plan.new_format, unsafe=True,
        )
        for path in plan.overlays
    ]  # fmt: skip
    return Commands(copy, verify, place, switch, remove)
