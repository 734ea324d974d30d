"""The sprawl report on paper: one long page, sent while its rows are read."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.http import HttpRequest, StreamingHttpResponse
from django.template.loader import get_template, render_to_string

from chains.inventory import sprawl
from chains.inventory.sprawl_asked import Asked
from chains.web.downloads import in_turn
from chains.web.sprawl_cells import line

# Where the rows come into the page; nothing from storage can say this, for it would be escaped.
_ROWS: Final = "<!-- rows -->"


def printed(
    request: HttpRequest, asked: Asked, context: Mapping[str, Any]
) -> StreamingHttpResponse:
    """The whole report as a page of its own, with all rows."""
    facts = {**context, "rows_here": _ROWS, "person": request.user}
    head, _, tail = render_to_string("web/sprawl_print.html", facts, request).partition(_ROWS)
    answer = StreamingHttpResponse(
        in_turn(request, _parts(asked, head, tail)), content_type="text/html; charset=utf-8"
    )
    answer["Cache-Control"] = "no-store"
    return answer


def _parts(asked: Asked, head: str, tail: str) -> Iterator[bytes]:
    yield head.encode()
    template = get_template("web/partials/sprawl_rows.html")
    moment = asked.now_or_then()
    for some in sprawl.walk(asked):
        facts = {"lines": [line(row, moment) for row in some], "asked": asked, "paper": True}
        yield template.render(facts).encode()
    yield tail.encode()
