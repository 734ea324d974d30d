"""Who may see a page: the decorator that every view carries."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext, gettext_noop

from chains.inventory import audit
from chains.inventory.asking import BadRequestError
from chains.permissions import Action, allows
from chains.web.errors import bad_request, forbidden

View = Callable[..., HttpResponseBase]
_REFUSALS = {
    Action.VIEW: gettext_noop("Your role may not view."),
    Action.SCAN: gettext_noop("Your role may not scan."),
    Action.MERGE: gettext_noop("Your role may not merge."),
    Action.LEARN: gettext_noop("Your role may not run the lesson."),
    Action.MANAGE_DOMAINS: gettext_noop("Your role may not manage domains."),
    Action.MANAGE_PEOPLE: gettext_noop("Your role may not manage people."),
}


def needs(action: Action) -> Callable[[View], View]:
    """Only for people who may do this; the others get our 403 page, and what makes no sense our 400."""

    def wrap(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not allows(request.user, action):
                return refuse(request, action)
            try:
                return view(request, *args, **kwargs)
            except BadRequestError as error:
                return bad_request(request, error)

        return guarded

    return wrap


def refuse(request: HttpRequest, action: Action) -> HttpResponse:
    """Our 403 page, for an action."""
    # Returned, not raised: for Django's log a refusal that is raised is worth a traceback.
    return forbidden(request, PermissionDenied(gettext(_REFUSALS[action])))


def origin(request: HttpRequest) -> str:
    """Where a request came from, for the audit record."""
    return audit.origin_of(request.META)


def person(request: HttpRequest) -> Any:
    """Who asks: `needs` has let nobody pass who is not signed in."""
    return request.user
