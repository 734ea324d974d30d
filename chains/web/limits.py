"""The thresholds of findings: the page for all domains, and the form of each domain's page."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from chains.core.thresholds import LABELS
from chains.inventory import limits, registering, services
from chains.inventory.asking import BadRequestError
from chains.models import StorageDomain
from chains.permissions import Action, allows
from chains.web import drafts
from chains.web.guard import needs, origin, person, refuse
from chains.words.prose import prose


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.VIEW)
def thresholds(request: HttpRequest) -> HttpResponse:
    """The thresholds of all domains; a POST by somebody who manages domains changes them."""
    if request.method == "POST":
        if not allows(request.user, Action.MANAGE_DOMAINS):
            return refuse(request, Action.MANAGE_DOMAINS)
        if _save(request, None) and request.POST.get("scan"):
            limits.scan_all(person(request), origin(request))
        return redirect("thresholds")
    domains = StorageDomain.objects.order_by("name")
    own = [domain for domain in domains.only("name", "thresholds") if domain.thresholds]
    context = {**_form(request, None), "own": own}
    return render(request, "web/thresholds.html", context)


def card(request: HttpRequest, domain: StorageDomain) -> dict[str, Any]:
    """What the domain's page shows of its thresholds and its schedule."""
    draft = drafts.take(request, f"schedule:{domain.pk}")
    scan_every = draft.words.get("scan_every", "")
    return {**_form(request, domain), "scan_every": scan_every, "schedule_wrong": draft.why}


def _form(request: HttpRequest, domain: StorageDomain | None) -> dict[str, Any]:
    draft = drafts.take(request, _named(domain))
    rows = limits.limits_of(domain)
    rows = [row._replace(here=draft.words.get(row.name, row.here)) for row in rows]
    return {"limits": rows, "limits_wrong": draft.why}


def _named(domain: StorageDomain | None) -> str:
    return f"limits:{domain.pk if domain is not None else 'all'}"


@require_POST
@needs(Action.MANAGE_DOMAINS)
def domain_thresholds(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what one domain is judged by."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    if _save(request, domain) and request.POST.get("scan"):
        services.request_scan(domain, person(request), origin(request))
    return redirect("domain", pk=pk)


@require_POST
@needs(Action.MANAGE_DOMAINS)
def schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Change how often a domain is scanned."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    words = request.POST.get("scan_every", "").replace("\x00", "")
    try:
        seconds = registering.seconds_of(words)
        registering.set_schedule(domain, seconds, person(request), origin(request))
    except BadRequestError as error:
        drafts.keep(request, f"schedule:{pk}", {"scan_every": words[:80]}, str(error))
    else:
        messages.success(request, _("Saved."))
    return redirect("domain", pk=pk)


def _words(asked: QueryDict) -> dict[str, str]:
    return {name: asked.get(name, "").replace("\x00", "")[:80] for name in LABELS}


def _save(request: HttpRequest, domain: StorageDomain | None) -> bool:
    try:
        values = limits.from_words(_words(request.POST))
        limits.set_thresholds(domain, values, person(request), origin(request))
    except BadRequestError as error:
        drafts.keep(request, _named(domain), _words(request.POST), str(error))
        return False
    messages.success(request, f"{_('Saved.')} {prose(limits.EFFECT)}")
    return True
