"""The long lists: disks of a domain, volumes of a domain, findings of all; as pages and as files."""

from collections.abc import Callable
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from chains.inventory import exports, lists, paging, selectors
from chains.inventory.asking import BadRequestError
from chains.merges.batches import batches
from chains.merges.selectors import merges
from chains.models import DomainKind, StorageDomain
from chains.permissions import Action
from chains.web import tables
from chains.web.downloads import download, wanted
from chains.web.guard import needs
from chains.web.tables import Column

DISK_COLUMNS = (
    Column("vm", _("VM")), Column("virtual_size", _("Virtual size")), Column("on_disk", _("On disk")),
    Column("layers", _("Layers")), Column("oldest_snapshot", _("Oldest snapshot")),
    Column("findings", _("Findings")), Column("path", _("Active layer"), shown=False),
    Column("format", _("Format"), shown=False), Column("in_use", _("In use"), shown=False),
)  # fmt: skip
VOLUME_COLUMNS = (
    Column("format", _("Format")), Column("virtual_size", _("Virtual size")),
    Column("on_disk", _("On disk")), Column("backing", _("Backing file")),
    Column("in_use", _("In use")), Column("modified", _("Written")),
    Column("cluster_size", _("Cluster size"), shown=False),
)  # fmt: skip

_ACTIVITY: Final[dict[str, tuple[Callable[[], QuerySet[Any]], exports.Columns]]] = {
    "merges": (merges, exports.MERGE_COLUMNS), "scans": (selectors.all_scans, exports.SCAN_COLUMNS),
    "batches": (batches, exports.BATCH_COLUMNS),
}  # fmt: skip


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
    table = tables.view(request, "disks", DISK_COLUMNS)
    order = lists.disk_order(table.sort)
    rows = lists.disks(domain, asked)
    page = paging.first_page_if_wrong(rows, order, request.GET.get("cursor", ""), table.rows)
    return {
        "page": page, "table": table, "asked": asked, "sort": order.text,
        "total": lists.total_of(page, rows, order, asked, domain.disk_count),
        "severity_choices": ("any", *lists.SEVERITIES), "uses": lists.USES,
        "vms": any(row.vm for row in page.rows),
    }  # fmt: skip


def activity_file(request: HttpRequest, kind: str) -> HttpResponseBase:
    """All merges, or with `list` all scans or batches, the newest first; raises BadRequestError."""
    which = request.GET.get("list", "") or "merges"
    if which not in _ACTIVITY:
        raise BadRequestError(f"list is one of: {', '.join(_ACTIVITY)}.")
    rows, columns = _ACTIVITY[which]
    parts = exports.written(kind, paging.walk(rows(), lists.NEWEST_FIRST), columns)
    return download(request, which, kind, parts)


def remembered(response: HttpResponseBase, card: dict[str, Any]) -> HttpResponseBase:
    """The page that a card of disks stands on, which keeps how its reader wants the table."""
    table: tables.TableView = card["table"]
    return table.remember(response)


@require_safe
@needs(Action.VIEW)
def volumes(request: HttpRequest, pk: int) -> HttpResponseBase:
    """All volumes of a domain."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    asked = lists.VolumeFilter.from_words(request.GET)
    table = tables.view(request, "volumes", VOLUME_COLUMNS)
    rows, order = lists.volumes(domain, asked), lists.volume_order(asked, table.sort)
    if kind := wanted(request):
        parts = exports.written(
            kind, paging.walk(lists.narrow(rows), order), exports.VOLUME_COLUMNS
        )
        return download(request, f"volumes-{pk}", kind, parts)
    page = paging.first_page_if_wrong(rows, order, request.GET.get("cursor", ""), table.rows)
    context = {
        "domain": domain, "page": page, "table": table, "sort": order.text, "asked": asked,
        "total": lists.total_of(page, rows, order, asked, domain.volume_count),
        "formats": lists.FORMATS, "uses": lists.USES,
        "unseen": any(row.not_seen_since for row in page.rows),
        "is_block": domain.kind == DomainKind.OVIRT_BLOCK,
    }  # fmt: skip
    return table.remember(render(request, "web/volumes.html", context))


@require_safe
@needs(Action.VIEW)
def findings(request: HttpRequest) -> HttpResponseBase:
    """The findings of all domains, the worst first."""
    asked = lists.FindingFilter.from_words(request.GET)
    rows, order = asked.rows(), asked.order
    if kind := wanted(request):
        parts = exports.written(kind, paging.walk(rows, order), exports.FINDING_COLUMNS)
        return download(request, "findings", kind, parts)
    table = tables.view(request, "findings", ())
    page = paging.first_page_if_wrong(rows, order, request.GET.get("cursor", ""), table.rows)
    context = {
        "page": page, "table": table, "asked": asked, "total": lists.total_of(page, rows, order, asked, None),
        "severities": lists.SEVERITIES, "codes": lists.CODES, "states": lists.STATES,
        "domains": selectors.domain_names(),
    }  # fmt: skip
    return table.remember(render(request, "web/findings.html", context))
