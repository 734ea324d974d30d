"""The pages. Thin: a view asks `permissions`, reads `selectors`, calls `services`, and renders."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chains.core.advice import advice
from chains.core.errors import StrataError
from chains.core.plans import Plan, PlanError
from chains.core.states import MergeState
from chains.inventory import selectors, services
from chains.merges import describe, estimates
from chains.merges import selectors as merge_selectors
from chains.merges import services as merge_services
from chains.merges.batches import batches
from chains.merges.options import DEFAULT
from chains.merges.situation import AUTO, plans_from_inventory
from chains.models import Disk, Merge, StorageDomain, Volume
from chains.permissions import Action, allows
from chains.qemu.command import shown
from chains.web import asking, chain, forest, lists, past, pictures, policies, scans
from chains.web import limits as limit_forms
from chains.web.downloads import wanted
from chains.web.flow import flow
from chains.web.guard import needs, origin, person, refuse
from chains.web.reads import reads
from chains.words.prose import prose

# Of a domain's findings its own page shows the worst; they have a page for themselves.
FINDINGS = 20
# How many overlays and disks the page of a volume lists: a template may have ten thousand.
BESIDE = 200


@require_safe
@needs(Action.VIEW)
def domains(request: HttpRequest) -> HttpResponse:
    """All storage domains."""
    context = {"domains": list(selectors.domains()), "silent_hosts": selectors.silent_hosts()}
    return render(request, "web/domains.html", context)


@require_safe
@needs(Action.VIEW)
def domain(request: HttpRequest, pk: int) -> HttpResponseBase:
    """One domain: its disks, its findings, its forest."""
    found = get_object_or_404(selectors.domains(), pk=pk)
    if kind := wanted(request):
        return lists.disks_file(request, found, kind)
    context = {
        "domain": found, "findings": list(selectors.worst_of(found)[:FINDINGS]),
        **forest.card(found, request.GET, wait=True),
        "silent": not selectors.worker_alive(found.storage_host), **policies.card(request, found),
        **lists.disks_card(request, found), **past.domain_card(found), **limit_forms.card(request, found),
    }  # fmt: skip
    return lists.remembered(render(request, "web/domain.html", context), context)


@require_POST
@needs(Action.SCAN)
def domain_scan(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask a worker for a scan."""
    found = get_object_or_404(StorageDomain, pk=pk)
    services.request_scan(found, person(request), origin(request))
    if not selectors.worker_alive(found.storage_host):
        messages.warning(
            request,
            _("No worker of %(host)s is alive: the scan waits for one.")
            % {"host": found.storage_host},
        )
    return _back(request, redirect("domain", pk=pk))


def _back(request: HttpRequest, otherwise: HttpResponse) -> HttpResponse:
    """To the page that the form stood on, when that is the list of domains."""
    return redirect("domains") if request.POST.get("next") == "domains" else otherwise


@require_safe
@needs(Action.VIEW)
def volume(request: HttpRequest, pk: int) -> HttpResponse:
    """One volume: what its header says, what hangs on it, which disks read through it."""
    found = get_object_or_404(Volume.objects.select_related("domain", "backing"), pk=pk)
    findings, overlays = list(selectors.findings_of([found])[:BESIDE]), found.overlays.count()
    context = scans.card(found, overlays, findings) | {
        "volume": found, "overlays": list(found.overlays.only("path_text", "backing")[:BESIDE]),
        "findings": findings, "disks": selectors.disks_above(found, BESIDE), "most": BESIDE,
    }  # fmt: skip
    return render(request, "web/volume.html", context)


