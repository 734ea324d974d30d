"""The lesson's page: what each role sees, at each state of a lesson."""

import re

import pytest
from django.utils import timezone

from chains.lessons import selectors
from chains.lessons.steps import LAST, STEPS
from chains.models import Lesson, LessonStep, WorkerHost
from chains.qemu.command import shown
from tests.web.markup import Page


@pytest.fixture
def operator(browser, settings):
    settings.STORAGE_HOST = "lab1"
    return browser("operator")


@pytest.fixture
def ran(people):
    """A lesson of the operator's that is `done` steps far, as it was recorded."""

    def make(done: int, **facts) -> Lesson:
        row = Lesson.objects.create(
            user=people["operator"], storage_host="lab1", done=done, step=done, **facts
        )
        for number in range(1, done + 1):
            known = selectors.recorded()[number]
            LessonStep.objects.create(
                lesson=row,
                number=number,
                runs=known.runs,
                seen=known.seen,
                finished_at=timezone.now(),
            )
        return row

    return make


def text_of(response):
    assert response.status_code == 200
    assert Page(response.text).wrong == []
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))


def test_an_auditor_sees_the_recorded_run_and_changes_nothing(browser):
    client = browser("auditor")
    for number in range(1, LAST + 1):
        response = client.get(f"/lesson/?step={number}")
        text = text_of(response)
        assert "a run that was recorded" in text
        assert "exit code 0" in text
        assert "What you see" in text
        assert response.text.count('class="dg-cell') >= 16, "the reads are drawn"
        assert "<form" not in response.text[response.text.index("lesson-step") :]
    assert client.post("/lesson/run/", {"step": 1}).status_code == 403
    assert client.post("/lesson/over/").status_code == 403
    assert not Lesson.objects.exists()


def test_the_words_have_the_real_numbers(operator, ran):
    ran(11)
    assert "takes 640 KiB on disk" in text_of(operator.get("/lesson/?step=2"))
    six = text_of(operator.get("/lesson/?step=6"))
    assert "snap2.img answers 4 blocks itself, snap1.img 3 and base.img 9" in six
    assert "12 are redirected" in six
    assert "4 blocks from snap2.img and 12 from newbase.img" in text_of(
        operator.get("/lesson/?step=9")
    )


def test_each_command_is_shown_before_it_is_run(operator):
    for step in STEPS:
        text = operator.get(f"/lesson/?step={step.number}").text
        for argv in step.commands:
            assert shown(argv).replace("'", "&#x27;") in text
        assert ('lesson-run" type' in text) == (step.number == 1), "each in its turn"


def test_without_a_step_the_page_is_where_one_is(operator, ran):
    assert "step 1 of 11" in text_of(operator.get("/lesson/"))
    ran(6)
    seven = text_of(operator.get("/lesson/"))
    assert "step 7 of 11" in seven
    assert "before this step" in seven
    assert "What Strata would do" in seven
    assert "recommended" in seven


@pytest.mark.parametrize("step", ["0", "12", "-1", "x", "1e1", "\x00"])
def test_there_are_eleven_steps(step, operator):
    assert operator.get("/lesson/", {"step": step}).status_code == 400
    assert operator.post("/lesson/run/", {"step": step}).status_code == 400


def test_a_step_without_scripts(operator, people):
    """A press, a page that looks again by itself, and no worker."""
    response = operator.post("/lesson/run/", {"step": 1})
    assert response.url == "/lesson/?step=1#run"
    text = text_of(operator.get("/lesson/?step=1"))
    assert "Step 1 waits for a worker" in text
    assert "No worker is alive on lab1" in text
    assert 'http-equiv="refresh"' in operator.get("/lesson/?step=1").text
    WorkerHost.objects.create(storage_host="lab1", process="p", alive_at=timezone.now())
    assert "No worker" not in text_of(operator.get("/lesson/?step=1"))


@pytest.mark.parametrize(("state", "said"), [
    ("failed", "The step has failed."), ("changed", "Somebody else has been at the files."),
])  # fmt: skip
def test_what_went_wrong_is_said_where_it_went_wrong(state, said, operator, ran):
    row = ran(3)
    Lesson.objects.filter(pk=row.pk).update(state=state, step=4, message="<b>because</b>")
    text = operator.get("/lesson/?step=4").text
    assert said in text
    assert "&lt;b&gt;because&lt;/b&gt;" in text
    assert "Run step 4 again" in text
    assert "Start over" in text
    assert said not in operator.get("/lesson/?step=2").text


def test_a_step_out_of_turn_is_answered_in_words(operator):
    operator.post("/lesson/run/", {"step": 5})
    assert "Run step 1 first" in text_of(operator.get("/lesson/?step=5"))
    assert not Lesson.objects.filter(state="queued").exists()
