"""The chain of a disk, in its page and on a page of its own: drawn, in words, as a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from chains.diagrams.chain_dot import chain_dot, runs
from chains.diagrams.types import DrawnVolume
from chains.inventory import blockmaps, selectors
from chains.models import Disk, Finding, Volume
from chains.permissions import Action
from chains.web import pictures
from chains.web.drawings import age, drawing, drawing_file
from chains.web.guard import needs
from chains.words.numbers import binary

FOLD_OVER = 24
MOST_LAYERS = 2000
MOST_GUESTS = 12
# Of a long chain only so many layers are told in words; the table has them all.
MOST_WORDS = 400


@dataclass(frozen=True)
class Told:
    """A layer in words: what it stands on, and the guests that read through it."""

    key: str
    volume: Volume
    below: Sequence[Volume]
    guests: Sequence[tuple[int, str]]
    more_guests: bool


@dataclass(frozen=True)
class Chain:
    """The layers of a disk, top first, with what their picture says of them."""

    disk: Disk
    volumes: list[Volume]
    roles: Mapping[int, str]
    findings: Sequence[Finding]
    shadows: Mapping[int, int]

    def nodes(self) -> list[DrawnVolume]:
        """The layers as the diagram takes them, and what the lowest stands on."""
        marks = pictures.worst(self.findings)
        codes: dict[int, list[str]] = {}
        for finding in self.findings:
            if finding.volume_id is not None:
                codes.setdefault(finding.volume_id, []).append(finding.code)
        now = timezone.now()
        drawn = [
            replace(
                pictures.drawn(volume, self.roles[volume.pk], marks.get(volume.pk, "")),
                note=", ".join(dict.fromkeys(codes.get(volume.pk, ()))),
                about=self._about(volume, (now - volume.modified).days),
                shadowed=self.shadows.get(volume.pk),
            )
            for volume in self.volumes
        ]
        foot = self.volumes[-1]
        below = pictures.foot(foot, missing="backing-missing" in codes.get(foot.pk, ()))
        return drawn if below is None else [*drawn, below]

    def _about(self, volume: Volume, days: int) -> str:
        parts = [age(days)]
        if hidden := self.shadows.get(volume.pk):
            parts.append(_("%(size)s shadowed") % {"size": binary(hidden)})
        if volume.in_use:
            parts.append(_("in use"))
        return " · ".join(parts)

    def told(self) -> list[Told]:
        """Every layer in words."""
        beside = selectors.disks_beside(self.volumes, MOST_GUESTS * 4)
        own = (self.disk.pk, self.disk.name)
        told, guests = [], [own]
        for place, volume in enumerate(self.volumes[:MOST_WORDS]):
            guests = [
                *guests,
                *((disk, name) for layer, disk, name in beside if layer == volume.pk),
            ]
            told.append(Told(
                f"v{volume.pk}", volume, self.volumes[place + 1 :][:2], guests[:MOST_GUESTS],
                len(guests) > MOST_GUESTS,
            ))  # fmt: skip
        return told


def roles(volumes: list[Volume], overlays: Mapping[int, int]) -> dict[int, str]:
    """What each layer of a chain is, a preview too."""
    kinds = pictures.roles(volumes, overlays)
    if kinds[volumes[0].pk] == "active" and selectors.is_preview(volumes[0]):
        kinds[volumes[0].pk] = "preview"
    return kinds


def read(disk: Disk) -> Chain:
    """The chain of a disk as the database has it."""
    volumes = selectors.chain_of(disk.active)
    return Chain(
        disk, volumes, roles(volumes, selectors.overlay_counts(volumes)),
        list(selectors.findings_of(volumes)), blockmaps.stored_shadows(disk, volumes),
    )  # fmt: skip


def card(found: Chain, words: Any, *, wait: bool) -> dict[str, Any]:
    """What the disk's page shows of its chain; with `wait` a large picture is left to its own page."""
    nodes = found.nodes()
    source, opened = _source(nodes, words)
    asked = {name: words[name] for name in ("all", "open") if words.get(name)}
    own = reverse("disk-chain", args=[found.disk.pk])
    title = _("Chain of %(disk)s") % {"disk": found.disk.name}
    picture = drawing([source], title, source.count("dg-volume"), own=own, words=asked, wait=wait)
    return {
        "chain": picture, "chain_open": opened and "#chain", "chain_told": found.told(),
        "chain_all": len(nodes) > FOLD_OVER and not opened,
    }  # fmt: skip


def _source(nodes: Sequence[DrawnVolume], words: Any) -> tuple[str, bool]:
    """The DOT of a chain as an address asks for it, and whether a run of it stands open."""
    opened, whole = words.get("open", ""), "all" in words
    source = chain_dot(
        nodes, fold_over=MOST_LAYERS if whole else FOLD_OVER, unfold_url="?open=KEY#chain",
        opened=opened, bars=True,
    )  # fmt: skip
    is_open = any(len(run) > 1 and run[0].key == opened for run in runs(nodes, FOLD_OVER))
    return source, is_open or (whole and len(nodes) > FOLD_OVER)


@require_safe
@needs(Action.VIEW)
def chain(request: HttpRequest, pk: int) -> HttpResponse:
    """The chain on a page of its own: drawn however long it takes."""
    disk = get_object_or_404(Disk.objects.select_related("active", "domain"), pk=pk)
    context = {
        "disk": disk, "domain": disk.domain, **card(read(disk), request.GET, wait=False),
    }  # fmt: skip
    return render(request, "web/chain.html", context)


@require_safe
@needs(Action.VIEW)
def chain_file(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """The chain as this address asks for it, as a file."""
    disk = get_object_or_404(Disk.objects.select_related("active", "domain"), pk=pk)
    source, _open = _source(read(disk).nodes(), request.GET)
    title = _("Chain of %(disk)s") % {"disk": disk.name}
    return drawing_file(source, kind, name=f"chain-{disk.pk}", title=title)
