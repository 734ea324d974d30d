"""Error pages of our own: what happened, and what to do next.

They are rendered without the request: Django calls these in any thread, where a look at the session
would leave a database connection behind that nobody closes.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import translation

from chains import VERSION
from chains.inventory.asking import BadRequestError

_API = "/api/"


def _page(request: HttpRequest, name: str, status: int, **context: str) -> HttpResponse:
    # An error may come before the language of the request was chosen.
    with translation.override(translation.get_language_from_request(request)):
        text = render_to_string(name, {"version": VERSION, **context})
    return HttpResponse(text, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400; with the reason where it is one of ours, for Django's are for programmers."""
    ours = isinstance(exception, BadRequestError)
    return _page(request, "400.html", 400, reason=str(exception) if ours else "")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return _page(request, "403.html", 403, reason=str(exception))


class OwnRefusals:
    """Middleware: who opens the address of a button gets a page, not an empty answer."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """405 with our page, for those that are looked at."""
        response = self.get_response(request)
        if response.status_code != 405 or request.method != "GET" or request.path.startswith(_API):
            return response
        page = _page(request, "405.html", 405)
        page.headers["Allow"] = response.headers.get("Allow", "")
        return page


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    return _page(request, "404.html", 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500."""
    return _page(request, "500.html", 500)
