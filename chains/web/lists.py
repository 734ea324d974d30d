"""The long lists: disks of a domain, volumes of a domain, findings of all; as pages and as files."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from chains.inventory import exports, lists, paging, selectors
from chains.models import DomainKind, StorageDomain
from chains.permissions import Action
from chains.web.downloads import download, wanted
from chains.web.guard import needs


def disks_file(request: HttpRequest, domain: StorageDomain, kind: str) -> HttpResponseBase:
    """The disks of a domain as a file; raises BadRequestError."""
    asked = lists.DiskFilter.from_words(request.GET)
    order = lists.disk_order(request.GET.get("sort", ""))
    rows = lists.disks(domain, asked)
    parts = exports.written(kind, paging.walk(rows, order), exports.DISK_COLUMNS)
    return download(request, f"disks-{domain.pk}", kind, parts)


def disks_card(request: HttpRequest, domain: StorageDomain) -> dict[str, Any]:
    """What the domain's page shows of its disks; raises BadRequestError."""
    asked = lists.DiskFilter.from_words(request.GET)
    order = lists.disk_order(request.GET.get("sort", ""))
    rows = lists.disks(domain, asked)
    page = paging.first_page_if_wrong(rows, order, request.GET.get("cursor", ""))
    return {
        "page": page, "asked": asked, "sort": order.text,
        "total": lists.total_of(page, rows, order, asked, domain.disk_count),
        "severity_choices": ("any", *lists.SEVERITIES), "uses": lists.USES,
        "vms": any(row.vm for row in page.rows),
    }  # fmt: skip


@require_safe
@needs(Action.VIEW)
def volumes(request: HttpRequest, pk: int) -> HttpResponseBase:
    """All volumes of a domain."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    asked = lists.VolumeFilter.from_words(request.GET)
    rows, order = lists.volumes(domain, asked), lists.volume_order(asked)
    if kind := wanted(request):
        parts = exports.written(
            kind, paging.walk(lists.narrow(rows), order), exports.VOLUME_COLUMNS
        )
        return download(request, f"volumes-{pk}", kind, parts)
    page = paging.first_page_if_wrong(rows, order, request.GET.get("cursor", ""))
    context = {
        "domain": domain, "page": page, "asked": asked,
        "total": lists.total_of(page, rows, order, asked, domain.volume_count),
        "formats": lists.FORMATS, "uses": lists.USES,
        "unseen": any(row.not_seen_since for row in page.rows),
        "is_block": domain.kind == DomainKind.OVIRT_BLOCK,
    }  # fmt: skip
    return render(request, "web/volumes.html", context)


@require_safe
@needs(Action.VIEW)
def findings(request: HttpRequest) -> HttpResponseBase:
    """The findings of all domains, the worst first."""
    asked = lists.FindingFilter.from_words(request.GET)
    rows, order = asked.rows(), asked.order
    if kind := wanted(request):
        parts = exports.written(kind, paging.walk(rows, order), exports.FINDING_COLUMNS)
        return download(request, "findings", kind, parts)
    page = paging.first_page_if_wrong(rows, order, request.GET.get("cursor", ""))
    context = {
        "page": page, "asked": asked, "total": lists.total_of(page, rows, order, asked, None),
        "severities": lists.SEVERITIES, "codes": lists.CODES, "states": lists.STATES,
        "domains": selectors.domain_names(),
    }  # fmt: skip
    return render(request, "web/findings.html", context)
