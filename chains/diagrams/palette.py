"""The colours and class names that the drawings and the style sheet share.

DOT carries the light theme's colours, so that a saved SVG is right on white paper; the renderer
turns each into a class, which ``static/css/diagrams.css`` gives its colour in either theme.
"""

from __future__ import annotations

from typing import Final

INK: Final = "#1b2430"
MUTED: Final = "#5a6675"
ROLE: Final = "#5a6676"
SURFACE: Final = "#fdfdfe"
FAINT: Final = "#b4bdca"
LINE: Final = "#b4bdc9"
ARROW: Final = "#6d7a8b"
INFO: Final = "#2f6fb3"
WARNING: Final = "#8a5a00"
CRITICAL: Final = "#b3261e"
ACCENT: Final = "#2f6fb3"
ACCENT_SOFT: Final = "#eaf2fb"
LIT: Final = "#9a3fb5"
BAR: Final = "#2f7fc5"
BAR_HIDDEN: Final = "#c4daee"
BAR_TRACK: Final = "#e6eaf0"

BAR_CLASSES: Final = {BAR: "dg-bar", BAR_HIDDEN: "dg-bar-hidden", BAR_TRACK: "dg-bar-track"}
"""From the colour of a part of a bar in DOT to its class in the SVG."""

TEXT_CLASSES: Final = {
    INK: "dg-ink",
    MUTED: "dg-muted",
    ROLE: "dg-muted dg-role",
    FAINT: "dg-faint",
    INFO: "dg-info",
    WARNING: "dg-warning",
    CRITICAL: "dg-critical",
}
"""From the colour of a text in DOT to its class in the SVG."""

PALETTE: Final = (
    "#2f7fc4",
    "#cf8f2e",
    "#5cc9b0",
    "#7d3b70",
    "#a3b4dd",
    "#4d5a22",
    "#c65b76",
    "#4b3fb0",
)
"""The hues of the layers, in the light theme; neighbours differ for colour-blind eyes too."""

HEAT: Final = ("#fdeabf", "#f9bd72", "#ec8550", "#c44a52", "#8a2560", "#431350")
"""The hues of hops, in the light theme: the more, the darker, for every eye."""

HEAT_UP_TO: Final = (0, 1, 2, 4, 8)
"""The most hops of each hue of HEAT but the last, which has no end."""

DARK_ON: Final = frozenset({"dg-layer-1", "dg-layer-2", "dg-layer-4", "dg-heat-0", "dg-heat-1", "dg-heat-2"})  # fmt: skip
"""The hues that are so pale, in the light theme, that a pattern on them is dark."""

PATTERNS: Final = ("", "stripes", "dots", "bars", "grid", "waves", "rings")
"""A second way to tell layers apart. There is one pattern fewer than hues, so they come in all pairs."""


def pattern_of(index: int) -> str:
    """The pattern of layer ``index``, or of a level of heat; "" is plain."""
    return PATTERNS[index % len(PATTERNS)]


def colour_class(index: int) -> str:
    """The CSS classes of layer ``index`` (0 is the active one), for drawings, tables and legends.

    Neighbours differ in hue and in pattern; 56 layers look different, the next looks like the first.
    """
    return _classes(f"dg-layer-{index % len(PALETTE)}", pattern_of(index))


def heat_class(level: int) -> str:
    """The CSS classes of a level of heat: see ``heat_level``."""
    return _classes(f"dg-heat-{level}", pattern_of(level))


def heat_level(hops: float) -> int:
    """Which hue of HEAT stands for so many hops; of an average, that of the next whole number."""
    return sum(hops > most for most in HEAT_UP_TO)


def heat_words(level: int) -> str:
    """How many hops a level of heat is, in figures."""
    if level == len(HEAT_UP_TO):
        return f"{HEAT_UP_TO[-1] + 1} +"
    least, most = (HEAT_UP_TO[level - 1] + 1 if level else 0), HEAT_UP_TO[level]
    return str(most) if least == most else f"{least}\N{EN DASH}{most}"


def _classes(hue: str, pattern: str) -> str:
    return f"{hue} dg-{pattern}" if pattern else hue
