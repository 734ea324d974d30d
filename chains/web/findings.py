"""One finding: what it is about, and the note that somebody knows of it."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from chains.inventory import findings, selectors
from chains.inventory.asking import BadRequestError
from chains.models import Finding
from chains.permissions import Action
from chains.web.guard import needs, origin, person

LATER = timedelta(days=30)


@require_safe
@needs(Action.VIEW)
def finding(request: HttpRequest, pk: int) -> HttpResponse:
    """One finding."""
    return render(request, "web/finding.html", _context(pk))


@require_POST
@needs(Action.SCAN)
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """Note that somebody knows of it, why, and until when."""
    found = get_object_or_404(Finding.objects.select_related("domain"), pk=pk)
    reason, until = (request.POST.get(name, "").replace("\x00", "") for name in ("reason", "until"))
    try:
        findings.acknowledge(found, reason, _day(until), person(request), origin(request))
    except BadRequestError as error:
        context = _context(pk) | {"wrong": str(error), "reason": reason, "until": until}
        return render(request, "web/finding.html", context, status=400)
    messages.success(request, _("Acknowledged."))
    return redirect("finding", pk=pk)


@require_POST
@needs(Action.SCAN)
def reopen(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the note back."""
    found = get_object_or_404(Finding.objects.select_related("domain"), pk=pk)
    findings.reopen(found, person(request), origin(request))
    messages.success(request, _("Taken back: it counts again."))
    return redirect("finding", pk=pk)


def _context(pk: int) -> dict[str, Any]:
    today = timezone.localdate()
    return {
        "finding": get_object_or_404(selectors.findings(), pk=pk),
        "tomorrow": (today + timedelta(days=1)).isoformat(), "until": (today + LATER).isoformat(),
    }  # fmt: skip


def _day(text: str) -> datetime | None:
    """The beginning of a day, in the zone that the pages tell times in."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.combine(day, time.min, tzinfo=timezone.get_current_timezone())
