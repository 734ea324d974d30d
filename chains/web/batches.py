"""Batches: the plan of many merges at once, the button that asks for them, and their journal."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chains.core.errors import StrataError
from chains.inventory import selectors
from chains.merges import batches
from chains.merges.batch_plans import Verdict, plan_batch
from chains.merges.choosing import Selection
from chains.merges.services import RefusedError
from chains.models import Batch, StorageDomain
from chains.permissions import Action, allows
from chains.web import asking, batch_pictures
from chains.web.guard import needs, origin, person, refuse
from chains.words.prose import prose


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.VIEW)
def plan(request: HttpRequest, pk: int) -> HttpResponse:
    """The plan of a batch; a POST by somebody who may merge asks for its merges."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    errors: list[str] = []
    if request.method == "POST":
        if not allows(request.user, Action.MERGE):
            return refuse(request, Action.MERGE)
        try:
            return redirect("batch", pk=_request(request, domain).pk)
        except RefusedError as error:
            errors = error.reasons
        except StrataError as error:
            errors = [str(error)]
    context = {"domain": domain, "errors": errors, **_context(request, domain)}
    return render(request, "web/batch_plan.html", context, status=409 if errors else 200)


def _request(request: HttpRequest, domain: StorageDomain) -> Batch:
    """Raises StrataError. What is chosen stands in the address, what was confirmed in the form."""
    return batches.request_batch(
        domain, _selection(request), asking.AskedScope.of(request.GET, "whole").scope(), person(request),
        origin(request), confirmed=_confirmed(request.POST.get("confirmed", "")),
        options=asking.options(request.POST),
    )  # fmt: skip


def _selection(request: HttpRequest) -> Selection:
    return Selection.from_words(request.GET.getlist("disk"), request.GET.dict())


def _confirmed(text: str) -> Mapping[int, str]:
    """`12:DIGEST 13:DIGEST`, as the form of the plan has it: one field, however many disks."""
    pairs = (part.partition(":") for part in text.split())
    return {
        int(disk): digest
        for disk, _, digest in pairs
        if disk.isascii() and disk.isdecimal() and len(disk) < 18
    }


def _context(request: HttpRequest, domain: StorageDomain) -> dict[str, Any]:
    """The plan of what the address chooses, or what is wrong with it; nothing while it chooses nothing."""
    asked = {
        name: request.GET.get(name, "").replace("\x00", "")
        for name in ("q", "deeper_than", "older_than")
    }
    wish = asking.AskedScope.of(request.GET, "whole")
    context: dict[str, Any] = {"asked": asked, "scope": wish}
    try:
        context["selection"] = selection = _selection(request)
        if selection.is_empty:
            return context
        found = plan_batch(domain, selection, wish.scope(), person(request))
    except StrataError as error:
        return context | {"wrong": str(error)}
    return context | {
        "plan": found, "totals": found.totals,
        "pairs": batch_pictures.of_plan(found, request.GET),
        "confirmed": " ".join(f"{disk}:{digest}" for disk, digest in found.confirmation.items()),
        "reading": any(row.verdict is Verdict.READING for row in found.rows),
        "silent": not selectors.worker_alive(domain.storage_host),
    }  # fmt: skip


@require_safe
@needs(Action.VIEW)
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """One batch: its merges, what was left out, how far it is."""
    found = get_object_or_404(batches.batches(), pk=pk)
    context = {
        "batch": found, "domain": found.domain, "story": batches.detail(found),
        "pairs": batch_pictures.of_batch(found, request.GET),
        "silent": not selectors.worker_alive(found.domain.storage_host),
    }  # fmt: skip
    return render(request, "web/batch.html", context)


@require_POST
@needs(Action.MERGE)
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel what is left of a batch."""
    found = get_object_or_404(Batch, pk=pk)
    try:
        batches.cancel_batch(found, person(request), origin(request))
    except RefusedError as error:
        messages.error(request, prose(str(error)))
    return redirect("batch", pk=pk)
