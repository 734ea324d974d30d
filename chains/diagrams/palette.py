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

PATTERNS: Final = ("", "stripes", "dots")


def colour_class(index: int) -> str:
    """The CSS classes of layer ``index`` (0 is the active one), for drawings, tables and legends.

    Past the palette the hues come again with stripes, then with dots, and then from the start.
    """
    hue = f"dg-layer-{index % len(PALETTE)}"
    pattern = PATTERNS[index // len(PALETTE) % len(PATTERNS)]
    return f"{hue} dg-{pattern}" if pattern else hue
