"""The five steps of a merge. Each may be run again from its start at any time."""

import os
import posixpath
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from chains.core.chain import read_chain
from chains.core.costs import Strategy
from chains.core.forest import Forest
from chains.core.layer import Fingerprint, Layer, read_layer
from chains.core.names import display
from chains.core.plans import plan_merge
from chains.core.progress import PhaseName
from chains.core.reads import read_chain_maps
from chains.core.refusals import concerned
from chains.core.states import StepName, StepState, Verification
from chains.inventory.scan import read_forest
from chains.merges import files, journal, kept, outcome, running, views
from chains.merges.outcome import Account
from chains.merges.situation import from_storage, users
from chains.merges.threads import aside, db
from chains.merges.work import DamageError, StopError, Work, commands, seen_from
from chains.models import MergeStep
from chains.qemu import qemu_img
from chains.qemu.command import CommandError, shown


async def preflight(work: Work, step: MergeStep) -> None:
    """Read every header again; raises StopError when the plan is not the one that was confirmed."""
    forest = await aside(read_forest, work.root)
    situation = await aside(
        from_storage, work.root, forest, forbidden=work.forbidden, keep_seconds=work.keep_seconds
    )
    strategy = Strategy(work.plan.strategy)
    draft = plan_merge(situation, work.plan.base, work.plan.top, None, strategy)
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
    plan = plan_merge(situation, work.plan.base, work.plan.top, maps, strategy)
    if plan.refusals:
        raise StopError(" ".join(refusal.text for refusal in plan.refusals))
    await refuse_users(work, concerned(situation, plan))
    work.fingerprints = {path: forest.layers[path].fingerprint.to_text() for path in plan.layers}
    work.formats = {path: forest.layers[path].format for path in plan.layers}
    work.plan = plan = replace(plan, token=secrets.token_hex(4) if plan.keep_seconds else "")
    work.measure()
    await db(
        journal.keep_plan,
        work.pk,
        plan.to_json() | {"layers_before": packed(work)},
        work.meter.total,
        maps[0].to_bytes(),
    )
    if work.verification is Verification.CONTENT:
        leaves = views.leaves(forest, await aside(above, work, forest))
        await db(journal.keep_views, work.pk, views.to_rows(await running.digests(work, leaves)))


async def copy(work: Work, step: MergeStep) -> None:
    """Copy the data: into a new volume aside, or in place into the one layer that the plan names.

    A half-built new volume of an earlier try is thrown away; a half-done copy in place is done again
    from its start, which is safe as long as the other layers are as they were.
    """
    todo = commands(work.root, work.plan, work.pk, work.formats, work.rate).copy
    if work.written is None:
        await aside(files.unlink, work.temporary)
        account = await aside(Account, work, step)
        ios = [(await running.tool(work, step, argv, running.COPYING)).io for argv in todo]
        await running.told(work, PhaseName.SETTLE, files.settle, work)
        await db(account.close, ios)
        return
    await aside(_check_unchanged, work, work.written)
    await refuse_users(work, await aside(above, work))
    if work.plan.copied_aside is not None:
        old = work.plan.copied_aside
        await aside(kept.copy_aside, work.at(old), work.aside(old))
    await _tie_back(work, step)
    account = await aside(Account, work, step)
    ios = [(await running.tool(work, step, argv, running.COPYING)).io for argv in todo]
    await running.told(work, PhaseName.SETTLE, files.settle_in_place, work, work.written)
    await db(account.close, ios)
    layer = await aside(read_layer, work.root, work.written)
    _check_same_file(work, work.written, layer)
    work.fingerprints[work.written] = layer.fingerprint.to_text()
    await db(journal.keep_layers, work.pk, packed(work))


def _check_same_file(work: Work, path: str, layer: Layer) -> None:
    """What was written in place is the file that was read before it; raises StopError."""
    before = Fingerprint.from_text(work.fingerprints[path])
    if layer.fingerprint[:2] != before[:2]:
        raise StopError(
            f"{display(path)} was replaced by another file while it was merged; nothing more is done. Compare its content before you go on."
        )


async def _tie_back(work: Work, step: MergeStep) -> None:
    """Put top back over the layer that it lay over, when a rebase was broken off at its very end.

    qemu-img rewrites the header before it has stored the last of its tables: killed in between, top
    would no longer read what only the old layers hold. They are whole, so the old name in the header
    makes every byte right again, and the rebase can be done once more.
    """
    if work.plan.strategy != Strategy.REBASE:
        return
    old = work.plan.layers[1]
    await tie(work, step, work.plan.top, old, work.formats[old])


