"""Stopping scans, asking for checks, and what the page of a volume shows beside its header."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from chains.core.errors import StrataError
from chains.inventory import scanning, selectors, services, volumes
from chains.models import Finding, Scan, Volume
from chains.permissions import Action
from chains.web.guard import needs, origin, person
from chains.words.prose import prose


def card(volume: Volume, overlays: int, findings: list[Finding]) -> dict[str, Any]:
    """What the page of a volume shows beside its header: witnesses, locks, the last check."""
    table = volumes.table_of(volume, overlays)
    return {
        "witnesses": table, "told": volumes.sustained(table, findings) if table else [],
        "in_use": volumes.in_use(volume), "image_end": volumes.image_end(volume),
        "check": volumes.check_of(volume), "check_refusal": volumes.check_refusal(volume),
        "silent": not selectors.worker_alive(volume.domain.storage_host),
    }  # fmt: skip


@require_POST
@needs(Action.SCAN)
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a scan, a block map or a check."""
    scan = get_object_or_404(Scan.objects.select_related("domain"), pk=pk)
    try:
        scanning.cancel_scan(scan, person(request), origin(request))
    except StrataError as error:
        messages.error(request, prose(str(error)))
    pages = {"activity", "domains"}
    return redirect(request.POST["next"]) if request.POST.get("next") in pages else _page_of(scan)


def _page_of(scan: Scan) -> HttpResponse:
    if scan.volume_id is not None:
        return redirect("volume", pk=scan.volume_id)
    if scan.disk_id is not None:
        return redirect("disk", pk=scan.disk_id)
    return redirect("domain", pk=scan.domain_id)


@require_POST
@needs(Action.SCAN)
def check(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask a worker for a check of a volume."""
    volume = get_object_or_404(Volume.objects.select_related("domain"), pk=pk)
    try:
        services.request_check(volume, person(request), origin(request))
    except StrataError as error:
        messages.error(request, prose(str(error)))
    return redirect("volume", pk=pk)
