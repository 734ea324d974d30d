"""From rows to diagrams: SVG text ready to stand in a page, cached by its content."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from django.core.cache import cache as stored
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from chains.core.costs import Strategy
from chains.core.plans import Plan
from chains.diagrams.chain_dot import chain_dot
from chains.diagrams.render import RenderError, digest, render_many
from chains.diagrams.types import DrawnVolume, Mark
from chains.models import Finding, Volume
from chains.words.prose import prose

CACHE_SECONDS = 24 * 3600
_RANK = {"": 0, "info": 1, "warning": 2, "critical": 3}


def svg(source: str, title: str) -> SafeString:
    """One diagram; when it can not be drawn, the reason stands in its place."""
    return many([source], title)[0]


def many(sources: Sequence[str], title: str) -> list[SafeString]:
    """Several diagrams in one call of the tool; when they can not be drawn, the one reason."""
    if (known := kept(sources, title)) is not None:
        return known
    try:
        drawn = render_many(sources, title=title)
    except RenderError as error:
        return [_message(prose(str(error)))]
    # Without a place to keep it, the next one draws it again.
    with suppress(OSError):
        stored.set(_key(sources, title), drawn, CACHE_SECONDS)
    return _safe(drawn)


def kept(sources: Sequence[str], title: str) -> list[SafeString] | None:
    """The same when it has been drawn lately, by whichever process of this machine; else None."""
    try:
        drawn = stored.get(_key(sources, title))
    except OSError:
        return None
    return None if drawn is None else _safe(drawn)


def _key(sources: Sequence[str], title: str) -> str:
    return f"svg:{digest(chr(0).join(sources))}:{digest(title)}"


def _safe(drawn: Sequence[str]) -> list[SafeString]:
    # The renderer rebuilds the SVG element by element and escapes all text: see diagrams/svg.py.
    return [mark_safe(text) for text in drawn]  # noqa: S308


def _message(text: str) -> SafeString:
    return format_html('<p class="empty">{}</p>', text)


def worst(findings: Sequence[Finding]) -> dict[int, str]:
    """The worst severity on each volume."""
    found: dict[int, str] = {}
    for finding in findings:
        if finding.volume_id is not None:
            before = found.get(finding.volume_id, "")
            found[finding.volume_id] = max(before, finding.severity, key=_RANK.__getitem__)
    return found


def drawn(volume: Volume, role: str, severity: str = "") -> DrawnVolume:
    """A volume as the diagrams take it, a link to its page on it."""
    return DrawnVolume(
        key=f"v{volume.pk}", name=os.path.basename(volume.path), path=volume.path,
        format=volume.format, virtual_size=volume.virtual_size, on_disk=volume.on_disk, role=role,
        url=f"{_volumes()}{volume.pk}/", severity=severity,
        note=_("in use") if volume.in_use else "",
    )  # fmt: skip


@cache
def _volumes() -> str:
    """What the addresses of volumes begin with: a thousand of them are needed at once."""
    return reverse("volume", args=[0]).removesuffix("0/")


def absent(key: str, recorded: str, role: str) -> DrawnVolume:
    """A backing file that is named but is not a volume of the domain."""
    return DrawnVolume(
        key,
        os.path.basename(recorded) or recorded,
        recorded,
        "",
        None,
        None,
        role,
        severity="critical",
    )


def roles(volumes: Sequence[Volume], overlays: Mapping[int, int]) -> dict[int, str]:
    """What each volume is: by its place in the chain and the number of its overlays."""
    found = {}
    for volume in volumes:
        count = overlays.get(volume.pk, 0)
        if count == 0:
            found[volume.pk] = "active" if volume.backing_file is not None else "root"
        elif count > 1:
            found[volume.pk] = "template"
        else:
            found[volume.pk] = "snapshot" if volume.backing_file is not None else "root"
    return found


def foot(volume: Volume, *, missing: bool) -> DrawnVolume | None:
    """What the lowest known layer stands on, when that is no volume of the domain."""
    if volume.backing_file is None or volume.backing_id is not None:
        return None
    role = "missing" if missing else "outside"
    return absent(f"x{volume.pk}", volume.backing_file, role)


def before_after(
    picture: list[dict[str, Any]], plan: Plan, number: int | str, *, planned: bool = True
) -> tuple[SafeString, SafeString]:
    """The chain as a merge finds it and as it leaves it; unmarked when nothing comes of the plan."""
    before, after = before_after_nodes(picture, plan, number, planned=planned)
    return svg(chain_dot(before), _("Before the merge")), svg(
        chain_dot(after), _("After the merge")
    )


def before_after_nodes(
    picture: list[dict[str, Any]], plan: Plan, number: int | str, *, planned: bool = True
) -> tuple[list[DrawnVolume], list[DrawnVolume]]:
    """The same as the diagrams take it, active layer first."""
    removed, before, after = set(plan.removed), [], []
    rebased, top = set(plan.overlays), plan.top
    for index, facts in enumerate(picture):
        path = os.fsdecode(bytes.fromhex(facts["path"]))
        role = "active" if index == 0 else "root" if index == len(picture) - 1 else "snapshot"
        node = DrawnVolume(
            f"v{index}", os.path.basename(path), path, facts["format"], facts["virtual_size"],
            facts["on_disk"], role,
        )  # fmt: skip
        gone = path in removed
        touched = path in rebased or (plan.active and path == top) or path == plan.new_path(number)
        mark = Mark.REMOVED if gone else Mark.CHANGED if touched else Mark.NONE
        before.append(_marked(node, mark if planned else Mark.NONE))
        if path == top:
            new = plan.new_path(number)
            after.append(DrawnVolume(
                "new", os.path.basename(new), new, plan.new_format, plan.virtual_size,
                plan.space_needed if plan.strategy == Strategy.CONVERT else None,
                "active" if plan.active else "root" if plan.below is None else "snapshot",
                mark=Mark.NEW if plan.strategy == Strategy.CONVERT else Mark.CHANGED,
            ))  # fmt: skip
        elif path not in plan.layers:
            after.append(_marked(node, Mark.CHANGED if touched else Mark.NONE))
    return before, after


def _marked(node: DrawnVolume, mark: Mark) -> DrawnVolume:
    return DrawnVolume(**{**node.__dict__, "mark": mark})