@require_safe
@needs(Action.VIEW)
def disk(request: HttpRequest, pk: int) -> HttpResponse:
    """One disk: its chain, its redirected reads, and the way to a merge."""
    found = get_object_or_404(Disk.objects.select_related("active", "domain"), pk=pk)
    volumes = selectors.chain_of(found.active)
    findings = list(selectors.findings_of(volumes))
    overlays = selectors.overlay_counts(volumes)
    shown_reads = reads(found, volumes, request.GET)
    if shown_reads.state in {"computing", "changed"}:
        services.request_blocks(found, person(request))
    else:
        services.freshen_blocks(found, person(request))
    kinds = chain.roles(volumes, overlays)
    layers = chain.Chain(found, volumes, kinds, findings, shown_reads.shadows)
    context = {
        "disk": found, "domain": found.domain, "findings": findings, "reads": shown_reads,
        "layers": [(v, kinds[v.pk]) for v in volumes],
        **chain.card(layers, request.GET, wait=True),
        "merge": merge_services.holding(volumes[-1]), "silent": not selectors.worker_alive(found.domain.storage_host),
        "can_plan": len(volumes) > 1, "twins": selectors.twins(found), **past.disk_card(found),
    }  # fmt: skip
    return render(request, "web/disk.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Action.VIEW)
def merge_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """The plan of base…top; a POST by somebody who may merge carries it out."""
    found = get_object_or_404(Disk.objects.select_related("active", "domain"), pk=pk)
    volumes = selectors.chain_of(found.active)
    chosen = request.POST if request.method == "POST" else request.GET
    base, top, wish = asking.chosen(found, volumes, chosen)
    errors: list[str] = []
    if request.method == "POST":
        if not allows(request.user, Action.MERGE):
            return refuse(request, Action.MERGE)
        try:
            started = merge_services.request_merge(
                base, top, person(request), origin(request),
                strategy=request.POST.get("strategy", AUTO), confirmed=request.POST.get("plan", ""),
                options=asking.options(request.POST),
            )  # fmt: skip
        except merge_services.RefusedError as error:
            errors = error.reasons
        except StrataError as error:
            errors = [str(error)]
        else:
            return HttpResponseRedirect(f"/merges/{started.pk}/")
    context = {"disk": found, "domain": found.domain, "layers": volumes, "base": base, "top": top,
               "errors": errors, **wish}  # fmt: skip
    if "nothing" not in wish:
        context |= _plan_context(volumes, base, top, chosen.get("strategy", AUTO))
    if context.get("plan") and context["plan"].bytes_to_copy is None:
        services.request_blocks(found, person(request))
    return render(request, "web/merge_plan.html", context, status=409 if errors else 200)


def _plan_context(
    volumes: list[Volume], base: Volume, top: Volume, strategy: str
) -> dict[str, Any]:
    try:
        found = plans_from_inventory(base, top)
    except PlanError as error:
        return {"plan": None, "plan_error": str(error)}
    plan = next((plan for plan in found if plan.strategy == strategy), found[0])
    before, after = pictures.before_after(merge_services.picture(top), plan, "N")
    domain = volumes[0].domain
    return {
        "plan": plan, "digest": merge_services.plan_digest(plan), "before": before, "after": after,
        "ways": [(way, estimates.seconds(way, DEFAULT, domain)) for way in found],
        "advice": advice(found), "space": describe.Space.of(plan, volumes),
        "commands": {
            step: [shown(argv) for argv in argvs]
            for step, argvs in describe.steps(plan, volumes).items()
        },
    }  # fmt: skip


@require_safe
@needs(Action.VIEW)
def merge(request: HttpRequest, pk: int) -> HttpResponse:
    """One merge, live."""
    found = get_object_or_404(merge_selectors.merges(), pk=pk)
    plan = Plan.from_json(found.plan)
    undone = found.state in {MergeState.CANCELLED, MergeState.FAILED}
    number = found.undoes_id or found.pk
    planned = not undone and not found.is_undo
    before, after = pictures.before_after(found.picture, plan, number, planned=planned)
    if found.is_undo:
        before, after = after, before
    live = merge_selectors.merge_live(pk)
    context = {
        "merge": found, "live": live, "plan": plan, "flow": flow(found, plan, live),
        "before": before, "after": after, "domain": found.domain,
        "silent": not selectors.worker_alive(found.domain.storage_host),
    }  # fmt: skip
    return render(request, "web/merge.html", context)


@require_POST
@needs(Action.MERGE)
def merge_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for the merge to be taken back."""
    return _act(request, pk, merge_services.cancel)


@require_POST
@needs(Action.MERGE)
def merge_resume(request: HttpRequest, pk: int) -> HttpResponse:
    """Go on with a merge that needed attention."""
    return _act(request, pk, merge_services.resume)


def _act(request: HttpRequest, pk: int, service: Callable[[Merge, Any, str], None]) -> HttpResponse:
    found = get_object_or_404(Merge, pk=pk)
    try:
        service(found, person(request), origin(request))
    except merge_services.RefusedError as error:
        messages.error(request, prose(str(error)))
    return redirect("merge", pk=pk)


@require_safe
@needs(Action.VIEW)
def activity(request: HttpRequest) -> HttpResponseBase:
    """Merges and scans, running and past; with `format` all of them as a file."""
    if kind := wanted(request):
        return lists.activity_file(request, kind)
    context = {"merges": list(merge_selectors.merges()[:100]), "scans": list(selectors.scans()),
               "batches": list(batches()[:20])}  # fmt: skip
    return render(request, "web/activity.html", context)
