"""The lesson: eleven commands on real files, each explained, run by a worker, and drawn."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from chains.core.errors import StrataError
from chains.core.plans import Plan
from chains.inventory import selectors as inventory
from chains.inventory.asking import BadRequestError
from chains.lessons import selectors, services
from chains.lessons.steps import BASE, LAST, PLANNED_AFTER, SNAP1, Step, step_of
from chains.models import Disk, Lesson, LessonState, LessonStep
from chains.permissions import Action, allows
from chains.qemu.command import shown
from chains.web import lesson_pictures as pictures
from chains.web.guard import needs, origin, person
from chains.words.prose import prose

TITLES = (
    gettext_lazy("Create a disk"),
    gettext_lazy("Let the guest write"),
    gettext_lazy("Take a snapshot"),
    gettext_lazy("Write over it"),
    gettext_lazy("Take a second snapshot"),
    gettext_lazy("Write, and follow the reads"),
    gettext_lazy("Join base and snap1"),
    gettext_lazy("Compare"),
    gettext_lazy("Rebase the second snapshot"),
    gettext_lazy("See that nothing has changed"),
    gettext_lazy("Remove what nothing reads"),
)


@require_safe
@needs(Action.VIEW)
def lesson(request: HttpRequest) -> HttpResponse:
    """One step, as the address says; without one, the step whose turn it is."""
    may_learn = allows(request.user, Action.LEARN)
    row = selectors.lesson_of(person(request).pk) if may_learn else None
    number = _number(request.GET.get("step"), row)
    context = {
        "lesson": row or Lesson(), "number": number, "last": LAST, "may_learn": may_learn,
        "steps": _steps(row, may_learn), "title": TITLES[number - 1],
        "commands": [shown(argv) for argv in step_of(number).commands],
        "back": number - 1 if number > 1 else None, "next": number + 1 if number < LAST else None,
        **_state(row, number), **_result(row, number, may_learn),
    }  # fmt: skip
    return render(request, f"web/lesson/{number}.html", context)


@require_POST
@needs(Action.LEARN)
def run(request: HttpRequest) -> HttpResponse:
    """Ask for a step."""
    number = _number(request.POST.get("step"), None)
    try:
        services.request_step(person(request), number, origin(request))
    except StrataError as error:
        messages.error(request, prose(str(error)))
    return redirect(f"{reverse('lesson')}?step={number}#run")


@require_POST
@needs(Action.LEARN)
def start_over(request: HttpRequest) -> HttpResponse:
    """Begin anew, in an empty sandbox."""
    try:
        services.start_over(person(request), origin(request))
    except StrataError as error:
        messages.error(request, prose(str(error)))
    return redirect(f"{reverse('lesson')}?step=1")


def _number(asked: str | None, row: Lesson | None) -> int:
    """Raises BadRequestError for what is no step."""
    if asked is None:
        return min((row.done if row else 0) + 1, LAST)
    if not asked.isdecimal() or len(asked) > 2 or not 1 <= int(asked) <= LAST:
        raise BadRequestError(_("The lesson has the steps 1 to %(last)d.") % {"last": LAST})
    return int(asked)


def _steps(row: Lesson | None, may_learn: bool) -> list[dict[str, Any]]:
    done = (row.done if row else 0) if may_learn else LAST
    return [
        {"number": number, "title": title, "done": number <= done}
        for number, title in enumerate(TITLES, 1)
    ]


def _state(row: Lesson | None, number: int) -> dict[str, Any]:
    """What can be done on the page of a step now."""
    found = row or Lesson()
    host = found.storage_host or services.host_for(None)
    busy = found.state in services.BUSY
    stuck = found.state in {LessonState.FAILED, LessonState.CHANGED}
    return {
        "host": host, "silent": not inventory.worker_alive(host), "busy": busy,
        "stuck": stuck and found.step in {0, number}, "turn": found.done + 1,
        "can_start_over": row is not None and (found.done > 0 or stuck) and not busy,
    }  # fmt: skip


def _result(row: Lesson | None, number: int, may_learn: bool) -> dict[str, Any]:
    """What the step has shown, if it has been run: to those who run none, of a run that was recorded."""
    result = selectors.result_of(row, number) if may_learn else selectors.recorded()[number]
    before = (
        selectors.result_of(row, PLANNED_AFTER)
        if may_learn
        else selectors.recorded()[PLANNED_AFTER]
    )
    found: dict[str, Any] = {"result": result}
    if number == PLANNED_AFTER + 1 and before is not None and before.seen:
        found["ways"] = [Plan.from_json(plan) for plan in before.seen["plans"]]
        found["advice"] = before.seen["advice"]
        found["real_disk"] = Disk.objects.filter(layers__gt=1).order_by("id").first()
    if result is not None and result.seen:
        return found | _seen(result, step_of(number))
    # Until it has been run, what there is is what the step before has left.
    earlier = selectors.result_of(row, number - 1)
    return found | (_seen(earlier, None) if earlier is not None and earlier.seen else {})


def _seen(result: LessonStep, step: Step | None) -> dict[str, Any]:
    files, blocks = pictures.files(result.seen), pictures.blocks(result.seen)
    return {
        "files": files, "blocks": blocks,
        "trees": pictures.trees(result.seen, step), "reads": pictures.reads(result.seen),
        "see": {file.name.removesuffix(".img"): file for file in files},
        "redirected": sum(block.hops > 0 for block in blocks),
        "on_disk": sum(file.facts["on_disk"] for file in files),
        "both": sum(file.facts["on_disk"] for file in files if file.name in (BASE, SNAP1)),
    }  # fmt: skip
