"""How domains and disks stood: charts on their pages, and the page of a domain as of a day."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_safe

from chains.diagrams.trend import Series, Trend, thinned, trend_svg
from chains.inventory import exports, history
from chains.inventory.asking import BadRequestError
from chains.models import Disk, DiskHistory, DomainHistory, StorageDomain
from chains.permissions import Action
from chains.web.downloads import download, wanted
from chains.web.guard import needs
from chains.words import numbers

_Row = TypeVar("_Row")
PAGE = 50
TABLE = 60  # notes that the table below a chart shows: the newest
PART = 2000


def domain_card(domain: StorageDomain) -> dict[str, Any]:
    """The chart of a domain, and the notes that it was drawn from, the newest first."""
    rows = history.domain_history(domain)
    rows = [rows[index] for index in thinned([row.at.timestamp() for row in rows])]
    series = [
        Series(_("Volumes"), [row.volumes for row in rows], count),
        Series(pgettext("chart", "Deepest chain"), [row.deepest for row in rows], count),
        Series(_("On disk"), [float(row.on_disk) for row in rows], size),
        Series(_("Free"), [row.free for row in rows], size),
        Series(_("Findings"), [row.critical + row.warning + row.info for row in rows], count),
    ]
    return {
        "trend": _drawn(rows, series, _("The domain over time")),
        "notes": rows[: -TABLE - 1 : -1],
    }


def disk_card(disk: Disk) -> dict[str, Any]:
    """The same of a disk."""
    rows = history.disk_history(disk)
    rows = [rows[index] for index in thinned([row.at.timestamp() for row in rows])]
    series = [
        Series(_("Layers"), [row.layers for row in rows], count),
        Series(_("On disk"), [row.on_disk for row in rows], size),
    ]
    return {
        "trend": _drawn(rows, series, _("The disk over time")),
        "notes": rows[: -TABLE - 1 : -1],
    }


def _drawn(
    rows: Sequence[DomainHistory] | Sequence[DiskHistory], series: Sequence[Series], title: str
) -> SafeString:
    return drawn([row.at.timestamp() for row in rows], series, title, timezone.now().timestamp())


def drawn(times: Sequence[float], series: Sequence[Series], title: str, until: float) -> SafeString:
    """A chart from notes at these moments until another (seconds since 1970); "" of none."""
    long = bool(times) and until - times[0] > 4 * 86_400
    written = "%Y-%m-%d" if long else "%m-%d %H:%M"

    def when(seconds: float) -> str:
        moment = datetime.fromtimestamp(seconds, timezone.get_current_timezone())
        return moment.strftime(written)

    # The drawing is built element by element, and all text in it is escaped: see diagrams/trend.py.
    return mark_safe(trend_svg(Trend(times, series, until, when), title))  # noqa: S308


def count(value: float) -> str:
    """A number of things, on a chart."""
    return str(int(value))


def size(value: float) -> str:
    """Bytes, on a chart."""
    return numbers.binary(int(value))


@require_safe
@needs(Action.VIEW)
def domain_history(request: HttpRequest, pk: int) -> Any:
    """A domain and its disks as they stood on a day; with `format` the disks as CSV or JSON."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    asked = request.GET.get("as_of", "").replace("\x00", "")[:40]
    context: dict[str, Any] = {"domain": domain, "as_of": asked, **domain_card(domain)}
    if not asked and (kind := wanted(request)):
        notes = domain.history.order_by("at", "id").iterator(chunk_size=PART)
        file = exports.written(kind, _some_at_a_time(notes, PART), exports.NOTE_COLUMNS)
        return download(request, f"{slugify(domain.name) or 'domain'}-history", kind, file)
    if asked:
        try:
            moment = history.moment_of(asked)
        except BadRequestError as error:
            return render(request, "web/history.html", context | {"error": str(error)}, status=400)
        rows = history.disks_as_of(domain, moment)
        if kind := wanted(request):
            name = f"{slugify(domain.name) or 'domain'}-{moment.date().isoformat()}"
            parts = _some_at_a_time(rows.iterator(chunk_size=PART), PART)
            return download(
                request, name, kind, exports.written(kind, parts, exports.HISTORY_COLUMNS)
            )
        page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
        context |= {"moment": moment, "page": page, "then": history.domain_as_of(domain, moment)}
    return render(request, "web/history.html", context)


def _some_at_a_time(rows: Iterator[_Row], size: int) -> Iterator[list[_Row]]:
    """Rows some at a time."""
    while some := list(islice(rows, size)):
        yield some
