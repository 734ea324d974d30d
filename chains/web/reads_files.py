"""The picture of redirected reads as a file: SVG, PNG, DOT."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from chains.core.names import display
from chains.diagrams.reads_dot import reads_dot
from chains.diagrams.reads_paper import Key, paper_dot, span_words, svg_file
from chains.diagrams.render import RenderError, render_plain, render_svg
from chains.diagrams.types import ReadsPicture
from chains.inventory import selectors
from chains.inventory.asking import BadRequestError
from chains.models import BlockMap, Disk, Volume
from chains.permissions import Action
from chains.web.guard import needs
from chains.web.reads import Shown, part_of
from chains.web.reads_picture import picture
from chains.words.numbers import binary, exact

TYPES = {"svg": "image/svg+xml", "png": "image/png", "dot": "text/vnd.graphviz; charset=utf-8"}
# What the legend of a file may have.
MOST_KEYS = 24


@require_safe
@needs(Action.VIEW)
def reads_file(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """The part of a disk's reads that the address asks for, to keep."""
    disk = get_object_or_404(Disk.objects.select_related("active", "domain"), pk=pk)
    volumes = selectors.chain_of(disk.active)
    row = BlockMap.objects.filter(disk=disk, error="").defer("data").first()
    shown = None if row is None else part_of(row, volumes, request.GET)
    if shown is None:
        raise Http404(_("The block map of this disk has not been read yet."))
    try:
        answer = HttpResponse(_drawn(kind, disk, volumes, shown), content_type=TYPES[kind])
    except RenderError as error:
        raise BadRequestError(str(error)) from error
    answer["Content-Disposition"] = f'attachment; filename="reads-{disk.pk}.{kind}"'
    answer["Cache-Control"] = "no-store"
    return answer


def _drawn(kind: str, disk: Disk, volumes: list[Volume], shown: Shown) -> bytes:
    """Raises RenderError."""
    wish = shown.wish
    view = picture(disk, volumes, shown.part, wish, shown.answer)
    title = _("Redirected reads of %(disk)s") % {"disk": display(disk.name)}
    subtitle = span_words(wish.start, wish.length, wish.size)
    keys = list(_keys(view, shown))
    if kind == "svg":
        drawn = render_svg(reads_dot(view), title=title)
        return svg_file(drawn, title, subtitle, keys, by_hops=wish.by_hops)
    source = paper_dot(view, title, subtitle, keys)
    return render_plain(source, kind) if kind == "png" else source.encode()


def _keys(view: ReadsPicture, shown: Shown) -> Iterator[Key]:
    """The layers that answer something in the part that is shown, with their exact bytes."""
    sums = [int(total) for total in shown.part.answered.sum(axis=1)]
    told = [index for index, total in enumerate(sums) if total][:MOST_KEYS]
    for index in told:
        name = display(os.path.basename(view.rows[index].path))
        yield Key(
            index,
            _("%(layer)s: %(size)s (%(bytes)s), hops: %(hops)s")
            % {"layer": name, "hops": index, **_size(sums[index])},
        )
    if left := sum(sums) - sum(sums[index] for index in told):
        yield Key(-1, _("other layers: %(size)s (%(bytes)s)") % _size(left))
    if nobody := int(shown.part.unanswered.sum()):
        yield Key(-1, _("no layer: %(size)s (%(bytes)s), reads as zeroes") % _size(nobody))


def _size(value: int) -> dict[str, str]:
    return {"size": binary(value), "bytes": exact(value)}
