"""What a domain allows its merges, and what they keep aside: the buttons of the domain's and merge's pages."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from chains.inventory.asking import BadRequestError
from chains.merges import policies, services
from chains.merges import selectors as merge_selectors
from chains.models import Merge, StorageDomain
from chains.permissions import Action
from chains.web import drafts
from chains.web.guard import needs, origin, person
from chains.words.prose import prose

FIELDS = ("keep", "merges_at_once", "window", "rate")


def card(request: HttpRequest, domain: StorageDomain) -> dict[str, Any]:
    """What the domain's page shows of its merges."""
    size, kept = merge_selectors.reclaimable(domain)
    draft = drafts.take(request, f"policy:{domain.pk}")
    return {
        "policy": policies.Policy.of(domain).to_words() | dict(draft.words), "policy_wrong": draft.why,
        "kept_bytes": size, "kept": kept, "queue": merge_selectors.queue_of(domain),
    }  # fmt: skip


@require_POST
@needs(Action.MANAGE_DOMAINS)
def policy(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what the domain allows."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    words = {
        name: request.POST[name].replace("\x00", "") for name in FIELDS if name in request.POST
    }
    try:
        wanted = policies.Policy.from_words(words, policies.Policy.of(domain))
        policies.set_policy(domain, wanted, person(request), origin(request))
    except BadRequestError as error:
        drafts.keep(request, f"policy:{pk}", words, str(error))
    else:
        messages.success(request, _("Saved."))
    return redirect("domain", pk=pk)


@require_POST
@needs(Action.MERGE)
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause the domain's queue, or resume it."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    paused = request.POST.get("paused") == "1"
    policies.set_paused(domain, paused, person(request), origin(request))
    return redirect("domain", pk=pk)


@require_POST
@needs(Action.MERGE)
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a merge back."""
    merge = get_object_or_404(Merge.objects.select_related("domain"), pk=pk)
    try:
        back = services.request_undo(merge, person(request), origin(request))
    except services.RefusedError as error:
        messages.error(request, prose(str(error)))
        return redirect("merge", pk=pk)
    return redirect("merge", pk=back.pk)


@require_POST
@needs(Action.MERGE)
def purge(request: HttpRequest, pk: int) -> HttpResponse:
    """Give back at once what a merge keeps aside."""
    merge = get_object_or_404(Merge.objects.select_related("domain"), pk=pk)
    try:
        services.request_purge(merge, person(request), origin(request))
    except services.RefusedError as error:
        messages.error(request, prose(str(error)))
    return redirect("domain" if request.POST.get("next") == "domain" else "merge",
                    pk=merge.domain_id if request.POST.get("next") == "domain" else pk)  # fmt: skip
