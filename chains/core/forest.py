"""The chains of a whole storage domain, linked from layers that a scan has read one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from chains.core import health
from chains.core.findings import Code, Finding, critical
from chains.core.layer import Layer
from chains.core.links import (
    MAX_DEPTH,
    Chain,
    Trail,
    chain_findings,
    identity,
    link_findings,
    own_findings,
)
from chains.core.names import brief


@dataclass(frozen=True)
class Forest:
    """All layers of a domain by path, and who lies over whom.

    `overlays` maps a backing file to its overlays, in order of their paths. `leaves` are the layers
    without an overlay; of a ring, which has none, the first path stands for it, so that it is seen.
    `findings` holds those of every layer and every link of the domain, once each.
    """

    layers: Mapping[str, Layer]
    overlays: Mapping[str, tuple[str, ...]]
    leaves: tuple[str, ...]
    findings: tuple[Finding, ...]
    root: str = ""

    def chain(self, path: str, max_depth: int = MAX_DEPTH) -> Chain:
        """Follow the backing files from `path` down; raises KeyError for a path not scanned."""
        layer = self.layers[path]
        found = [layer]
        seen = {path}
        trail = Trail()
        trail.meet(layer)
        ending: tuple[Finding, ...] = ()
        while layer.backing_path is not None:
            below = self.layers.get(layer.backing_path)
            if below is None:
                ending = (_missing_finding(layer),)
                break
            if below.path in seen:
                ending = (health.loop_finding(layer.path),)
                break
            if len(found) >= max_depth:
                ending = (health.depth_finding(layer.path, max_depth),)
                break
            loop = trail.meet(below)
            if loop is not None:
                ending = (loop,)
                break
            seen.add(below.path)
            found.append(below)
            layer = below
        return Chain(self.root, tuple(found), chain_findings(found, self.root) + ending)


def link(layers: Mapping[str, Layer], root: str = "") -> Forest:
    """Link the layers of one domain, keyed by their paths; `root` is the domain's directory.

    Layers that were listed under further names (links) are kept once, under their real path. A
    layer that an overlay records as another format than it was read as gives a
    `backing-format-wrong`: read what `outdated` names again first.
    """
    layers = {layer.path: layer for layer in layers.values()}
    overlays: dict[str, list[str]] = {}
    findings: list[Finding] = []
    for path in sorted(layers):
        layer = layers[path]
        findings += own_findings(layer)
        if layer.backing_path is None:
            continue
        overlays.setdefault(layer.backing_path, []).append(path)
        below = layers.get(layer.backing_path)
        if below is None:
            findings.append(_missing_finding(layer))
        else:
            findings += link_findings(layer, below, root)
    findings = _blaming_nobody(findings, layers, overlays)
    rings = _rings(layers)
    findings += [health.loop_finding(path) for ring in rings for path in ring]
    findings += [health.loop_finding(path) for path in _over_themselves(layers, overlays)]
    leaves = [path for path in layers if path not in overlays]
    with_leaf = _reached(layers, leaves) if rings else set()
    leaves += [min(ring) for ring in rings if ring[0] not in with_leaf]
    frozen = {path: tuple(above) for path, above in overlays.items()}
    return Forest(layers, frozen, tuple(sorted(leaves)), tuple(findings), root)


class Linked(Protocol):
    """What is known of a layer that may lie over another."""

    @property
    def backing_path(self) -> str | None: ...
    @property
    def backing_format(self) -> str | None: ...


def hints(layers: Mapping[str, Linked]) -> dict[str, str]:
    """Return the format that overlays record of each layer that is somebody's backing file.

    Where overlays disagree, raw wins: a raw layer leads nowhere.
    """
    recorded: dict[str, str] = {}
    for layer in layers.values():
        target, said = layer.backing_path, layer.backing_format
        if target is None or target not in layers or said not in health.CHAIN_FORMATS:
            continue
        if recorded.get(target) != "raw":
            recorded[target] = said
    return recorded


def outdated(layers: Mapping[str, Layer]) -> dict[str, str]:
    """Return the layers that must be read again before linking, with the format to read them as.

    They were read without knowing what their overlays record. Reading some again can make others
    outdated: repeat until nothing is left, which is soon (each layer changes twice at most).
    """
    recorded = hints(layers)
    return {path: said for path, said in recorded.items() if _reads_otherwise(layers[path], said)}


def _reads_otherwise(layer: Layer, hint: str) -> bool:
    """Whether reading the layer with this hint would say something else than is known of it."""
    if layer.format != hint:
        return True
    leaf_only = (Code.NOT_A_CHAIN_FORMAT, Code.HEADER_INVALID)
    return hint == "raw" and any(f.code in leaf_only for f in layer.findings)


def _blaming_nobody(
    findings: list[Finding], layers: Mapping[str, Layer], overlays: Mapping[str, list[str]]
) -> list[Finding]:
    """Where overlays record different formats of one file, each of them is told: one is wrong, and which
    one only a person can find out.
    """
    wrong = {found.path for found in findings if found.code is Code.BACKING_FORMAT_WRONG}
    shared = {layers[path].backing_path for path in wrong if path in layers} - {None}
    told: dict[str, Finding] = {}
    for backing in sorted(filter(None, shared)):
        said: dict[str, str] = {}
        for path in overlays.get(backing, ()):
            if (recorded := layers[path].backing_format) in health.CHAIN_FORMATS:
                said.setdefault(recorded, path)
        if len(said) > 1:
            for path in overlays[backing]:
                if (recorded := layers[path].backing_format) in said:
                    other = next(over for name, over in said.items() if name != recorded)
                    told[path] = health.disagreement_finding(path, str(recorded), other)
    kept = [f for f in findings if f.code is not Code.BACKING_FORMAT_WRONG or f.path not in told]
    return kept + list(told.values()) if told else findings


def _rings(layers: Mapping[str, Layer]) -> list[list[str]]:
    """Return the loops of backing files, each layer being looked at once."""
    settled: set[str] = set()
    rings = []
    for start in layers:
        trail: dict[str, None] = {}
        path: str | None = start
        while path is not None and path not in settled and path in layers:
            if path in trail:
                order = list(trail)
                rings.append(order[order.index(path) :])
                break
            trail[path] = None
            path = layers[path].backing_path
        settled.update(trail)
    return rings


def _over_themselves(layers: Mapping[str, Layer], overlays: Mapping[str, list[str]]) -> list[str]:
    """Return the layers below which their own file comes again under another name (a hard link).

    Chains are walked from their root layers up, each layer once; rings, which have none, are not.
    """
    if len({identity(layer) for layer in layers.values()}) == len(layers):
        return []
    found = []
    below: set[tuple[int, int] | str] = set()
    roots = [path for path, layer in layers.items() if layer.backing_path not in layers]
    pending = [(path, False) for path in roots]
    while pending:
        path, is_done = pending.pop()
        file = identity(layers[path])
        if is_done:
            below.discard(file)
            continue
        if file in below:
            found.append(path)
        else:
            below.add(file)
            pending.append((path, True))
        pending += [(over, False) for over in overlays.get(path, ()) if over in layers]
    return found


def _reached(layers: Mapping[str, Layer], leaves: list[str]) -> set[str]:
    """Return every path that lies below one of the leaves."""
    reached: set[str] = set()
    for leaf in leaves:
        path: str | None = leaf
        while path is not None and path not in reached and path in layers:
            reached.add(path)
            path = layers[path].backing_path
    return reached


def _missing_finding(layer: Layer) -> Finding:
    name = brief(layer.backing_file or layer.backing_path or "")
    return critical(
        Code.BACKING_MISSING,
        layer.path,
        f"The backing file “{name}” is not among the volumes of the domain: it was removed while"
        " the domain was scanned, or the scan leaves it out.",
    )
