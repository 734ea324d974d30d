"""What goes wrong in a lesson, each caused for real: what is said, and how it goes on."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as project
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from chains.lessons import keeping, looking, running, selectors, services
from chains.lessons.sandbox import Sandbox
from chains.lessons.steps import LAST, STEPS
from chains.merges.queue import own_name
from chains.models import AuditRecord, Lesson, StorageDomain, User, WorkerHost
from tests import images
from tests.lessons.conftest import carry_out


@pytest.fixture
def place(learner: User, sandboxes: Path) -> Path:
    return sandboxes / str(learner.pk)


def jobs_of(user: User):
    """The jobs that wait for a worker."""
    rows = ProcrastinateJob.objects.filter(task_name="chains.lesson", args={"pk": user.pk})
    return rows.filter(queue_name="here", status="todo")


def finish(step, row: Lesson) -> None:
    """The rest of the lesson goes well."""
    while row.done < LAST:
        before = row.done
        row = step()
        assert row.done == before + 1, row.message


TAMPERING = {
    "was changed": lambda place: (place / "base.img").open("r+b").write(b"x"),
    "is gone": lambda place: (place / "snap1.img").unlink(),
    "was put there": lambda place: (place / "newbase.img").write_bytes(b"what is this?"),
    "second name": lambda place: os.link(place / "base.img", place.parent / "link"),
    "not the file": lambda place: (
        (place / "snap1.img").unlink(), (place / "snap1.img").symlink_to("/etc/passwd")
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERING)
def test_files_that_somebody_else_has_changed(what, step, place):
    for _ in range(4):
        step()
    TAMPERING[what](place)
    row = step()
    assert (row.state, row.done) == ("changed", 4)
    assert what in row.message
    assert selectors.result_of(row, 5) is None, "nothing was run on them"
    row = step()
    assert (row.state, row.done) == ("ready", 5), row.message
    assert Path("/etc/passwd").stat().st_size


def test_what_is_not_the_lessons_own_is_left_alone(step, learner, place):
    step()
    (place / "mine.txt").write_text("keep")
    step()
    services.start_over(learner, "test")
    assert carry_out(learner).state == "ready"
    assert os.listdir(place) == ["mine.txt"]


def test_a_directory_in_the_place_of_a_file(step, place):
    step()
    (place / "snap1.img").mkdir()
    assert step().state == "changed"
    row = step()
    assert row.state == "failed"
    assert "snap1.img can not be removed" in row.message
    (place / "snap1.img").rmdir()
    finish(step, step())


def test_a_sandbox_that_is_a_link_is_not_entered(step, learner, place, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "base.img").write_text("precious")
    place.parent.mkdir()
    place.symlink_to(elsewhere)
    assert step().state == "failed"
    assert (elsewhere / "base.img").read_text() == "precious"
    assert os.listdir(elsewhere) == ["base.img"]


def test_a_place_that_others_may_write_is_refused(step, sandboxes):
    sandboxes.mkdir()
    sandboxes.chmod(0o777)
    row = step()
    assert row.state == "failed"
    assert "written by others" in row.message


@pytest.mark.parametrize("where", ["around", "inside"])
def test_a_sandbox_is_never_in_a_storage_domain(where, step, sandboxes):
    path = sandboxes.parent if where == "around" else sandboxes / "7"
    StorageDomain.objects.create(name="d", path=str(path), path_text=str(path), storage_host="here")
    row = step()
    assert row.state == "failed"
    assert "STRATA_LESSON_DIR" in row.message
    assert not sandboxes.exists()


def test_a_full_disk(step, sandboxes, learner, monkeypatch):
    """First the lesson does not begin; then the room goes away under it."""
    sandboxes.mkdir(mode=0o700)
    with images.mounted(sandboxes, "ext4", 40 * images.MIB):
        filler = sandboxes / "filler"
        row = step()
        assert row.state == "ready"
        with filler.open("wb", buffering=0) as file:
            for chunk in (bytes(images.MIB), bytes(4096)):
                with contextlib.suppress(OSError):
                    while file.write(chunk):
                        pass
        row = step()
        assert row.state == "failed"
        assert "are free where the sandbox is" in row.message
        monkeypatch.setattr(Sandbox, "check_room", lambda self: None)
        row = step()
        assert row.state == "failed"
        assert "no space left" in row.message.lower()
        assert "No space left" in str(selectors.result_of(row, 2).runs)
        filler.unlink()
        assert step().done == 2


@pytest.mark.parametrize("missing", ["qemu-img", "qemu-io"])
def test_a_tool_that_is_missing(missing, step, monkeypatch):
    from chains.qemu import command

    step()
    real = command.tool

    def tool(name: str) -> str:
        if name == missing:
            raise command.CommandError(
                f"{name} is not installed on this machine; install it and try again"
            )
        return real(name)

    with monkeypatch.context() as patch:
        patch.setattr(command, "tool", tool)
        row = step()
    assert row.state == "failed"
    assert f"{missing} is not installed" in row.message
    last = selectors.result_of(row, 2).runs[-1]
    assert last["code"] is None
    assert "not installed" in last["stderr"]
    assert step().done == 2


def test_a_double_click_runs_a_step_once(step, learner):
    step()
    for _ in range(3):
        services.request_step(learner, 2, "test")
    assert jobs_of(learner).count() == 1
    assert AuditRecord.objects.filter(subject="step 2 of the lesson", result="asked").count() == 1
    carry_out(learner)
    services.request_step(learner, 2, "test")
    row = carry_out(learner)
    assert (row.state, row.done) == ("ready", 2)


def test_steps_have_an_order(learner, sandboxes):
    with pytest.raises(services.StrataError, match="Run step 1 first"):
        services.request_step(learner, 3, "test")
    assert not Lesson.objects.filter(state="queued").exists()


def test_two_workers_with_one_job(step, learner):
    """The second finds nothing to do; and none works in a sandbox that another holds."""
    services.request_step(learner, 1, "test")

    async def both() -> None:
        await asyncio.gather(running.run(learner.pk), running.run(learner.pk))

    asyncio.run(both())
    row = Lesson.objects.get()
    assert (row.state, row.done) == ("ready", 1)
    with Sandbox.opened(str(project.LESSON_DIR), str(learner.pk)):
        row = step()
        assert row.state == "failed"
        assert "Another worker is still busy" in row.message
    assert step().done == 2


KILLED = """
import asyncio, os, signal
from chains.lessons import running
from chains.lessons.sandbox import Sandbox
real = running.run_tool
count = 0
async def tool(argv, **options):
    global count
    if list(argv) == {argv!r}:
        if {half!r}:
            await real(argv, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return await real(argv, **options)
running.run_tool = tool
asyncio.run(running.run({pk}))
"""


@pytest.mark.parametrize(
    ("number", "half"), [(2, False), (7, True), (9, True), (11, True)], ids=str
)
def test_a_worker_that_is_killed_in_a_step(number, half, step, learner, sandboxes):
    """Nothing of it is believed; the step is run again on files that are as before it."""
    for _ in range(number - 1):
        row = step()
    services.request_step(learner, number, "test")
    script = KILLED.format(argv=list(STEPS[number - 1].commands[0]), half=half, pk=learner.pk)
    environment = {**os.environ, "STRATA_LESSON_DIR": str(sandboxes), "STRATA_STORAGE_HOST": "here"}
    argv = [sys.executable, str(project.BASE_DIR / "manage.py"), "shell", "-v0", "-c", script]
    ended = subprocess.run(argv, env=environment, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    row = Lesson.objects.get()
    assert row.state == "running"
    keeping.see_to("here")
    row = Lesson.objects.get()
    assert (row.state, row.done) == ("failed", number - 1)
    assert "The worker was stopped" in row.message
    row = step()
    assert (row.state, row.done) == ("ready", number), row.message
    finish(step, row)


def test_a_worker_that_lives_is_not_taken_for_dead(step, learner):
    step()
    Lesson.objects.update(state="running", worker="elsewhere:1")
    WorkerHost.objects.create(storage_host="here", process="elsewhere:1", alive_at=timezone.now())
    keeping.see_to("here")
    assert Lesson.objects.get().state == "running"
    Lesson.objects.update(worker=own_name())
    running.running[learner.pk] += 1
    keeping.see_to("here")
    assert Lesson.objects.get().state == "running"
    running.running[learner.pk] -= 1
    WorkerHost.objects.update(alive_at=timezone.now() - timedelta(minutes=1))
    keeping.see_to("here")
    assert Lesson.objects.get().state == "failed"


def test_who_was_taken_for_dead_has_no_say(step, learner, monkeypatch):
    """A worker that comes back after somebody else has ended its step changes nothing."""
    real = looking.look

    def slow(*arguments):
        Lesson.objects.update(state="failed", worker="", message="given up")
        connection.close()
        return real(*arguments)

    monkeypatch.setattr(running, "look", slow)
    row = step()
    assert (row.state, row.done, row.message) == ("failed", 0, "given up")
    assert not row.steps.exists()


def test_a_job_that_was_lost_is_asked_for_again(learner, sandboxes):
    services.request_step(learner, 1, "test")
    jobs_of(learner).delete()
    keeping.see_to("here")
    assert not jobs_of(learner).exists(), "it may only be slow"
    Lesson.objects.update(touched_at=timezone.now() - timedelta(minutes=1))
    keeping.see_to("here")
    assert jobs_of(learner).count() == 1


def test_without_a_worker_it_waits(learner, sandboxes):
    WorkerHost.objects.create(
        storage_host="there", process="p", alive_at=timezone.now() - timedelta(hours=1)
    )
    assert services.request_step(learner, 1, "test").storage_host == "here"
    WorkerHost.objects.update(alive_at=timezone.now())
    services.start_over(learner, "test")
    assert Lesson.objects.get().storage_host == "there", "it begins where somebody works"


def test_no_start_over_under_a_running_step(step, learner):
    step()
    Lesson.objects.update(state="running", worker=own_name())
    with pytest.raises(services.StrataError, match="runs now"):
        services.start_over(learner, "test")


def test_sandboxes_are_removed_after_a_day(step, learner, sandboxes):
    other = User.objects.create(username="other", role="admin")
    for _ in range(4):
        step()
    step(user=other)
    (sandboxes / "4242").mkdir()  # of somebody who is gone
    (sandboxes / "not ours").mkdir()
    Lesson.objects.filter(user=learner).update(touched_at=timezone.now() - timedelta(days=2))
    assert keeping.sweep("here") == sorted([str(learner.pk), "4242"])
    assert sorted(os.listdir(sandboxes)) == sorted([str(other.pk), "not ours"])
    row = step()
    assert (row.state, row.done) == ("ready", 5), "what was done is done anew"
    finish(step, row)


def test_a_sandbox_in_use_is_not_swept(step, learner, sandboxes):
    step()
    Lesson.objects.update(touched_at=timezone.now() - timedelta(days=2))
    with Sandbox.opened(str(sandboxes), str(learner.pk)):
        assert keeping.sweep("here") == []
    assert (sandboxes / str(learner.pk) / "base.img").exists()


def test_there_are_not_too_many(step, sandboxes, monkeypatch):
    monkeypatch.setattr("chains.lessons.sandbox.MOST", 1)
    other = User.objects.create(username="other", role="admin")
    step()
    row = step(user=other)
    assert row.state == "failed"
    assert "holds 1 lessons already" in row.message
    assert step().done == 2
