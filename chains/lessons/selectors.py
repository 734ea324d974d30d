"""Reading lessons: what the page and its socket show of them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from chains.models import Lesson, LessonState, LessonStep

RECORDED = Path(__file__).with_name("recorded.json")


def lesson_of(user_pk: int) -> Lesson | None:
    """The lesson of a person; None when they have not begun one."""
    return Lesson.objects.filter(pk=user_pk).first()


def result_of(lesson: Lesson | None, number: int) -> LessonStep | None:
    """What a step of it did when it was run last; None while it has not been."""
    return None if lesson is None else lesson.steps.filter(number=number).first()


def lesson_live(user_pk: int) -> dict[str, Any]:
    """How the lesson of a person stands, as its socket gives it."""
    lesson = lesson_of(user_pk) or Lesson(user_id=user_pk)
    busy = lesson.state in {LessonState.QUEUED, LessonState.RUNNING}
    return {
        "type": "lesson", "id": user_pk, "seq": lesson.seq, "state": lesson.state,
        "step": lesson.step, "done": lesson.done, "busy": busy, "message": lesson.message,
    }  # fmt: skip


@cache
def recorded() -> dict[int, LessonStep]:
    """A whole run that was recorded, by the numbers of its steps: for those who may not run one."""
    steps = json.loads(RECORDED.read_text())
    return {
        number: LessonStep(number=number, runs=facts["runs"], seen=facts["seen"])
        for number, facts in enumerate(steps, 1)
    }