async def tie(work: Work, step: MergeStep, overlay: str, backing: str, image_format: str) -> None:
    """Make an overlay's header name this backing file, if it does not yet; raises StopError."""
    for tried in (False, True):
        layer = await aside(read_layer, work.root, overlay, "qcow2")
        if _names(layer, backing):
            await aside(files.sync, work.at(overlay))
            return
        if not tried:
            if not await aside(os.path.lexists, work.at(backing)):
                raise StopError(
                    f"{display(backing)} is gone: give it its name back, and try again."
                )
            name = seen_from(os.path.dirname(overlay), backing)
            argv = qemu_img.rebase(work.at(overlay), name, image_format, unsafe=True)
            await running.tool(work, step, argv, None)
            await aside(files.keep_age, work.at(overlay), layer.fingerprint.mtime_ns)
    raise StopError(
        f"{display(overlay)} does not name {display(backing)} after its rebase; look at the command and try again."
    )


def _names(layer: Layer, backing: str) -> bool:
    """Whether a header names this backing file, be that there or not."""
    if layer.backing_path is not None or layer.backing_file is None:
        return layer.backing_path == backing
    folder = posixpath.dirname(layer.path)
    return posixpath.normpath(posixpath.join(folder, layer.backing_file)) == backing


async def verify(work: Work, step: MergeStep) -> None:
    """Prove that what a guest reads through top has not changed, by a comparison that could fail.

    A new volume is compared with the old layers by qemu-img: the two sides read different clusters of
    different files. For a merge in place see witness.py.
    """
    await aside(_check_unchanged, work)
    await aside(_check_size, work)
    if work.verification is not Verification.NONE:
        began, moved = time.monotonic(), outcome.compared(work.plan)
        await (_compare(work, step) if work.written is None else running.witnessed(work))
        taken = time.monotonic() - began
        await db(journal.note_actual, work.pk, StepName.VERIFY, taken, moved)
    # Here the merge can still be taken back; once the switch has begun it can not.
    await aside(_check_unchanged, work)


async def _compare(work: Work, step: MergeStep) -> None:
    (argv,) = commands(work.root, work.plan, work.pk, work.formats, work.rate).verify
    try:
        await running.compared(work, step, argv)
    except CommandError as error:
        if error.returncode == 1:
            raise StopError(
                "The new volume does not read like the old layers, so nothing was changed. Check the storage for errors, and try again."
            ) from error
        raise


def _check_size(work: Work) -> None:
    """The least that must be so: the joined volume can be read, and is as large as the disk."""
    path = work.written or work.plan.temporary_path(work.pk)
    layer = read_layer(work.root, path, work.plan.new_format)
    if (
        any(finding.severity == "critical" for finding in layer.findings)
        or layer.virtual_size < work.plan.virtual_size
        or (work.written is None and layer.virtual_size != work.plan.virtual_size)
    ):
        raise StopError(
            "The joined volume has another size than the disk, or can not be read, so nothing is removed. Check the storage for errors, and try again."
        )


async def switch(work: Work, step: MergeStep) -> None:
    """Put the new volume in its place and every overlay onto it."""
    await aside(_check_unchanged, work)
    await refuse_users(work, await aside(above, work))
    todo = commands(work.root, work.plan, work.pk, work.formats)
    for argv in todo.place:
        await db(journal.note_command, step, shown(argv))
    if work.replaces_top and work.plan.keep_seconds and not work.is_placed:
        await aside(kept.second_name, work.at(work.plan.top), work.aside(work.plan.top))
    if todo.place:
        await aside(files.place, work)
    for path in work.plan.overlays:
        await tie(work, step, path, work.plan.new_path(work.pk), work.plan.new_format)


async def remove(work: Work, step: MergeStep) -> None:
    """Delete the old layers, after a fresh look that nothing reads through them any more."""
    forest = await aside(read_forest, work.root)
    new = work.plan.new_path(work.pk)
    if new not in forest.layers:
        raise StopError(f"{display(new)} is not there; the old layers are kept.")
    for path in (*work.plan.overlays, new):
        chain = await aside(read_chain, work.root, path)
        below = chain.layers[1].path if len(chain.layers) > 1 else None
        wanted = work.plan.below if path == new else new
        if not chain.is_safe or below != wanted:
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
    await refuse_users(work, [path for path in work.plan.removed if path in forest.layers])
    await aside(_check_unchanged, work, removing=True)
    await _check_views(work)
    for argv in commands(work.root, work.plan, work.pk, work.formats).remove:
        await db(journal.note_command, step, shown(argv))
    if not await aside(_is_kept, work):
        await aside(files.remove, work)
        return
    for path in work.plan.left_over:
        await aside(kept.move_aside, work.at(path), work.aside(path))
    found = await aside(kept.found, work.root, work.plan, work.pk)
    size = await aside(kept.size, work.root, work.plan, found)
    joined = await aside(kept.state, work.new)
    rows = [file.to_json() for file in found]
    await db(journal.keep, work.pk, rows, size, joined, work.plan.keep_seconds)


