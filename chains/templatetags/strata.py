"""How sizes, names, times and states are written in the pages."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from django import template
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chains.core import advice, names, standing, units
from chains.core.plans import Plan
from chains.diagrams.palette import colour_class
from chains.words import address, labels, numbers, prose
from chains.words.glossary import TERMS

register = template.Library()

_STATE_TONES = {
    "queued": "accent", "running": "accent", "succeeded": "ok", "done": "ok",
    "failed": "critical", "attention": "warning", "cancelled": "",
}  # fmt: skip

# What `chains.words` writes, under the names that the pages call it by.
register.filter("binary", numbers.binary)
register.filter("signed_binary", numbers.signed_binary)
register.filter("position", numbers.position)
register.filter("bytes", numbers.exactly)
register.filter("exact", numbers.exact)
register.filter("rate", numbers.rate)
register.filter("figure", numbers.figure)
register.filter("percent", numbers.percent)
register.filter("duration", numbers.duration)
register.filter("state_words", labels.state)
register.filter("step_name", labels.step_name)
register.filter("step_words", labels.step)
register.filter("role_words", labels.role)
register.filter("verification_words", labels.verification)
register.filter("verdict_words", labels.verdict)
register.filter("witness_words", labels.witness)
register.filter("choice_words", labels.choice)
register.filter("prose", prose.prose)


@register.filter
def counted(total: Any, kind: str) -> str:
    """A `Total` in words, by the kind of its rows."""
    return labels.counted(total.count, kind, total.more)


@register.filter
def prose_list(texts: Iterable[str]) -> list[str]:
    """Several sentences of the lower parts, each in the reader's language."""
    return [prose.prose(text) for text in texts]


@register.filter
def hexadecimal(value: int) -> str:
    """A place on a disk as tools write it."""
    return hex(value)


@register.filter
def visible(value: str | None) -> str:
    """A file name with nothing hidden in it; the template escapes it for HTML."""
    return numbers.UNKNOWN if value is None else names.display(value)


@register.filter
def basename(value: str | None) -> str:
    """The last part of a path, fit to be shown."""
    return numbers.UNKNOWN if value is None else names.display(value.rstrip("/").rpartition("/")[2])


@register.filter
def percent_of(part: float | None, whole: float | None) -> float:
    """``part`` as a percentage of ``whole``, 0 where that makes no sense."""
    if part is None or not whole:
        return 0.0
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 2)


@register.filter
def at(items: Sequence[Any], index: int) -> Any:
    """The item at a place."""
    return items[index]


@register.filter
def minus(value: int | None, other: int | None) -> int | None:
    """The difference; None where one is not known."""
    return None if value is None or other is None else value - other


@register.filter
def until(start: datetime | str | None, end: datetime | str | None) -> str:
    """How long something took, or has taken so far."""
    begin, finish = _moment(start), _moment(end)
    if begin is None:
        return numbers.UNKNOWN
    return numbers.duration(((finish or timezone.now()) - begin).total_seconds())


@register.filter
def ago(value: datetime | str | None) -> str:
    """How long ago, in one unit: ``5 min ago``."""
    return numbers.ago(_moment(value))


@register.simple_tag
def when(value: datetime | str | None, empty: str = numbers.UNKNOWN) -> SafeString | str:
    """A moment as a time element: how long ago, on hover when; ui.js knows the reader's zone."""
    at = _moment(value)
    if at is None:
        return empty
    exact = timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>', at.isoformat(), exact, ago(at)
    )


@register.simple_tag
def moment(value: datetime | str | None, empty: str = numbers.UNKNOWN) -> SafeString | str:
    """A moment as a time element that says exactly when; ui.js knows the reader's zone."""
    at = _moment(value)
    if at is None:
        return empty
    exact = timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), exact)


@register.simple_tag(takes_context=True)
def term(context: template.Context, key: str) -> SafeString | str:
    """The “?” that opens a line of the glossary, where the term stands first on the page and nowhere else.

    Raises KeyError for what is no term.
    """
    explained = TERMS[key]
    request = context.get("request")
    if request is not None:
        told = request.__dict__.setdefault("strata_terms", set())
        if key in told:
            return ""
        told.add(key)
    return render_to_string("partials/term.html", {"term": explained})


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """One drawing of static/img/icons.svg; silent to screen readers unless it has a label."""
    address = f"{static('img/icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>', label, address
        )
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', address)


@register.simple_tag
def words_address() -> str:
    """Where the words of the scripts lie, in the reader's language."""
    return address.words_address()


@register.filter
def state_tone(state: str) -> str:
    """The class of a state's badge."""
    tone = _STATE_TONES.get(state, "")
    return f"badge badge-{tone}" if tone else "badge"


@register.filter
def verdict_tone(verdict: str) -> str:
    """The class of the badge of what becomes of a disk in a batch."""
    tone = {"refused": "critical", "reading": "accent", "after": "warning"}.get(verdict, "")
    return f"badge badge-{tone}" if tone else "badge"


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
def broken_off(plan: Plan) -> str:
    """What a merge leaves that breaks off half-way."""
    return advice.broken_off(plan)


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
    words = prose.prose(standing.overcommit_words(virtual, domain.capacity))
    ratio = standing.overcommit(virtual, domain.capacity)
    if ratio is None:
        return format_html('<span class="muted">{}</span>', words)
    tone = "badge badge-warning" if ratio > 1 else "badge"
    return format_html(
        '<span class="{}">{}&nbsp;×</span> <span class="muted small">{}</span>',
        tone,
        f"< {numbers.number('0.01')}" if 0 < ratio < 0.01 else numbers.number(f"{ratio:.2f}"),
        words,
    )


@register.filter
def cancel_words(merge: Any) -> str:
    """What a cancelled merge leaves."""
    return labels.cancelling(merge.strategy, copied_aside=bool(merge.plan.get("copied_aside")))


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
