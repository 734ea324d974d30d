"""How domains and disks stood: charts on their pages, and the page of a domain as of a day."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from chains.core.names import portable
from chains.core.sheets import csv_lines
from chains.core.units import binary
from chains.diagrams.trend import Series, Trend, thinned, trend_svg
from chains.inventory import history
from chains.inventory.asking import BadRequestError
from chains.models import Disk, DiskHistory, DomainHistory, StorageDomain
from chains.permissions import Action
from chains.web.guard import needs

PAGE = 50
TABLE = 60  # notes that the table below a chart shows: the newest
COLUMNS = ("name", "layers", "virtual_size", "on_disk", "findings", "severity", "since")


def domain_card(domain: StorageDomain) -> dict[str, Any]:
    """The chart of a domain, and the notes that it was drawn from, the newest first."""
    rows = history.domain_history(domain)
    rows = [rows[index] for index in thinned([row.at.timestamp() for row in rows])]
    series = [
        Series("Volumes", [row.volumes for row in rows], _count),
        Series("Deepest chain", [row.deepest for row in rows], _count),
        Series("On disk", [float(row.on_disk) for row in rows], _bytes),
        Series("Free", [row.free for row in rows], _bytes),
        Series("Findings", [row.critical + row.warning + row.info for row in rows], _count),
    ]
    return {"trend": _drawn(rows, series, "The domain over time"), "notes": rows[: -TABLE - 1 : -1]}


def disk_card(disk: Disk) -> dict[str, Any]:
    """The same of a disk."""
    rows = history.disk_history(disk)
    rows = [rows[index] for index in thinned([row.at.timestamp() for row in rows])]
    series = [
        Series("Layers", [row.layers for row in rows], _count),
        Series("On disk", [row.on_disk for row in rows], _bytes),
    ]
    return {"trend": _drawn(rows, series, "The disk over time"), "notes": rows[: -TABLE - 1 : -1]}


def _drawn(
    rows: Sequence[DomainHistory] | Sequence[DiskHistory], series: Sequence[Series], title: str
) -> SafeString:
    now = timezone.now().timestamp()
    times = [row.at.timestamp() for row in rows]
    long = bool(times) and now - times[0] > 4 * 86_400
    written = "%Y-%m-%d" if long else "%m-%d %H:%M"

    def when(seconds: float) -> str:
        moment = datetime.fromtimestamp(seconds, timezone.get_current_timezone())
        return moment.strftime(written)

    # The drawing is built element by element, and all text in it is escaped: see diagrams/trend.py.
    return mark_safe(trend_svg(Trend(times, series, now, when), title))  # noqa: S308


def _count(value: float) -> str:
    return str(int(value))


def _bytes(value: float) -> str:
    return binary(int(value))


@require_safe
@needs(Action.VIEW)
def domain_history(request: HttpRequest, pk: int) -> Any:
    """A domain and its disks as they stood on a day; with `export` the disks as CSV or JSON."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    asked = request.GET.get("as_of", "").replace("\x00", "")[:40]
    context: dict[str, Any] = {"domain": domain, "as_of": asked, **domain_card(domain)}
    if asked:
        try:
            moment = history.moment_of(asked)
        except BadRequestError as error:
            return render(request, "web/history.html", context | {"error": str(error)}, status=400)
        rows = history.disks_as_of(domain, moment)
        if request.GET.get("export") in {"csv", "json"}:
            return _export(domain, moment, rows, request.GET["export"])
        page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
        context |= {"moment": moment, "page": page, "then": history.domain_as_of(domain, moment)}
    return render(request, "web/history.html", context)


def _export(domain: StorageDomain, moment: datetime, rows: Any, form: str) -> HttpResponse | Any:
    name = f"{slugify(domain.name) or 'domain'}-{moment.date().isoformat()}.{form}"
    found = (
        (r.name, r.layers, r.virtual_size, r.on_disk, r.findings, r.severity, r.at.isoformat())
        for r in rows.iterator(chunk_size=2000)
    )
    if form == "csv":
        body, kind = csv_lines(COLUMNS, found), "text/csv; charset=utf-8"
    else:
        body, kind = _json_lines(found), "application/json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(body, content_type=kind, headers=headers)


def _json_lines(rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    start = "[\n"
    for row in rows:
        facts = dict(zip(COLUMNS, row, strict=True)) | {"name": portable(row[0])}
        yield start + json.dumps(facts, ensure_ascii=False)
        start = ",\n"
    yield "[]\n" if start == "[\n" else "\n]\n"
