"""How sizes, names, times and states are written in the pages."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chains.core import advice, names, standing, units
from chains.core.plans import Plan
from chains.core.states import UNDO
from chains.core.witnesses import ENGINE, HEADER, METADATA, OWNERS, TAGS
from chains.diagrams.palette import colour_class

register = template.Library()

UNKNOWN = "–"
_STATE_TONES = {
    "queued": "accent", "running": "accent", "succeeded": "ok", "done": "ok",
    "failed": "critical", "attention": "warning", "cancelled": "",
}  # fmt: skip
_STATE_WORDS = {"attention": "needs attention"}
_STEPS = {
    "preflight": "Check that the chain is still as planned",
    "copy": "Copy the data to where it will stay",
    "verify": "Compare old and new, byte for byte",
    "switch": "Put the joined volume in the place of the old ones",
    "remove": "Remove the volumes that nothing reads any more",
}


_UNDO_STEPS = {
    "preflight": "Check that all is where the merge left it",
    "switch": "Give the old layers their names, and put the overlays onto them",
    "remove": "Let the joined volume go",
}
_VERIFICATIONS = {
    "moved": "the moved bytes", "content": "the moved bytes, and every guest’s whole view",
    "none": "none: sizes only",
}  # fmt: skip
_CANCELS = {
    "convert": "The new volume is thrown away, and the chain stays as it was.",
    "commit": "Every guest reads as before, but base has taken in what was copied so far: the restore points of base and of all below top are spoiled.",
    "rebase": "Every guest reads as before; top may have grown by what was copied so far.",
    "undo": "The joined volume stays, and the old layers are kept as before.",
}


@register.filter
def binary(value: float | None) -> str:
    """Bytes in binary units; a dash for what is not known."""
    return UNKNOWN if value is None else units.binary(int(value))


@register.filter
def position(value: int) -> str:
    """A place on a disk, exactly."""
    return units.position(value)


@register.filter
def rate(value: float | None) -> str:
    """Bytes a second."""
    return UNKNOWN if value is None else f"{units.binary(int(value))}/s"


@register.filter
def visible(value: str | None) -> str:
    """A file name with nothing hidden in it; the template escapes it for HTML."""
    return UNKNOWN if value is None else names.display(value)


@register.filter
def basename(value: str | None) -> str:
    """The last part of a path, fit to be shown."""
    return UNKNOWN if value is None else names.display(value.rstrip("/").rpartition("/")[2])


@register.filter
def percent_of(part: float | None, whole: float | None) -> float:
    """``part`` as a percentage of ``whole``, 0 where that makes no sense."""
    if part is None or not whole:
        return 0.0
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 2)


@register.filter
def minus(value: int | None, other: int | None) -> int | None:
    """The difference; None where one is not known."""
    return None if value is None or other is None else value - other


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as ``8 s``, ``3 min 20 s``, ``2 h 5 min``: as static/js/words.js writes them."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s" if whole else "< 1 s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def until(start: datetime | str | None, end: datetime | str | None) -> str:
    """How long something took, or has taken so far."""
    begin, finish = _moment(start), _moment(end)
    if begin is None:
        return UNKNOWN
    return duration(((finish or timezone.now()) - begin).total_seconds())


@register.filter
def ago(value: datetime | str | None) -> str:
    """How long ago, in one unit: ``5 min ago``."""
    at = _moment(value)
    if at is None:
        return "never"
    seconds = (timezone.now() - at).total_seconds()
    if seconds < 10:
        return "just now"
    for limit, unit, word in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)} {word} ago"
    return f"{int(seconds // 86_400)} d ago"


@register.simple_tag
def when(value: datetime | str | None, empty: str = UNKNOWN) -> SafeString | str:
    """A moment as a time element: how long ago, on hover when; ui.js knows the reader's zone."""
    at = _moment(value)
    if at is None:
        return empty
    exact = timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>', at.isoformat(), exact, ago(at)
    )


@register.simple_tag
def moment(value: datetime | str | None, empty: str = UNKNOWN) -> SafeString | str:
    """A moment as a time element that says exactly when; ui.js knows the reader's zone."""
    at = _moment(value)
    if at is None:
        return empty
    exact = timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), exact)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """One drawing of static/img/icons.svg; silent to screen readers unless it has a label."""
    address = f"{static('img/icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>', label, address
        )
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', address)


@register.filter
def state_tone(state: str) -> str:
    """The class of a state's badge."""
    tone = _STATE_TONES.get(state, "")
    return f"badge badge-{tone}" if tone else "badge"


@register.filter
def state_words(state: str) -> str:
    """A state in words."""
    return _STATE_WORDS.get(state, state)


