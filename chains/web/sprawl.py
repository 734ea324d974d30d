"""The sprawl report: what snapshots hold, hide and would give back; as a page, as files and on paper."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from chains.diagrams.trend import Series
from chains.inventory import exports, limits, selectors, sprawl, trends
from chains.inventory.asking import BadRequestError
from chains.inventory.sprawl_asked import BYS, NONE, Asked
from chains.permissions import Action
from chains.web import past, sprawl_cells
from chains.web.downloads import download, wanted
from chains.web.guard import needs
from chains.web.sprawl_print import printed

FORECASTS: Final = 20
BY_WORDS: Final[dict[str, Promise]] = {
    "datacenter": gettext_lazy("Datacenter"), "domain": gettext_lazy("Domain"),
    "vm": gettext_lazy("VM"), "disk": gettext_lazy("Disk"),
}  # fmt: skip


@require_safe
@needs(Action.VIEW)
def report(request: HttpRequest) -> HttpResponseBase:
    """The report; with `format` all of it as CSV, JSON or a page to be printed."""
    asked = Asked.from_words(request.GET)
    if request.GET.get("format") == "print":
        return printed(request, asked, context_of(request, asked))
    if kind := wanted(request):
        return download(request, f"sprawl-by-{asked.by}", kind, _file(asked, kind))
    context = context_of(request, asked) | {
        "by_words": [(by, BY_WORDS[by]) for by in BYS], "domains": selectors.domain_names(),
        "datacenters": [name or NONE for name in sprawl.datacenters()], "spans": trends.SPANS,
    }  # fmt: skip
    return render(request, "web/sprawl.html", context)


def _file(asked: Asked, kind: str) -> Iterator[bytes]:
    columns = exports.CHANGE_COLUMNS if asked.with_ else exports.SPRAWL_COLUMNS
    return exports.written(kind, sprawl.walk(asked), columns)


def context_of(request: HttpRequest, asked: Asked) -> dict[str, Any]:
    """What the page and the printed report have in common; raises BadRequestError."""
    moment = asked.now_or_then()
    found = _page(request, asked)
    domains = list(trends.domains_of(asked))
    outlooks = trends.outlooks(domains, asked.with_ or asked.as_of)
    total = sprawl_cells.cells(found.total, moment)
    if found.total_after is not None:
        total = sprawl_cells.total_change(found.total, found.total_after, moment)
    return {
        "asked": asked, "report": found, "columns": sprawl_cells.COLUMNS, "total": total,
        "figures": found.total_after or found.total, "by_word": BY_WORDS[asked.by],
        "sort_word": next((c.label for c in sprawl_cells.COLUMNS if c.name == asked.column), _("name")),
        "lines": [sprawl_cells.line(row, moment) for row in found.rows], "moment": moment,
        "largest": [] if asked.as_of else sprawl.largest(asked),
        "outlooks": outlooks[:FORECASTS], "outlook_count": len(outlooks),
        "policy": limits.limits_of(), "own_policies": [row for row in domains if row.thresholds],
        **_trend(request, domains, asked),
    }  # fmt: skip


def _page(request: HttpRequest, asked: Asked) -> sprawl.Report:
    """The first page where an address was cut off, or is of another order."""
    try:
        return sprawl.report(asked, request.GET.get("cursor", ""))
    except BadRequestError:
        return sprawl.report(asked)


def _trend(request: HttpRequest, domains: list[Any], asked: Asked) -> dict[str, Any]:
    """The chart of all these domains together, and the moments that it was drawn from."""
    days = days_of(request)
    moments = trends.trend(domains, days, asked.with_ or asked.as_of)
    series = [
        Series(_("Snapshots"), [m.snapshots for m in moments], past.count),
        Series(_("Held"), [m.snapshot_bytes for m in moments], past.size),
        Series(_("Could be won"), [m.winnable for m in moments], past.size),
        Series(_("Breaches"), [m.breaches for m in moments], past.count),
        Series(_("On disk"), [m.on_disk for m in moments], past.size),
    ]
    times = [m.at.timestamp() for m in moments]
    until = asked.now_or_then().timestamp()
    return {
        "days": days, "moments": _table(moments[::-1]), "made_up": any(m.made_up for m in moments),
        "trend": past.drawn(times, series, _("What snapshots held over time"), until),
        "narrower": not asked.is_of_whole_domains,
    }  # fmt: skip


def _table(moments: Sequence[trends.Moment]) -> SafeString:
    """The rows of the table below the chart, where there are any."""
    return format_html_join(
        "\n",
        '<tr><th scope="row" class="nowrap">{}</th><td class="number">{}</td><td class="number">{}</td><td class="number">'
        '{}</td><td class="number">{}</td><td class="number">{}</td><td class="number">{}</td></tr>',
        (
            (timezone.localtime(m.at).strftime("%Y-%m-%d %H:%M"), m.domains, *_told(m))
            for m in moments
        ),
    )


def _told(m: trends.Moment) -> Iterator[str]:
    for value, say in ((m.snapshots, past.count), (m.snapshot_bytes, past.size), (m.winnable, past.size),
                       (m.breaches, past.count), (m.on_disk, past.size)):  # fmt: skip
        yield sprawl_cells.DASH if value is None else say(value)


def days_of(request: HttpRequest) -> int:
    """How far back the chart goes; raises BadRequestError."""
    text = request.GET.get("days", "") or str(trends.SPAN)
    if text not in map(str, trends.SPANS):
        raise BadRequestError(f"days is one of: {', '.join(map(str, trends.SPANS))}.")
    return int(text)
