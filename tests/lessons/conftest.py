"""A person with a lesson, and a worker's run of it in this process."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from chains.lessons import running, services
from chains.models import Lesson, Role, User


@pytest.fixture
def sandboxes(tmp_path: Path, settings) -> Path:
    """Where workers keep the files of lessons."""
    place = tmp_path / "lessons"
    settings.LESSON_DIR = place
    settings.STORAGE_HOST = "here"
    return place


@pytest.fixture
def learner(transactional_db: None, sandboxes: Path) -> User:
    return User.objects.create(username="learner", role=Role.OPERATOR)


@pytest.fixture
def step(learner: User) -> Callable[..., Lesson]:
    """Ask for a step and carry it out; without a number, for the next."""

    def run(number: int | None = None, user: User = learner) -> Lesson:
        row = Lesson.objects.filter(user=user).first()
        services.request_step(user, number or (row.done if row else 0) + 1, "test")
        return carry_out(user)

    return run


def carry_out(user: User) -> Lesson:
    """What a worker does with the job."""
    asyncio.run(running.run(user.pk))
    return Lesson.objects.get(user=user)
