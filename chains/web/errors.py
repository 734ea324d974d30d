"""Error pages of our own: what happened, and what to do next.

They are rendered without the request: Django calls these in any thread, where a look at the session
would leave a database connection behind that nobody closes.
"""

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from chains import VERSION
from chains.inventory.asking import BadRequestError


def _page(name: str, status: int, **context: str) -> HttpResponse:
    return HttpResponse(render_to_string(name, {"version": VERSION, **context}), status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400; with the reason where it is one of ours, for Django's are for programmers."""
    ours = isinstance(exception, BadRequestError)
    return _page("400.html", 400, reason=str(exception) if ours else "")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return _page("403.html", 403, reason=str(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    return _page("404.html", 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500."""
    return _page("500.html", 500)
