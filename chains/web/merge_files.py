"""Before and after of a merge as a file, of one that is planned and of one that is on record."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from chains.core.names import display
from chains.core.plans import Plan, PlanError
from chains.core.states import MergeState
from chains.diagrams.merge_paper import merge_dot
from chains.diagrams.render import RenderError, render_plain
from chains.inventory import selectors
from chains.inventory.asking import BadRequestError
from chains.merges import selectors as merge_selectors
from chains.merges.services import picture
from chains.merges.situation import plans_from_inventory
from chains.models import Disk
from chains.permissions import Action
from chains.web import asking
from chains.web.guard import needs
from chains.web.pictures import before_after_nodes
from chains.web.reads_files import TYPES


@require_safe
@needs(Action.VIEW)
def merge_file(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """The chain of a merge on record."""
    found = get_object_or_404(merge_selectors.merges(), pk=pk)
    plan = Plan.from_json(found.plan)
    planned = found.state not in {MergeState.CANCELLED, MergeState.FAILED} and not found.is_undo
    nodes = before_after_nodes(found.picture, plan, found.undoes_id or found.pk, planned=planned)
    if found.is_undo:
        nodes = nodes[::-1]
    return _file(kind, f"merge-{pk}", found.disk_name, nodes)


@require_safe
@needs(Action.VIEW)
def plan_file(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """The chain of a merge that the address plans: base, top and strategy as on the page of the plan."""
    disk = get_object_or_404(Disk.objects.select_related("active", "domain"), pk=pk)
    base, top, wish = asking.chosen(disk, selectors.chain_of(disk.active), request.GET)
    try:
        plans = [] if "nothing" in wish else plans_from_inventory(base, top)
    except PlanError as error:
        raise BadRequestError(str(error)) from error
    if not plans:
        raise Http404(_("There is nothing to join."))
    wanted = request.GET.get("strategy", "")
    plan = next((plan for plan in plans if plan.strategy == wanted), plans[0])
    return _file(kind, f"plan-{pk}", disk.name, before_after_nodes(picture(top), plan, "N"))


def _file(kind: str, name: str, disk: str, nodes: tuple[Any, Any]) -> HttpResponse:
    title = _("Merge of %(disk)s") % {"disk": display(disk)}
    source = merge_dot(title, *nodes, (_("Before the merge"), _("After the merge")))
    try:
        content = source.encode() if kind == "dot" else render_plain(source, kind)
    except RenderError as error:
        raise BadRequestError(str(error)) from error
    answer = HttpResponse(content, content_type=TYPES[kind])
    answer["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    answer["Cache-Control"] = "no-store"
    return answer
