"""The journal of a merge: every write is committed with the news of it."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, F
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from chains.core.progress import Progress
from chains.core.states import Kept, MergeState, StepName, StepState, may_go
from chains.inventory import news
from chains.merges import audited, notices
from chains.models import Merge, MergeStep


def load(pk: int) -> Merge:
    """The merge with its domain; raises Merge.DoesNotExist."""
    return Merge.objects.select_related("domain", "requested_by", "undoes").get(pk=pk)


def steps(pk: int) -> list[MergeStep]:
    """The steps in their order."""
    return list(MergeStep.objects.filter(merge_id=pk))


def _touch(pk: int, **values: Any) -> None:
    Merge.objects.filter(pk=pk).update(seq=F("seq") + 1, **values)
    news.publish("merge", pk, Merge.objects.values_list("seq", flat=True).get(pk=pk))


def set_state(pk: int, state: MergeState, message: str = "") -> None:
    """Move the merge on; an illegal transition is a bug and raises ValueError."""
    with transaction.atomic():
        merge = Merge.objects.select_for_update().get(pk=pk)
        if not may_go(MergeState(merge.state), state):
            raise ValueError(f"merge {pk} can not go from {merge.state} to {state}")
        values: dict[str, Any] = {"state": state.value, "message": message}
        if state == MergeState.RUNNING and merge.started_at is None:
            values["started_at"] = timezone.now()
        if state in {MergeState.SUCCEEDED, MergeState.CANCELLED, MergeState.FAILED}:
            values["finished_at"] = timezone.now()
        if state == MergeState.SUCCEEDED:
            values |= {"percent": 100.0, "bytes_done": merge.bytes_total}
        if state != MergeState.RUNNING:
            values |= {"seconds_left": None, "throughput": None}
        _touch(pk, **values)
        audited.merge_moved(merge, state, message)
        if state != merge.state:
            notices.write(pk)


def keep_plan(pk: int, plan: dict[str, Any], bytes_total: int, top_before: bytes) -> None:
    """Keep what the preflight found: the plan as it is carried out, the layers' fingerprints, and what
    top held.
    """
    with transaction.atomic():
        _touch(pk, plan=plan, bytes_total=bytes_total, top_before=top_before)


def keep_layers(pk: int, rows: list[list[str]]) -> None:
    """Keep what the layers are after a copy in place."""
    with transaction.atomic():
        plan = Merge.objects.select_for_update().values_list("plan", flat=True).get(pk=pk)
        _touch(pk, plan=plan | {"layers_before": rows})


def note_actual(pk: int, step: StepName, seconds: float, moved: int, **figures: object) -> None:
    """Add what a step really did; see outcome.py."""
    with transaction.atomic():
        actual = Merge.objects.select_for_update().values_list("actual", flat=True).get(pk=pk)
        by_step = {"seconds": round(seconds, 3), "moved": moved}
        for name, value in by_step.items():
            figures[name] = {**actual.get(name, {}), step.value: value}
        _touch(pk, actual={**actual, **figures})


def keep_views(pk: int, rows: list[list[str]]) -> None:
    """Keep what the guests' views are before anything is written."""
    with transaction.atomic():
        _touch(pk, views=rows)


def views(pk: int) -> list[list[str]]:
    """The same, read."""
    return list(Merge.objects.values_list("views", flat=True).get(pk=pk))


def say(pk: int, message: str) -> None:
    """Tell people something of a merge that runs."""
    with transaction.atomic():
        _touch(pk, message=message)


def keep(pk: int, rows: list[list[str]], size: int, joined: str, seconds: int) -> None:
    """Record what lies aside for an undo, from now on, by the database's clock."""
    with transaction.atomic():
        until = Now() + timedelta(seconds=seconds)
        _touch(
            pk,
            kept=Kept.KEPT.value,
            kept_files=rows,
            kept_bytes=size,
            joined=joined,
            kept_until=until,
        )


def set_kept(pk: int, kept: Kept) -> None:
    """Move what is kept aside on."""
    with transaction.atomic():
        _touch(pk, kept=kept.value)


def top_before(pk: int) -> bytes:
    """What top held before the merge, packed."""
    return bytes(Merge.objects.values_list("top_before", flat=True).get(pk=pk) or b"")


def begin(step: MergeStep) -> None:
    """Record a step before it runs, and where the bar stood: core.flow tells its share by that."""
    with transaction.atomic():
        merge = Merge.objects.select_for_update().only("actual", "bytes_done").get(pk=step.merge_id)
        begun = {**merge.actual.get("begun", {}), step.name: merge.bytes_done}
        MergeStep.objects.filter(pk=step.pk).update(
            state=StepState.RUNNING.value, started_at=timezone.now(), finished_at=None, stderr=""
        )
        _touch(step.merge_id, actual={**merge.actual, "begun": begun})


def end(step: MergeStep, state: StepState) -> None:
    """Record how a step ended."""
    with transaction.atomic():
        MergeStep.objects.filter(pk=step.pk).update(
            state=state.value, finished_at=timezone.now() if state != StepState.WAITING else None
        )
        _touch(step.merge_id)


def note_command(step: MergeStep, command: str) -> None:
    """Add a command to the step's list, before it runs."""
    with transaction.atomic():
        row = MergeStep.objects.select_for_update().get(pk=step.pk)
        lines = [line for line in row.command.split("\n") if line]
        if command not in lines:
            lines.append(command)
        row.command = "\n".join(lines)
        row.save(update_fields=["command"])
        _touch(step.merge_id)


def note_stderr(step: MergeStep, text: str) -> None:
    """Keep the tail of what the tool said."""
    with transaction.atomic():
        MergeStep.objects.filter(pk=step.pk).update(stderr=text[-4000:])
        _touch(step.merge_id)


def report(pk: int, progress: Progress) -> bool:
    """Write the bar, which never falls, whoever went on with it; returns whether somebody asked to cancel."""
    with transaction.atomic():
        _touch(
            pk,
            percent=Greatest(F("percent"), progress.percent),
            bytes_done=Greatest(F("bytes_done"), progress.done, output_field=BigIntegerField()),
            throughput=progress.throughput,
            seconds_left=progress.seconds_left,
        )
    return cancel_requested(pk)


def cancel_requested(pk: int) -> bool:
    """Whether somebody asked to cancel."""
    return Merge.objects.values_list("cancel_requested", flat=True).get(pk=pk)