@register.filter
def verdict_tone(verdict: str) -> str:
    """The class of the badge of what becomes of a disk in a batch."""
    tone = {"refused": "critical", "reading": "accent", "after": "warning"}.get(verdict, "")
    return f"badge badge-{tone}" if tone else "badge"


@register.filter
def verdict_words(verdict: str) -> str:
    """What becomes of a disk in a batch, in words."""
    words = {"nothing": "nothing to do", "reading": "being read", "after": "after another"}
    return words.get(verdict, "not started" if verdict == "merge" else verdict)


@register.filter
def step_state(state: str, merge_state: str) -> str:
    """A step that was broken off because somebody asked for it has not failed."""
    return "cancelled" if (state, merge_state) == ("failed", "cancelled") else state


@register.filter
def notice_tone(state: str) -> str:
    """The class of the notice with a merge's message."""
    tone = _STATE_TONES.get(state, "accent")
    return "notice" if tone == "accent" else f"notice notice-{tone}"


@register.filter
def step_words(name: str, strategy: str) -> str:
    """What a step of a merge does, or of an undo."""
    words = _UNDO_STEPS if strategy == UNDO else _STEPS
    return words.get(name, name)


@register.filter
def broken_off(plan: Plan) -> str:
    """What a merge leaves that breaks off half-way."""
    return advice.broken_off(plan)


@register.filter
def verification_words(way: str) -> str:
    """How a merge is proven."""
    return _VERIFICATIONS.get(way, way)


@register.filter
def span(seconds: int) -> str:
    """Seconds as people write them: ``1h``, ``15min``."""
    return units.span(seconds)


@register.filter
def is_block(domain: Any) -> bool:
    """Whether a domain's volumes are logical volumes."""
    return standing.is_block(domain.kind)


@register.filter
def domain_details(domain: Any) -> list[str]:
    """What a scan found out about a domain itself."""
    return standing.details(domain.kind, domain.profile, domain.facts)


@register.simple_tag
def overcommit(domain: Any) -> SafeString:
    """How far a domain's guests may outgrow it: a ratio, and in words."""
    virtual = int(domain.virtual_total)
    words = standing.overcommit_words(virtual, domain.capacity)
    ratio = standing.overcommit(virtual, domain.capacity)
    if ratio is None:
        return format_html('<span class="muted">{}</span>', words)
    tone = "badge badge-warning" if ratio > 1 else "badge"
    return format_html(
        '<span class="{}">{}&nbsp;×</span> <span class="muted small">{}</span>',
        tone,
        "< 0.01" if 0 < ratio < 0.01 else f"{ratio:.2f}",
        words,
    )


@register.filter
def witness_words(name: str) -> str:
    """Who goes by what a witness says."""
    words = {
        HEADER: "what QEMU reads", METADATA: "what oVirt believes", TAGS: "what vdsm finds volumes by",
        ENGINE: "what oVirt runs VMs by", OWNERS: "what its VM is started with",
    }  # fmt: skip
    return words.get(name, "")


@register.filter
def cancel_words(merge: Any) -> str:
    """What a cancelled merge leaves: said before, and left exactly so."""
    if merge.plan.get("copied_aside"):
        return "What was written comes back from its copy, and the chain stays as it was."
    return _CANCELS.get(merge.strategy, "")


@register.filter
def signed_binary(value: int | None) -> str:
    """Bytes that may be fewer than none."""
    return f"−{units.binary(-value)}" if value is not None and value < 0 else binary(value)


class _Figure(Protocol):
    """What chains/web/reads.py says of one layer, as far as it is needed here."""

    volume: Any
    colour: str
    answered: int


class _Reads(Protocol):
    layers: Sequence[_Figure]
    size: int


@register.filter
def layer_rows(layers: Sequence[tuple[Any, str]], reads: _Reads) -> list[dict[str, Any]]:
    """The rows of a disk's table: each layer with its colour, and its figures if there are any."""
    figures = {part.volume.pk: part for part in reads.layers}
    rows = []
    for index, (volume, role) in enumerate(layers):
        figure = figures.get(volume.pk)
        colour = colour_class(index)
        rows.append({"volume": volume, "role": role, "colour": colour, "figures": figure})
    return rows


@register.filter
def answer_parts(reads: _Reads) -> list[dict[str, Any]]:
    """The parts of the bar «who answers», left to right, in percent of the disk."""
    parts: list[dict[str, Any]] = []
    at = 0.0
    for layer in reads.layers:
        width = percent_of(layer.answered, reads.size)
        if width > 0:
            parts.append({"x": round(at, 2), "width": width, "colour": layer.colour})
            at += width
    return parts


@register.filter
def sum_of(items: Iterable[Any], attribute: str) -> int:
    """The sum of one attribute."""
    return sum(getattr(item, attribute) or 0 for item in items)


def _moment(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
