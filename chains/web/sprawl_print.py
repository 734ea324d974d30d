"""The sprawl report on paper: one long page, sent while its rows are read."""

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any, Final

from django.http import HttpRequest, StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.html import format_html_join
from django.utils.translation import gettext as _

from chains.core.names import display
from chains.inventory import sprawl
from chains.inventory.sprawl_asked import Asked
from chains.web.downloads import streamed
from chains.web.sprawl_cells import Line, line

# Where the rows come into the page; nothing from storage can say this, for it would be escaped.
_ROWS: Final = "<!-- rows -->"
_ROW: Final = '<tr><th scope="row" class="names">{}<span class="cell-note">{}</span></th>{}</tr>\n'


def printed(
    request: HttpRequest, asked: Asked, context: Mapping[str, Any]
) -> StreamingHttpResponse:
    """The whole report as a page of its own, with all rows."""
    facts = {**context, "rows_here": _ROWS, "person": request.user}
    head, tail = render_to_string("web/sprawl_print.html", facts, request).split(_ROWS)
    reader = str(translation.get_language()), timezone.get_current_timezone()
    parts = _parts(asked, head, tail, *reader)
    return streamed(request, parts, "text/html; charset=utf-8")


def _parts(asked: Asked, head: str, tail: str, language: str, zone: tzinfo) -> Iterator[bytes]:
    yield head.encode()
    moment = asked.now_or_then()
    for some in sprawl.walk(asked):
        # By now the request is over, and with it the language and the zone of whoever asked.
        with translation.override(language), timezone.override(zone):
            lines = [line(row, moment, hints=False) for row in some]
            # A template takes five times as long, and there may be a hundred thousand rows.
            rows = format_html_join("", _ROW, ((*_name(one, asked), one.cells) for one in lines))
        yield rows.encode()
    yield tail.encode()


def _name(one: Line, asked: Asked) -> tuple[str, str]:
    row = one.row
    nobody = _("no VM known") if asked.by == "vm" else _("no datacenter")
    name = display(row.label) if row.label else nobody
    return (
        f"{name} ({one.mark})" if one.mark else name,
        " · ".join(display(text) for text in (row.place, row.vm or "") if text),
    )
