"""What the steps of one merge share, and the exact commands that its plan comes to."""

import os
import posixpath
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from chains.core import progress
from chains.core.costs import Strategy
from chains.core.errors import StrataError
from chains.core.plans import Plan
from chains.core.states import StepName, Verification
from chains.models import Merge
from chains.qemu import qemu_img


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
    forbidden: str  # why nothing may be written in the domain; "": it may
    plan: Plan
    fingerprints: dict[str, str] = field(
        default_factory=dict
    )  # of the layers, as they were seen last
    formats: dict[str, str] = field(default_factory=dict)  # of the layers: never guessed later
    keep_seconds: int = 0
    verification: Verification = Verification.MOVED
    undoes: Merge | None = None  # the merge that this one takes back; `plan` is that merge's
    rate: int | None = None  # the most bytes a second
    expected: Mapping[str, float] | None = None  # seconds of copy and verify, where they are known
    seen: tuple[float, int] = (0.0, 0)  # percent and bytes done, as they have been shown already
    meter: progress.Meter = field(init=False)
    sign: object = None  # changes with every sign of life of the storage

    def __post_init__(self) -> None:
        self.measure()

    def measure(self) -> None:
        """Begin to measure the plan as it stands now."""
        self.meter = progress.of_merge(
            self.plan, time.monotonic, verified=self.verification is not Verification.NONE,
            rate=self.rate, expected=self.expected, seen=self.seen,
        )  # fmt: skip

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
        return self.replaces_top and not os.path.lexists(source)

    def aside(self, path: str) -> str:
        """Absolute path of where an old layer is kept for an undo."""
        return self.at(self.plan.aside(path, self.pk))

    @property
    def replaces_top(self) -> bool:
        """Whether another file takes the name of the active layer."""
        return self.plan.active and self.written != self.plan.top

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

    No command verifies a merge in place: Strata reads both sides itself (see witness.py). What is not
    qemu-img's work (ln, mv, cp, rm) is done by Strata's own system calls, and shown as a shell has it.
    """

    aside: list[list[str]]  # before the copy: what is written in place, kept as it is
    copy: list[list[str]]
    verify: list[list[str]]
    place: list[list[str]]
    switch: list[list[str]]
    remove: list[list[str]]

    def of_steps(self) -> dict[StepName, list[list[str]]]:
        """The commands of each step that has any, in their order."""
        found = {
            StepName.COPY: [*self.aside, *self.copy], StepName.VERIFY: self.verify,
            StepName.SWITCH: [*self.place, *self.switch], StepName.REMOVE: self.remove,
        }  # fmt: skip
        return {name: argvs for name, argvs in found.items() if argvs}

    @property
    def all(self) -> list[list[str]]:
        """Every command, in its order."""
        return [argv for argvs in self.of_steps().values() for argv in argvs]


def commands(
    root: str, plan: Plan, number: int | str, formats: dict[str, str], rate: int | None = None
) -> Commands:
    """What will be run; `formats` are the formats of the plan's layers and overlays, `rate` the most
    bytes a second (where the tool has no option for it, Strata holds it back).
    """
    temporary = os.path.join(root, plan.temporary_path(number))
    new = os.path.join(root, plan.new_path(number))
    top, base = os.path.join(root, plan.top), os.path.join(root, plan.base)
    verify, place = [], []
    if plan.strategy == Strategy.CONVERT:
        copy = _convert(root, plan, temporary, formats, rate)
        verify = [qemu_img.compare(top, formats[plan.top], temporary, plan.new_format)]
        place = [*_kept_top(root, plan, number), ["mv", temporary, new]]
    elif plan.strategy == Strategy.COMMIT:
        copy = [qemu_img.commit(top, formats[plan.top], base, rate=rate)]
        place = [*_kept_top(root, plan, number), ["mv", base, new]] if plan.active else []
    else:
        below = seen_from(posixpath.dirname(plan.top), plan.below) if plan.below else ""
        copy = [qemu_img.rebase(top, below, plan.below_format, unsafe=False)]
    switch = [
        qemu_img.rebase(
            os.path.join(root, path), seen_from(posixpath.dirname(path), plan.new_path(number)),
            plan.new_format, unsafe=True,
        )
        for path in plan.overlays
    ]  # fmt: skip
    return Commands(
        _copied_aside(root, plan, number), copy, verify, place, switch, _removed(root, plan, number)
    )


def _aside(root: str, plan: Plan, path: str, number: int | str) -> str:
    return os.path.join(root, plan.aside(path, number))


def _copied_aside(root: str, plan: Plan, number: int | str) -> list[list[str]]:
    if plan.copied_aside is None:
        return []
    old = os.path.join(root, plan.copied_aside)
    return [["cp", "--reflink=always", old, _aside(root, plan, plan.copied_aside, number)]]


def _kept_top(root: str, plan: Plan, number: int | str) -> list[list[str]]:
    """An active top is replaced under its own name; a second name keeps it."""
    if not (plan.keep_seconds and plan.active):
        return []
    return [["ln", os.path.join(root, plan.top), _aside(root, plan, plan.top, number)]]


def _removed(root: str, plan: Plan, number: int | str) -> list[list[str]]:
    files = [os.path.join(root, path) for path in plan.left_over]
    if plan.keep_seconds:
        kept = (_aside(root, plan, path, number) for path in plan.left_over)
        return [["mv", old, new] for old, new in zip(files, kept, strict=True)]
    return [["rm", *files]] if files else []


def _convert(
    root: str, plan: Plan, temporary: str, formats: dict[str, str], rate: int | None
) -> list[list[str]]:
    top, top_format = os.path.join(root, plan.top), formats[plan.top]
    options = [f"cluster_size={plan.cluster_size}"] if plan.cluster_size else []
    options += ["extended_l2=on"] if plan.extended_l2 and plan.new_format == "qcow2" else []
    if plan.below is None:
        return [qemu_img.convert(top, top_format, temporary, plan.new_format, options,
                                 by_reference=plan.by_reference, rate=rate)]  # fmt: skip
    # convert -B would skip what only base…top−1 hold: it asks top alone what is allocated. An empty
    # overlay of top, rebased onto what lies below base, takes exactly the difference.
    assert plan.below_format is not None
    return [
        qemu_img.create_overlay(temporary, seen_from(plan.directory, plan.top), top_format, options),
        qemu_img.rebase(temporary, seen_from(plan.directory, plan.below), plan.below_format, unsafe=False),
    ]  # fmt: skip
