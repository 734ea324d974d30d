"""The rows of a lesson, as a worker moves them on; each change and the news of it are one transaction."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chains.inventory import audit, news
from chains.merges.queue import own_name
from chains.models import Lesson, LessonState, LessonStep


def claim(pk: int) -> Lesson | None:
    """Begin what was asked for; None when that has been done, or taken back.

    From now on nothing is known of the files, until the step has ended: whatever ends it.
    """
    with transaction.atomic():
        lesson = Lesson.objects.select_for_update().filter(pk=pk).first()
        if lesson is None or lesson.state != LessonState.QUEUED:
            return None
        lesson.worker = own_name()
        step(lesson, state=LessonState.RUNNING, worker=lesson.worker, files={}, message="")
    return lesson


def step(lesson: Lesson, **values: Any) -> None:
    """Change the row and tell of it; what is not given of the object stays as it was read."""
    with transaction.atomic():
        rows = Lesson.objects.filter(pk=lesson.pk)
        rows.update(seq=F("seq") + 1, touched_at=timezone.now(), **values)
        news.publish("lesson", lesson.pk, rows.values_list("seq", flat=True)[0])


def succeed(
    lesson: Lesson, runs: list[dict[str, Any]], seen: dict[str, Any], files: dict[str, str]
) -> None:
    """The step that ran has ended well, and left these files; the clearing of the sandbox has left none."""
    with transaction.atomic():
        if _finish(lesson, state=LessonState.READY, done=lesson.step, files=files) and lesson.step:
            _note(lesson, runs, seen)


def fail(lesson: Lesson, message: str, runs: list[dict[str, Any]]) -> None:
    """A command of it has failed: what it said is kept."""
    with transaction.atomic():
        if _finish(lesson, state=LessonState.FAILED, message=message):
            _note(lesson, runs, {})


def end(lesson: Lesson, state: LessonState, message: str) -> None:
    """It has ended without having run to its end: the message says why, and what to do."""
    with transaction.atomic():
        _finish(lesson, state=state, message=message)


def _finish(lesson: Lesson, **values: Any) -> bool:
    """End the run of this worker; False when somebody has taken it for dead, and ended it before."""
    rows = Lesson.objects.select_for_update().filter(
        pk=lesson.pk, state=LessonState.RUNNING, worker=lesson.worker
    )
    if not rows.exists():
        return False
    step(lesson, worker="", **values)
    failed = values["state"] != LessonState.READY
    audit.record(
        None, audit.WORKER, "lesson" if lesson.step else "start lesson over", subject(lesson),
        audit.Result.FAILED if failed else audit.Result.SUCCEEDED, worker=lesson.worker,
        asked_by=lesson.user.get_username(), **({"message": values["message"]} if failed else {}),
    )  # fmt: skip
    return True


def subject(lesson: Lesson) -> str:
    """What a record about a lesson is about."""
    return f"step {lesson.step} of the lesson" if lesson.step else "the lesson"


def _note(lesson: Lesson, runs: list[dict[str, Any]], seen: dict[str, Any]) -> None:
    LessonStep.objects.update_or_create(
        lesson=lesson, number=lesson.step,
        defaults={"runs": runs, "seen": seen, "finished_at": timezone.now()},
    )  # fmt: skip
