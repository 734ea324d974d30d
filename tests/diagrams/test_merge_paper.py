"""Before and after of a merge as a file."""

from __future__ import annotations

import re
import subprocess

from chains.diagrams.merge_paper import merge_dot
from chains.diagrams.render import render_plain
from chains.diagrams.types import Mark
from tests.diagrams.samples import HOSTILE, chain, parse, volume


def test_both_chains_stand_side_by_side_with_what_becomes_of_each_layer() -> None:
    before = [volume(0, "top", mark=Mark.CHANGED), volume(1, "base", mark=Mark.REMOVED)]
    after = [volume(0, "joined", mark=Mark.NEW)]
    source = merge_dot("Merge of a disk", before, after, ("Before", "After"))
    assert source.count("subgraph") == 2
    assert '"before0" -> "before1"' in source
    drawn = render_plain(source, "svg")
    svg = parse(drawn.decode())
    said = " ".join(text.text or "" for text in svg.iter() if text.tag.endswith("text"))
    for word in ("Merge of a disk", "Before", "After", "top", "base", "joined"):
        assert word in said
    for mark in ("changed", "removed", "new"):
        assert f"· {mark}" in said, "not by colour alone"
    assert b"href" not in re.sub(rb'xmlns:xlink="[^"]+"', b"", drawn)
    assert render_plain(source, "png").startswith(b"\x89PNG")


def test_long_chains_fold_and_names_can_not_break_out() -> None:
    source = merge_dot("x", chain(300), [], ("a", "b"))
    assert source.count("label=<<B>snap") < 24
    assert "layers</FONT>" in source
    names = [volume(n, name) for n, name in enumerate(HOSTILE)]
    source = merge_dot(HOSTILE[0], names, names, (HOSTILE[1], HOSTILE[5]))
    drawn = subprocess.run(["dot", "-Tsvg"], input=source.encode(), capture_output=True, check=True)
    assert drawn.stderr == b""
    assert drawn.stdout.count(b'class="node"') == 2 * len(HOSTILE)
    assert b"<script" not in drawn.stdout
