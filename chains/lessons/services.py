"""Asking for a step of the lesson, and for a new beginning: the one way in for pages."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from chains.core.errors import StrataError
from chains.inventory import audit, selectors
from chains.inventory.asking import check
from chains.inventory.jobs import LESSON, enqueue
from chains.lessons import journal
from chains.lessons.steps import LAST
from chains.models import Lesson, LessonState, User, WorkerHost
from chains.permissions import Action

BUSY = (LessonState.QUEUED, LessonState.RUNNING)


def request_step(user: User, number: int, origin: str) -> Lesson:
    """Have a worker run a step: one that waits, runs or has been run already is the same request.

    Raises NotAllowedError, and StrataError for a step whose turn has not come.
    """
    check(user, Action.LEARN)
    with transaction.atomic():
        lesson = _locked(user)
        if lesson.state in BUSY or number <= lesson.done:
            return lesson
        if number > LAST or number != lesson.done + 1:
            raise StrataError(f"Run step {lesson.done + 1} first: each step goes on from the last.")
        _ask(lesson, number, origin, "lesson")
    return lesson


def start_over(user: User, origin: str) -> Lesson:
    """Forget the steps and have a worker clear the sandbox; raises NotAllowedError, and StrataError
    while a step runs.
    """
    check(user, Action.LEARN)
    with transaction.atomic():
        lesson = _locked(user)
        if lesson.state == LessonState.RUNNING:
            raise StrataError("A step runs now: start over when it has ended.")
        lesson.steps.all().delete()
        lesson.storage_host = host_for(lesson)
        journal.step(lesson, done=0, storage_host=lesson.storage_host)
        _ask(lesson, 0, origin, "start lesson over")
    return lesson


def host_for(lesson: Lesson | None) -> str:
    """The storage host whose workers run a lesson that begins: one that has a worker, if any has."""
    wanted = lesson.storage_host if lesson is not None else settings.STORAGE_HOST
    if selectors.worker_alive(wanted):
        return wanted
    since = timezone.now() - selectors.WORKER_SILENCE
    alive = WorkerHost.objects.filter(alive_at__gte=since).order_by("storage_host")
    return alive.values_list("storage_host", flat=True).first() or wanted


def _locked(user: User) -> Lesson:
    """The lesson of this person, which nobody else changes meanwhile."""
    rows = Lesson.objects.select_for_update()
    defaults = {"storage_host": host_for(None)}
    return rows.get_or_create(user=user, defaults=defaults)[0]


def _ask(lesson: Lesson, number: int, origin: str, action: str) -> None:
    lesson.state, lesson.step = LessonState.QUEUED, number
    journal.step(lesson, state=lesson.state, step=number, message="")
    enqueue(LESSON, lesson.storage_host, lesson.pk)
    audit.record(
        lesson.user, origin, action, journal.subject(lesson), audit.Result.ASKED,
        storage_host=lesson.storage_host,
    )  # fmt: skip
