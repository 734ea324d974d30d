"""A list as a file: sent while it is read."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext as _

from chains.inventory.asking import BadRequestError
from chains.inventory.exports import TYPES


def wanted(request: HttpRequest) -> str:
    """The kind of file that the address asks for, "" for a page; raises BadRequestError."""
    kind = request.GET.get("format", "")
    if kind and kind not in TYPES:
        raise BadRequestError(_("format is one of: %(kinds)s.") % {"kinds": ", ".join(TYPES)})
    return kind


def download(
    request: HttpRequest, name: str, kind: str, parts: Iterator[bytes]
) -> StreamingHttpResponse:
    """The answer that the browser saves under this name; `name` is ours, nothing of it from storage."""
    answer = StreamingHttpResponse(in_turn(request, parts), content_type=TYPES[kind])
    answer["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    answer["Cache-Control"] = "no-store"
    return answer


def in_turn(request: HttpRequest, parts: Iterator[bytes]) -> AsyncIterator[bytes] | Iterator[bytes]:
    """The parts as the server takes them: one that is asynchronous would gather all before it sends any."""
    return _in_turn(parts) if isinstance(request, ASGIRequest) else parts


async def _in_turn(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    take = sync_to_async(lambda: next(parts, None))
    while (part := await take()) is not None:
        yield part
