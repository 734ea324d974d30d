"""A chain before and after its merge, side by side, as DOT that graphviz draws as it is: for files."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from chains.core.units import binary
from chains.diagrams.chain_dot import runs
from chains.diagrams.nodes import count
from chains.diagrams.palette import ARROW, INK, LINE, MUTED
from chains.diagrams.text import shorten, shown
from chains.diagrams.types import DrawnVolume, Mark

_NAME: Final = 48
_FOLD_OVER: Final = 24
# Line, paper and pen of what a merge does to a volume: the light theme's colours of diagrams.css.
_LOOKS: Final = {
    Mark.NONE: (LINE, "#ffffff", "rounded,filled"),
    Mark.REMOVED: ("#b04a43", "#fcf1f0", "rounded,filled,dashed"),
    Mark.NEW: ("#1d7a4c", "#e9f6ee", "rounded,filled,bold"),
    Mark.CHANGED: ("#2f6fb3", "#ffffff", "rounded,filled,bold"),
}


def merge_dot(
    title: str, before: Sequence[DrawnVolume], after: Sequence[DrawnVolume], words: tuple[str, str]
) -> str:
    """Both chains, active layer first; ``words`` are what stands over the one and over the other."""
    parts = [
        "digraph merge {\n",
        'rankdir="TB" bgcolor="white" pad="0.2" nodesep="0.4" ranksep="0.3"\n',
        f'labelloc="t" labeljust="l" fontname="Helvetica" fontsize="13" fontcolor="{INK}"\n',
        f"label=<<B>{_quoted(title)}</B>>\n",
        f'node [shape="box" fontname="Helvetica" fontsize="12" fontcolor="{INK}" margin="0.15,0.06"]\n',
        f'edge [color="{ARROW}" arrowsize="0.6"]\n',
    ]
    for key, heading, chain in (("before", words[0], before), ("after", words[1], after)):
        parts.append(
            f'subgraph "cluster_{key}" {{\nlabel=<{_quoted(heading)}> color="{LINE}" style="rounded"\n'
        )
        parts.extend(_chain(key, chain))
        parts.append("}\n")
    return "".join([*parts, "}\n"])


def _chain(key: str, chain: Sequence[DrawnVolume]) -> Iterator[str]:
    names = []
    for number, run in enumerate(runs(chain, _FOLD_OVER)):
        line, paper, pen = _LOOKS[run[0].mark]
        names.append(f'"{key}{number}"')
        if len(run) == 1:
            label = _label(run[0])
        else:
            label = f'<FONT COLOR="{MUTED}">{count(len(run), "layer")}</FONT>'
        yield f'{names[-1]} [label=<{label}> color="{line}" fillcolor="{paper}" style="{pen}"]\n'
    for overlay, backing in pairwise(names):
        yield f"{overlay} -> {backing}\n"


def _label(volume: DrawnVolume) -> str:
    facts = [volume.format or "format unknown"]
    if volume.virtual_size is not None:
        facts.append(binary(volume.virtual_size))
    if volume.on_disk is not None:
        facts.append(f"{binary(volume.on_disk)} on disk")
    facts.append(volume.mark.value or volume.role)
    name = _quoted(shorten(shown(volume.name), _NAME))
    return f'<B>{name}</B><BR/><FONT POINT-SIZE="10" COLOR="{MUTED}">{_quoted(" · ".join(facts))}</FONT>'


def _quoted(text: str) -> str:
    """A hostile text inside an HTML-like label of a file."""
    return html.escape(shown(text)).replace("&#x27;", "&#39;") or " "
