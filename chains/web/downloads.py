"""A list as a file: sent while it is read."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.text import compress_sequence
from django.utils.translation import gettext as _

from chains.inventory.asking import BadRequestError
from chains.inventory.exports import TYPES

# So that the length of a packed answer does not tell what is in it.
RANDOM_BYTES: Final = 100


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
    answer = streamed(request, parts, TYPES[kind])
    answer["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return answer


def streamed(
    request: HttpRequest, parts: Iterator[bytes], content_type: str
) -> StreamingHttpResponse:
    """An answer that is sent while its parts are made, as one compressed stream where the browser takes it.

    Django's middleware would compress each part of an asynchronous answer by itself: browsers read the
    first of such parts, and believe that it was all.
    """
    is_packed = "gzip" in request.headers.get("Accept-Encoding", "")
    if is_packed:
        parts = compress_sequence(parts, max_random_bytes=RANDOM_BYTES)
    # Without this, a server that is asynchronous would gather everything before it sends a byte.
    sent = _in_turn(parts) if isinstance(request, ASGIRequest) else parts
    answer = StreamingHttpResponse(sent, content_type=content_type)
    # Said also of what is not packed: the middleware leaves alone what has an encoding.
    answer["Content-Encoding"] = "gzip" if is_packed else "identity"
    patch_vary_headers(answer, ("Accept-Encoding",))
    answer["Cache-Control"] = "no-store"
    return answer


async def _in_turn(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    take = sync_to_async(lambda: next(parts, None))
    while (part := await take()) is not None:
        yield part
