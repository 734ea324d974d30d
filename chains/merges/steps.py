"""The five steps of a convert merge. Each may be run again from its start at any time."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable

from chains.core.chain import read_chain
from chains.core.errors import StrataError
from chains.core.forest import Forest
from chains.core.layer import read_layer
from chains.core.names import display
from chains.core.plans import concerned, plan_convert
from chains.core.progress import Meter, Throttle
from chains.core.reads import read_chain_maps
from chains.core.states import StepName
from chains.inventory.scan import read_forest
from chains.merges import journal
from chains.merges.situation import from_storage, users
from chains.merges.threads import aside, db
from chains.merges.work import Work, commands
from chains.models import MergeStep
from chains.qemu import qemu_img
from chains.qemu.command import LONG_WORK, Child, CommandError, clean, shown, start

TICK_SECONDS = 0.1


class StopError(StrataError):
    """The merge can not go on; the text says why and what to do."""


class CancelledByUserError(StrataError):
    """Somebody asked to cancel."""


async def preflight(work: Work, step: MergeStep) -> None:
    """Read every header again; raises StopError when the plan is not the one that was confirmed."""
    forest = await aside(read_forest, work.root)
    situation = await aside(from_storage, work.root, forest, read_only=work.read_only)
    draft = plan_convert(situation, work.plan.base, work.plan.top, None)
    if not draft.same_work(work.plan):
        raise StopError(
            "The chain has changed since this merge was planned: scan the domain and plan again."
        )
    chain = forest.chain(work.plan.top)
    if not chain.is_safe:
        raise StopError(
            "; ".join(refusal.text for refusal in draft.refusals if refusal.code == "unsafe")
            or "The chain is not safe to merge."
        )
    maps = await aside(read_chain_maps, chain)
    plan = plan_convert(situation, work.plan.base, work.plan.top, maps[: len(draft.layers)])
    if plan.refusals:
        raise StopError(" ".join(refusal.text for refusal in plan.refusals))
    await _refuse_users(work, concerned(situation, plan))
    work.fingerprints = _fingerprints(forest, plan.layers)
    work.plan = plan
    work.meter = Meter(2 * (plan.bytes_to_copy or 0), time.monotonic)
    await db(
        journal.keep_plan,
        work.pk,
        plan.to_json() | {"fingerprints": _packed(work.fingerprints)},
        2 * (plan.bytes_to_copy or 0),
    )


async def copy(work: Work, step: MergeStep) -> None:
    """Build the new volume aside; a half-built one of an earlier try is thrown away."""
    await aside(_unlink, work.temporary)
    formats = await aside(_formats, work)
    for argv in commands(work.root, work.plan, work.pk, formats).copy:
        await _run(work, step, argv, _written)
    await aside(_settle, work)


async def verify(work: Work, step: MergeStep) -> None:
    """Compare what a guest reads through top with what it will read through the new volume.

    The two sides read different clusters of different files, so the comparison can really fail.
    """
    new = await aside(
        read_layer, work.root, work.plan.temporary_path(work.pk), work.plan.new_format
    )
    if new.virtual_size != work.plan.virtual_size:
        raise StopError(
            "The new volume has another size than the old layers, so nothing was changed. Check the storage for errors, and try again."
        )
    formats = await aside(_formats, work)
    argv = commands(work.root, work.plan, work.pk, formats).verify
    try:
        await _run(work, step, argv, _compared)
    except CommandError as error:
        if error.returncode == 1:
            raise StopError(
                "The new volume does not read like the old layers, so nothing was changed. Check the storage for errors, and try again."
            ) from error
        raise


async def switch(work: Work, step: MergeStep) -> None:
    """Put the new volume in its place and every overlay onto it."""
    await aside(_check_unchanged, work)
    above = await aside(_above, work)
    await _refuse_users(work, above)
    todo = commands(work.root, work.plan, work.pk, dict.fromkeys(work.plan.layers, "qcow2"))
    await db(journal.note_command, step, shown(todo.place))
    await aside(_place, work)
    for path, argv in zip(work.plan.overlays, todo.switch, strict=True):
        layer = await aside(read_layer, work.root, path, "qcow2")
        if layer.backing_path != work.plan.new_path(work.pk):
            await _run(work, step, argv, None)
            layer = await aside(read_layer, work.root, path, "qcow2")
            if layer.backing_path != work.plan.new_path(work.pk):
                raise StopError(
                    f"{display(path)} does not name the new volume after its rebase; look at the command and try again."
                )
        await aside(_sync, work.at(path))


async def remove(work: Work, step: MergeStep) -> None:
    """Delete the old layers, after a fresh look that nothing reads through them any more."""
    forest = await aside(read_forest, work.root)
    new = work.plan.new_path(work.pk)
    if new not in forest.layers:
        raise StopError(f"{display(new)} is not there; the old layers are kept.")
    for path in (*work.plan.overlays, new):
        chain = await aside(read_chain, work.root, path)
        if not chain.is_safe or (path != new and chain.layers[1].path != new):
            raise StopError(
                f"The chain of {display(path)} is not as it should be; the old layers are kept."
            )
    removed = set(work.plan.removed)
    for path in removed:
        others = [o for o in forest.overlays.get(path, ()) if o not in removed]
        if others:
            raise StopError(
                f"{display(others[0])} has become an overlay of {display(path)}, which is kept. Remove it or give it another backing file, and resume."
            )
    await _refuse_users(work, [path for path in work.plan.removed if path in forest.layers])
    await aside(_check_unchanged, work)
    todo = commands(work.root, work.plan, work.pk, dict.fromkeys(work.plan.layers, "qcow2"))
    await db(journal.note_command, step, shown(todo.remove))
    await aside(_remove, work)


RUN: dict[StepName, Callable[[Work, MergeStep], Awaitable[None]]] = {
    StepName.PREFLIGHT: preflight,
    StepName.COPY: copy,
    StepName.VERIFY: verify,
    StepName.SWITCH: switch,
    StepName.REMOVE: remove,
}


def discard(work: Work) -> None:
    """Take the unfinished new volume away."""
    _unlink(work.temporary)


def _written(work: Work, child: Child, output: bytes) -> int | None:
    io = child.io_bytes()
    return min(io[1], work.plan.bytes_to_copy or 0) if io else None


def _compared(work: Work, child: Child, output: bytes) -> int | None:
    share = qemu_img.percent(output)
    copied = work.plan.bytes_to_copy or 0
    return None if share is None else copied + int(copied * share / 100)


async def _run(
    work: Work, step: MergeStep, argv: list[str],
    measure: Callable[[Work, Child, bytes], int | None] | None,
) -> None:  # fmt: skip
    """Run one tool to its end, reporting; raises CommandError, CancelledByUserError."""
    await db(journal.note_command, step, shown(argv))
    tail = bytearray()

    def keep(chunk: bytes) -> None:
        tail.extend(chunk)
        del tail[:-4096]

    child = work.child = await start(argv, cwd=work.root, limits=LONG_WORK, on_output=keep)
    ending = asyncio.ensure_future(child.wait())
    throttle, words = Throttle(8, time.monotonic), Throttle(1, time.monotonic)
    said = ""
    try:
        while not ending.done():
            await asyncio.wait([ending], timeout=TICK_SECONDS)
            if words.ready() and child.stderr_tail != said:
                said = child.stderr_tail
                await db(journal.note_stderr, step, said)
            done = measure(work, child, bytes(tail)) if measure else None
            if done is not None and throttle.ready():
                if await db(journal.report, work.pk, work.meter.update(done)):
                    raise CancelledByUserError("cancelled")
            elif throttle.ready() and measure and await db(journal.cancel_requested, work.pk):
                raise CancelledByUserError("cancelled")
        result = await ending
    finally:
        await child.stop()
        work.child = None
        ending.cancel()
    said = clean(result.stderr)
    if said:
        await db(journal.note_stderr, step, said)
    qemu_img.checked(result)


async def _refuse_users(work: Work, paths: list[str]) -> None:
    try:
        busy = await aside(users, work.root, paths)
    except OSError as error:
        raise StopError(
            f"A layer can not be opened ({error.strerror}): scan the domain and plan again."
        ) from error
    if busy:
        names = ", ".join(display(path) for path in busy)
        raise StopError(
            f"Open in another process (a running VM?): {names}. Shut it down, then try again."
        )


def _above(work: Work) -> list[str]:
    forest = read_forest(work.root)
    found: list[str] = []
    queue = [*work.plan.overlays]
    while queue:
        path = queue.pop()
        if path not in found:
            found.append(path)
            queue += forest.overlays.get(path, ())
    return found or [work.plan.top]


def _fingerprints(forest: Forest, paths: tuple[str, ...]) -> dict[str, str]:
    return {path: forest.layers[path].fingerprint.to_text() for path in paths}


def _packed(fingerprints: dict[str, str]) -> list[list[str]]:
    return [[os.fsencode(path).hex(), text] for path, text in fingerprints.items()]


def unpacked(pairs: list[list[str]]) -> dict[str, str]:
    """The fingerprints that the preflight kept."""
    return {os.fsdecode(bytes.fromhex(path)): text for path, text in pairs}


def _check_unchanged(work: Work) -> None:
    """Raises StopError when an old layer was written, replaced or touched since the preflight."""
    for path, before in work.fingerprints.items():
        if not os.path.lexists(work.at(path)) or (
            work.plan.active and path == work.plan.top and not os.path.lexists(work.temporary)
        ):
            continue  # removed, or replaced by the new volume, by an earlier run of this very step
        now = read_layer(work.root, path).fingerprint.to_text()
        if now != before:
            raise StopError(
                f"{display(path)} was changed by somebody else while it was merged; nothing more is done. Compare its content before you go on."
            )


def _formats(work: Work) -> dict[str, str]:
    chain = read_chain(work.root, work.plan.top)
    return {layer.path: layer.format for layer in chain.layers}


def _settle(work: Work) -> None:
    """Onto the platter, with the owner, mode and age of the volume that it stands for."""
    model = os.stat(work.at(work.plan.top if work.plan.active else work.plan.base))
    if os.geteuid() == 0:
        os.chown(work.temporary, model.st_uid, model.st_gid)
    os.chmod(work.temporary, model.st_mode & 0o7777)
    # What it shows was last written when top was: the age of the snapshot is not lost.
    written = os.stat(work.at(work.plan.top))
    os.utime(work.temporary, ns=(written.st_atime_ns, written.st_mtime_ns))
    _sync(work.temporary)


def _place(work: Work) -> None:
    """Give the new volume its name; an existing file is never overwritten, save the active layer."""
    if os.path.lexists(work.temporary):
        if work.plan.active:
            os.replace(work.temporary, work.new)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(work.temporary, work.new)
            if not os.path.samefile(work.temporary, work.new):
                raise StopError(
                    f"{display(work.new)} exists already and is not ours: rename it, and resume."
                )
            os.unlink(work.temporary)
    if not os.path.lexists(work.new):
        raise StopError(f"{display(work.new)} is gone; the old layers are kept.")
    _sync(os.path.dirname(work.new))


def _remove(work: Work) -> None:
    for path in work.plan.removed:
        _unlink(work.at(path))
    for directory in {os.path.dirname(work.at(path)) for path in work.plan.removed}:
        _sync(directory)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
