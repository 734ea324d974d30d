"""The style of a drawing that is saved to a file: the light colours, without a page around it.

Viewers of files know little of CSS, so no variables are used: the names are those of
``static/css/diagrams.css``, the colours those of ``palette``.
"""

from __future__ import annotations

from typing import Final

from chains.diagrams.palette import (
    ACCENT,
    ACCENT_SOFT,
    ARROW,
    BAR,
    BAR_HIDDEN,
    BAR_TRACK,
    CRITICAL,
    FAINT,
    INFO,
    INK,
    LINE,
    LIT,
    MUTED,
    PALETTE,
    SURFACE,
    WARNING,
)
from chains.diagrams.weights import WEIGHTS

_RULES: Final = {
    "text": f"fill:{INK};font-family:Helvetica,Arial,sans-serif;white-space:pre",
    ".dg-muted": f"fill:{MUTED}",
    ".dg-faint": f"fill:{FAINT}",
    ".dg-info": f"fill:{INFO}",
    ".dg-warning": f"fill:{WARNING}",
    ".dg-critical": f"fill:{CRITICAL}",
    ".dg-box": f"fill:{SURFACE};stroke:{LINE}",
    ".dg-role-active .dg-box": f"stroke:{ACCENT};stroke-width:1.4",
    ".dg-role-template .dg-box": f"fill:{ACCENT_SOFT}",
    ".dg-role-preview .dg-box": f"stroke:{ACCENT};stroke-dasharray:2 2.5",
    ".dg-role-missing .dg-box": f"fill:none;stroke:{CRITICAL};stroke-dasharray:5 3",
    ".dg-role-outside .dg-box": f"fill:none;stroke:{CRITICAL};stroke-dasharray:5 3",
    ".dg-severity-warning .dg-box": f"stroke:{WARNING};stroke-width:1.6",
    ".dg-severity-critical .dg-box": f"stroke:{CRITICAL};stroke-width:2.2",
    ".dg-fold .dg-box": f"fill:none;stroke:{ARROW};stroke-dasharray:1 3",
    ".dg-edge path": f"fill:none;stroke:{ARROW};stroke-width:1.1",
    ".dg-edge polygon": f"fill:{ARROW};stroke:none",
    **{f".dg-w{step} path": f"stroke-width:{width:g}" for step, (_, width) in enumerate(WEIGHTS)},
    ".dg-node.dg-lit .dg-box": f"stroke:{LIT};stroke-width:2.5",
    ".dg-edge.dg-lit path": f"stroke:{LIT}",
    ".dg-edge.dg-lit polygon": f"fill:{LIT}",
    ".dg-bar": f"fill:{BAR}",
    ".dg-bar-hidden": f"fill:{BAR_HIDDEN}",
    ".dg-bar-track": f"fill:{BAR_TRACK}",
    **{
        f".dg-layer-{hue} .dg-answer,.dg-layer-{hue} .dg-held": f"fill:{colour}"
        for hue, colour in enumerate(PALETTE)
    },
    **{
        f".dg-layer-{hue} .dg-frame,.dg-layer-{hue} .dg-hatch-line,.dg-layer-{hue}.dg-read path": (
            f"stroke:{colour}"
        )
        for hue, colour in enumerate(PALETTE)
    },
    ".dg-slot": f"fill:{SURFACE}",
    ".dg-held": "fill-opacity:0.16",
    ".dg-frame": "fill:none",
    ".dg-hatch-line": "fill:none",
    ".dg-empty .dg-frame": f"stroke:{LINE}",
    ".dg-pattern-line": "stroke:#ffffff",
    ".dg-pattern-dot": "fill:#ffffff",
    ".dg-halo": f"stroke:{SURFACE};stroke-width:4",
}
STYLE: Final = "\n".join(f"{name}{{{rule}}}" for name, rule in _RULES.items())
