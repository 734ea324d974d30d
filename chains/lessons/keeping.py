"""What workers do for lessons beside running them: see to those left half-way, and clear old sandboxes."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from chains.inventory.jobs import LESSON, enqueue
from chains.inventory.selectors import WORKER_SILENCE
from chains.lessons import journal, running
from chains.lessons.sandbox import swept
from chains.merges.queue import own_name
from chains.models import Lesson, LessonState, WorkerHost

STALE = timedelta(days=1)
# A job that a worker took with it when it died is asked for again.
WAITS = timedelta(seconds=30)
STOPPED = (
    "The worker was stopped in the midst of this step. Run it again: the files are put back as they were"
    " before it."
)


def see_to(storage_host: str) -> None:
    """End what died with its worker, and ask again for what waits without a job."""
    for lesson in Lesson.objects.filter(storage_host=storage_host, state=LessonState.RUNNING):
        if not _is_run(lesson):
            journal.end(lesson, LessonState.FAILED, STOPPED)
    waiting = Lesson.objects.filter(
        storage_host=storage_host, state=LessonState.QUEUED, touched_at__lt=timezone.now() - WAITS
    )
    for lesson in waiting:
        enqueue(LESSON, storage_host, lesson.pk)


def _is_run(lesson: Lesson) -> bool:
    if lesson.worker == own_name():
        return running.running[lesson.pk] > 0
    since = timezone.now() - WORKER_SILENCE
    return WorkerHost.objects.filter(process=lesson.worker, alive_at__gte=since).exists()


def sweep(storage_host: str) -> list[str]:
    """Remove the sandboxes of this machine that nobody has used for a day; returns their names.

    What their steps have shown stays: whoever goes on gets the files anew.
    """
    used = Lesson.objects.filter(
        storage_host=storage_host, touched_at__gte=timezone.now() - STALE
    ) | Lesson.objects.filter(state__in=[LessonState.QUEUED, LessonState.RUNNING])
    gone = swept(str(settings.LESSON_DIR), {str(pk) for pk in used.values_list("pk", flat=True)})
    Lesson.objects.filter(
        pk__in=[int(name) for name in gone], storage_host=storage_host, state=LessonState.READY
    ).update(files={})
    return gone
