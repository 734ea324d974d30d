"""The first page: what runs, what needs somebody, where room runs out, what could be won."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from chains.core.states import MergeState
from chains.inventory import overview as inventory
from chains.inventory import selectors
from chains.merges.recent import recent
from chains.merges.selectors import merges
from chains.permissions import Action
from chains.web.guard import needs

RECENT, STUCK = 10, 20


@require_safe
@needs(Action.VIEW)
def overview(request: HttpRequest) -> HttpResponse:
    """Everything at a glance."""
    domains = list(inventory.fullest()[: inventory.ROOM + 1])
    stuck = merges().filter(state=MergeState.ATTENTION.value)
    context = {
        "attention": inventory.attention(), "stuck": list(stuck[:STUCK]),
        "silent_hosts": selectors.silent_hosts(), "domains": domains[: inventory.ROOM],
        "more_domains": len(domains) > inventory.ROOM, "wins": inventory.wins(),
        "recent": recent(RECENT),
    }  # fmt: skip
    return render(request, "web/overview.html", context)
