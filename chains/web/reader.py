"""Who reads: the language and the zone of a request, and the words of the scripts."""

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone, translation
from django.utils.cache import patch_cache_control
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.http import require_safe
from django.views.i18n import JavaScriptCatalog

from chains.words.address import DOMAIN

ZONE_COOKIE = "strata_zone"
_CONTRACT = "/api/"
_YEAR = 365 * 86_400
# Files that some systems keep among the zones.
_NO_ZONES = {"localtime", "posixrules", "Factory"}


def _is_contract(request: HttpRequest) -> bool:
    """Whether a program asks: it gets the same words and the same zone, whoever is signed in."""
    return request.path_info.startswith(_CONTRACT)


class LanguageMiddleware(LocaleMiddleware):
    """The reader's choice, else what the browser asks for; the API speaks English."""

    def process_request(self, request: HttpRequest) -> None:
        """Choose it."""
        if _is_contract(request):
            translation.activate(settings.LANGUAGE_CODE)
            request.LANGUAGE_CODE = translation.get_language()
        else:
            super().process_request(request)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Say which it was; the API's answers depend on nothing."""
        return response if _is_contract(request) else super().process_response(request, response)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_ZONES


def zone_of(request: HttpRequest) -> str:
    """The reader's zone as their browser names it; "" when it is not known, or no zone."""
    name = request.COOKIES.get(ZONE_COOKIE, "")
    return name if name in _zones() else ""


class ZoneMiddleware(MiddlewareMixin):
    """Times in the reader's zone, where the browser has told it; else in that of the site."""

    def process_request(self, request: HttpRequest) -> None:
        """Choose it."""
        name = "" if _is_contract(request) else zone_of(request)
        if name:
            timezone.activate(ZoneInfo(name))
        else:
            timezone.deactivate()


@login_not_required
@require_safe
def words(request: HttpRequest, language: str, version: str) -> HttpResponseBase:
    """The words of the scripts; kept by the browser, for the address changes with them."""
    if language not in dict(settings.LANGUAGES):
        raise Http404
    with translation.override(language):
        answer = JavaScriptCatalog.as_view(domain=DOMAIN, packages=["chains"])(request)
    patch_cache_control(answer, public=True, max_age=_YEAR, immutable=True)
    return answer
