"""Says for whom a request acts, so that what Django changes by itself is recorded with the right name."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

from chains.inventory import audit

Answer = Callable[[HttpRequest], Any]


def _acting(request: HttpRequest) -> audit.Acting:
    # The person is looked up when a change is made: most requests make none.
    return audit.Acting(lambda: getattr(request, "user", None), audit.origin_of(request.META))


@sync_and_async_middleware
def acting(get_response: Answer) -> Answer | Callable[[HttpRequest], Awaitable[Any]]:
    """The middleware, for either kind of server."""
    if iscoroutinefunction(get_response):

        async def answer_later(request: HttpRequest) -> Any:
            token = audit.acting.set(_acting(request))
            try:
                return await get_response(request)
            finally:
                audit.acting.reset(token)

        return answer_later

    def answer(request: HttpRequest) -> Any:
        token = audit.acting.set(_acting(request))
        try:
            return get_response(request)
        finally:
            audit.acting.reset(token)

    return answer
