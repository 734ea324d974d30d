"""The lesson of a person: how far it is, and what each of its steps has shown."""

from django.conf import settings
from django.db import models


class LessonState(models.TextChoices):
    """Whether a step waits for a worker, runs, or can be asked for."""

    READY = "ready", "ready"
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    FAILED = "failed", "failed"  # the step can be run again; `message` says what was wrong
    CHANGED = "changed", "changed"  # somebody else has written into the sandbox


class Lesson(models.Model):
    """One a person, in a sandbox of its own; it is no part of the inventory.

    `step` is the one that was asked for last, 0 for the clearing of the sandbox; `done` is the last that
    succeeded. `files` are the fingerprints that the sandbox was left with, by name: while it is empty
    nothing is known of what lies there, and the steps before are run anew.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="lesson"
    )
    storage_host = models.CharField(max_length=255, help_text="whose workers run it")
    state = models.CharField(max_length=16, choices=LessonState, default=LessonState.READY)
    step = models.IntegerField(default=0)
    done = models.IntegerField(default=0)
    seq = models.BigIntegerField(default=0)
    message = models.TextField(blank=True)
    files = models.JSONField(default=dict)
    worker = models.CharField(max_length=300, blank=True, help_text="who runs the step")
    touched_at = models.DateTimeField(auto_now=True, help_text="its sandbox is cleared a day later")

    def __str__(self) -> str:
        return f"lesson of {self.user_id}"


class LessonStep(models.Model):
    """What one step did and what was there after it, as it was run last.

    `runs` has one item a command: {command, stdout, stderr, code, seconds}; `seen` is what
    lessons.looking.look says, empty where the step failed.
    """

    lesson = models.ForeignKey(Lesson, on_delete=models.CASCADE, related_name="steps")
    number = models.IntegerField()
    runs = models.JSONField(default=list)
    seen = models.JSONField(default=dict)
    finished_at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["lesson", "number"], name="one_result_a_lesson_step")
        ]

    def __str__(self) -> str:
        return f"step {self.number} of {self.lesson_id}"
