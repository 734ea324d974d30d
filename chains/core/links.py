"""What holds layers together: a chain, and the rules for an overlay and its backing file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chains.core import health
from chains.core.findings import Code, Finding, Severity
from chains.core.layer import Layer

MAX_DEPTH = 1000


@dataclass(frozen=True)
class Chain:
    """The layers below one volume: the active layer first, the root layer last.

    `root` is the domain's directory. The layers end early where the chain can not be followed; a
    critical finding then says why. `findings` holds those of every layer and of every link.
    """

    root: str
    layers: tuple[Layer, ...]
    findings: tuple[Finding, ...]

    @property
    def is_safe(self) -> bool:
        """Whether operations may run on the chain: nothing critical was found."""
        return not any(f.severity is Severity.CRITICAL for f in self.findings)


def link_findings(overlay: Layer, backing: Layer) -> list[Finding]:
    """Judge an overlay against the layer that was read as its backing file."""
    looks_like = backing.format if backing.format != "raw" else None
    if any(f.code is Code.NOT_A_CHAIN_FORMAT for f in backing.findings):
        looks_like = "another image format"
    return [
        *health.unset_findings(overlay.path, overlay.backing_format, looks_like),
        *health.wrong_findings(overlay.path, overlay.backing_format, backing.format),
        *health.size_findings(overlay.path, overlay.virtual_size, backing.virtual_size),
    ]


def chain_findings(layers: Sequence[Layer]) -> tuple[Finding, ...]:
    """Collect the findings of each layer and of each link; `layers` run from active to root."""
    return tuple(_each_finding(layers))


def _each_finding(layers: Sequence[Layer]) -> Iterator[Finding]:
    for index, layer in enumerate(layers):
        yield from layer.findings
        yield from health.format_findings(layer.path, layer.backing_format)
        if index + 1 < len(layers):
            yield from link_findings(layer, layers[index + 1])
