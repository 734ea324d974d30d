"""What the steps of one merge share, and the exact commands that its plan comes to."""

import os
import posixpath
import time
from dataclasses import dataclass, field

from chains.core.costs import Strategy
from chains.core.errors import StrataError
from chains.core.plans import Plan
from chains.core.progress import Meter
from chains.qemu import qemu_img
from chains.qemu.command import Child


class StopError(StrataError):
    """The merge can not go on; the text says why and what to do."""


class CancelledByUserError(StrataError):
    """Somebody asked to cancel."""


class DamageError(StopError):
    """A layer that guests read is not what it was: nobody but a person can go on."""


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
    def written(self) -> str | None:
        """The old layer that the merge writes in place; None when it makes a new volume."""
        if self.plan.strategy == Strategy.CONVERT:
            return None
        return self.plan.base if self.plan.strategy == Strategy.COMMIT else self.plan.top

    @property
    def is_placed(self) -> bool:
        """Whether the joined volume has taken the place of the active layer already."""
        source = self.temporary if self.written is None else self.at(self.plan.base)
        return self.plan.active and self.written != self.plan.top and not os.path.lexists(source)

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
    """The exact commands of a plan, as the plan page shows them and the runner runs them.

    No command verifies a merge in place: Strata reads both sides itself (see witness.py).
    """

    copy: list[list[str]]
    verify: list[str]
    place: list[str]
    switch: list[list[str]]
    remove: list[str]

    @property
    def all(self) -> list[list[str]]:
        """Every command, in its order."""
        found = [*self.copy, self.verify, self.place, *self.switch, self.remove]
        return [argv for argv in found if argv]


def commands(root: str, plan: Plan, number: int | str, formats: dict[str, str]) -> Commands:
    """What will be run; `formats` are the formats of the plan's layers and overlays."""
    temporary = os.path.join(root, plan.temporary_path(number))
    new = os.path.join(root, plan.new_path(number))
    verify, place = [], []
    if plan.strategy == Strategy.CONVERT:
        copy = _convert(root, plan, temporary, formats)
        verify = qemu_img.compare(
            os.path.join(root, plan.top), formats[plan.top], temporary, plan.new_format
        )
        place = ["mv", temporary, new]
    elif plan.strategy == Strategy.COMMIT:
        top, base = os.path.join(root, plan.top), os.path.join(root, plan.base)
        copy = [qemu_img.commit(top, formats[plan.top], base)]
        place = ["mv", base, new] if plan.active else []
    else:
        below = seen_from(posixpath.dirname(plan.top), plan.below) if plan.below else ""
        top = os.path.join(root, plan.top)
        copy = [qemu_img.rebase(top, below, plan.below_format, unsafe=False)]
    files = [os.path.join(root, path) for path in plan.removed]
    switch = [
        qemu_img.rebase(
            os.path.join(root, path), seen_from(posixpath.dirname(path), plan.new_path(number)),
            plan.new_format, unsafe=True,
        )
        for path in plan.overlays
    ]  # fmt: skip
    return Commands(copy, verify, place, switch, ["rm", *files] if files else [])


def _convert(root: str, plan: Plan, temporary: str, formats: dict[str, str]) -> list[list[str]]:
    top, top_format = os.path.join(root, plan.top), formats[plan.top]
    options = [f"cluster_size={plan.cluster_size}"] if plan.cluster_size else []
    if plan.below is None:
        return [qemu_img.convert(top, top_format, temporary, plan.new_format, options)]
    # convert -B would skip what only base…top−1 hold: it asks top alone what is allocated. An empty
    # overlay of top, rebased onto what lies below base, takes exactly the difference.
    assert plan.below_format is not None
    return [
        qemu_img.create_overlay(temporary, seen_from(plan.directory, plan.top), top_format, options),
        qemu_img.rebase(temporary, seen_from(plan.directory, plan.below), plan.below_format, unsafe=False),
    ]  # fmt: skip