async def _check_views(work: Work) -> None:
    """Where it was asked for: every guest reads just what it read before."""
    before = views.from_rows(await db(journal.views, work.pk))
    now = await running.digests(work, list(before)) if before else {}
    if changed := [path for path in before if now[path] != before[path]]:
        raise DamageError(
            f"What a guest reads through {display(changed[0])} is not what it was: the old layers are kept, nothing is removed. Do not start the guest; compare the layers, and tie {display(changed[0])} back to them"
        )


def _is_kept(work: Work) -> bool:
    """Whether the old layers are kept: not without the old top, where storage has no second names."""
    complete = not work.replaces_top or os.path.lexists(work.aside(work.plan.top))
    return bool(work.plan.keep_seconds) and complete


RUN: dict[StepName, Callable[[Work, MergeStep], Awaitable[None]]] = {
    StepName.PREFLIGHT: preflight,
    StepName.COPY: copy,
    StepName.VERIFY: verify,
    StepName.SWITCH: switch,
    StepName.REMOVE: remove,
}


async def take_back(work: Work, step: MergeStep) -> None:
    """Take back what was begun, before any overlay was switched; raises StrataError, OSError.

    The unfinished new volume goes; what was written in place comes back from its copy, where there is
    one, or stays, and top hangs on the old layers again.
    """
    await aside(files.unlink, work.temporary)
    old = work.plan.copied_aside
    if old is not None and await aside(os.path.lexists, work.aside(old)):
        await refuse_users(work, await aside(above, work))
        _check_same_file(work, old, await aside(read_layer, work.root, old))
        await aside(kept.put_back, work.aside(old), work.at(old))
    else:
        await _tie_back(work, step)


def left_behind(work: Work, steps: list[MergeStep]) -> str:
    """What a merge leaves that is broken off before its overlays are switched: one sentence."""
    untouched = all(s.state == StepState.WAITING for s in steps if s.name == StepName.COPY)
    if work.written is None or untouched or work.plan.copied_aside is not None:
        return "The chain is as it was."
    if work.plan.strategy == Strategy.COMMIT:
        return (
            f"Every guest reads as before, but {display(work.plan.base)} has taken some of the data"
            f" in: it, and every layer up to {display(work.plan.top)}, is no restore point any more. The"
            " same merge, asked for again, finishes it."
        )
    return (
        f"Every guest reads as before; {display(work.plan.top)} may have grown. The same merge, asked"
        " for again, finishes it."
    )


async def refuse_users(work: Work, paths: list[str]) -> None:
    """Raises StopError when another process has one of the volumes open, or it is gone."""
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


def above(work: Work, forest: Forest | None = None, path: str | None = None) -> list[str]:
    """Top (or another volume) and every volume that reads through it or the joined volume."""
    forest = forest or read_forest(work.root)
    first = path or work.plan.top
    found: list[str] = []
    queue = [*forest.overlays.get(first, ()), *(() if path else work.plan.overlays)]
    while queue:
        other = queue.pop()
        if other not in found:
            found.append(other)
            queue += forest.overlays.get(other, ())
    return [first, *found]


def packed(work: Work) -> list[list[str]]:
    """The layers as they were seen last: name, fingerprint, format."""
    return [
        [os.fsencode(path).hex(), text, work.formats[path]]
        for path, text in work.fingerprints.items()
    ]


def unpack(work: Work, rows: list[list[str]]) -> None:
    """Take what `packed` made."""
    for name, text, image_format in rows:
        path = os.fsdecode(bytes.fromhex(name))
        work.fingerprints[path], work.formats[path] = text, image_format


def _check_unchanged(work: Work, but: str | None = None, *, removing: bool = False) -> None:
    """Raises StopError when an old layer was written, replaced, touched or renamed since it was seen last.

    `but` is the layer that a copy in place may have begun to write already.
    """
    for path, before in work.fingerprints.items():
        if path == but or (path in (work.plan.top, work.plan.base) and work.is_placed):
            continue  # or the joined volume stands there now
        if not os.path.lexists(work.at(path)):
            if removing:
                continue  # by an earlier run of this very step
            raise StopError(f"{display(path)} is gone: give it its name back, and try again.")
        if kept.is_at(work.aside(path), kept.identity(work.at(path))):
            continue  # our own second name of it has changed its inode's time
        now = read_layer(work.root, path).fingerprint.to_text()
        if now != before:
            raise StopError(
                f"{display(path)} was changed by somebody else while it was merged; nothing more is done. Compare its content before you go on."
            )
