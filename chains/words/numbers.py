"""Sizes, lengths of time and percentages in the reader's language: what `core.units` writes, translated."""

import re
from datetime import datetime

from django.utils import timezone
from django.utils.formats import get_format
from django.utils.translation import gettext, gettext_noop

from chains.core import units

UNKNOWN = "–"
UNITS = (
    gettext_noop("B"), gettext_noop("KiB"), gettext_noop("MiB"), gettext_noop("GiB"),
    gettext_noop("TiB"), gettext_noop("PiB"), gettext_noop("EiB"),
)  # fmt: skip
_SIZE = re.compile(r"(?<![\w.,])([0-9][0-9.,]{0,40}) ([KMGTPE]iB|B)(/s)?(?!\w)", re.ASCII)


def number(text: str) -> str:
    """A number as `core` writes it (``1,234.5``), with the separators of the language."""
    point, group = get_format("DECIMAL_SEPARATOR"), get_format("THOUSAND_SEPARATOR")
    return text.translate({ord("."): str(point), ord(","): str(group)})


def _sized(text: str) -> str:
    digits, _, unit = text.partition(" ")
    return f"{number(digits)} {gettext(unit)}"


def binary(value: float | None) -> str:
    """Bytes in binary units; a dash for what is not known."""
    return UNKNOWN if value is None else _sized(units.binary(int(value)))


def signed_binary(value: int | None) -> str:
    """Bytes that may be fewer than none."""
    return f"−{binary(-value)}" if value is not None and value < 0 else binary(value)


def position(value: int) -> str:
    """A place on a disk, exactly."""
    return _sized(units.position(value))


def exactly(value: int) -> str:
    """Bytes, counted out."""
    return gettext("%(count)s bytes") % {"count": value}


def exact(value: int) -> str:
    """Every byte of it, in groups of three digits."""
    return _sized(f"{value:,} B")


def rate(value: float | None) -> str:
    """Bytes a second."""
    return UNKNOWN if value is None else gettext("%(size)s/s") % {"size": binary(value)}


def sizes(text: str) -> str:
    """Whatever stands as a size in a text of the lower parts."""

    def written(found: re.Match[str]) -> str:
        size = f"{number(found[1])} {gettext(found[2])}"
        return gettext("%(size)s/s") % {"size": size} if found[3] else size

    return _SIZE.sub(written, text)


_LISTED = re.compile(rf"(?:[a-z]+ )?{_SIZE.pattern}(?:, (?:[a-z]+ )?{_SIZE.pattern})*", re.ASCII)


def listed(text: str) -> str:
    """A size, or a list of them with a word each; any other text is a name, and stays as it is."""
    return sizes(text) if _LISTED.fullmatch(text.rstrip(".;:")) else text


_SPAN = re.compile(r"([0-9]{1,12})(s|min|h|d)", re.ASCII)


def span_words(text: str) -> str:
    """A length of time as `core.units.span` writes it (``30d``), in words that fit a sentence."""
    found = _SPAN.fullmatch(text)
    if found is None:
        return text
    words = {
        "s": gettext("%(count)s s"), "min": gettext("%(count)s min"),
        "h": gettext("%(count)s h"), "d": gettext("%(count)s d"),
    }  # fmt: skip
    return words[found[2]] % {"count": found[1]}


def figure(text: str) -> str:
    """A size, a length of time or a number, as `core` writes it for people."""
    return span_words(text) if _SPAN.fullmatch(text) else sizes(text)


def percent(value: float | None, decimals: int = 1) -> str:
    """A percentage with its sign."""
    return UNKNOWN if value is None else f"{number(f'{value:.{decimals}f}')} %"


def duration(seconds: float | None) -> str:
    """Seconds as ``8 s``, ``3 min 20 s``, ``2 h 5 min``: as static/js/words.js writes them."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole < 60:
        return gettext("%(s)s s") % {"s": whole} if whole else gettext("< 1 s")
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        parts = {"min": minutes, "s": rest}
        return (gettext("%(min)s min %(s)s s") if rest else gettext("%(min)s min")) % parts
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "min": minutes}
    return (gettext("%(h)s h %(min)s min") if minutes else gettext("%(h)s h")) % parts


def ago(at: datetime | None) -> str:
    """How long ago, in one unit: ``5 min ago``."""
    if at is None:
        return gettext("never")
    seconds = int((timezone.now() - at).total_seconds())
    if seconds < 10:
        return gettext("just now")
    if seconds < 60:
        return gettext("%(count)s s ago") % {"count": seconds}
    if seconds < 3600:
        return gettext("%(count)s min ago") % {"count": seconds // 60}
    if seconds < 86_400:
        return gettext("%(count)s h ago") % {"count": seconds // 3600}
    return gettext("%(count)s d ago") % {"count": seconds // 86_400}
