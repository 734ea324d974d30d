"""A chain: one active layer and everything below it, read from storage or linked from a scan."""

from collections.abc import Callable

from chains.core import health
from chains.core.findings import Finding
from chains.core.forest import Forest, hints, link, outdated
from chains.core.layer import Fingerprint, Layer, read_backing, read_layer
from chains.core.links import MAX_DEPTH, Chain, Trail, chain_findings
from chains.core.paths import real_root, resolve_backing

__all__ = [
    "Chain",
    "Fingerprint",
    "Forest",
    "Layer",
    "chain_findings",
    "follow",
    "hints",
    "link",
    "outdated",
    "read_chain",
    "read_layer",
    "resolve_backing",
]


def read_chain(root: str, path: str, max_depth: int = MAX_DEPTH, *, tables: bool = False) -> Chain:
    """Read the headers from the volume at `path` (relative to `root`) down to its root layer.

    With `tables` the internal snapshots and the bitmaps of each layer are read as well.
    Never raises for anything that can be stored: the chain ends at the first layer that can not be
    followed, with the finding that says why.
    """
    real = real_root(root)
    top = read_layer(real, path, tables=tables)
    return follow(
        root, top, lambda name, said: read_backing(real, name, said, tables=tables), max_depth
    )


def follow(
    root: str, top: Layer, read: Callable[[str, str | None], Layer], max_depth: int = MAX_DEPTH
) -> Chain:
    """Follow the backing files from `top` down; `read(path, recorded format)` reads each of them."""
    layer = top
    layers = [layer]
    seen = {layer.path}
    trail = Trail()
    trail.meet(layer)
    ending: tuple[Finding, ...] = ()
    while layer.backing_path is not None:
        if layer.backing_format is not None and layer.backing_format not in health.CHAIN_FORMATS:
            break  # the finding of the recorded format says so
        if layer.backing_path in seen:
            ending = (health.loop_finding(layer.path),)
            break
        if len(layers) >= max_depth:
            ending = (health.depth_finding(layer.path, max_depth),)
            break
        layer = read(layer.backing_path, layer.backing_format)
        loop = trail.meet(layer)
        if loop is not None:
            ending = (loop,)
            break
        seen.add(layer.path)
        layers.append(layer)
    return Chain(root, tuple(layers), chain_findings(layers, root) + ending)
