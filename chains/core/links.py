"""What holds layers together: a chain, and the rules for an overlay and its backing file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chains.core import health
from chains.core.findings import Code, Finding, Severity, critical
from chains.core.layer import Layer
from chains.core.names import brief
from chains.core.paths import folder_of_name

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


class Trail:
    """The layers met on the way down one chain; a file is known again under any of its names."""

    def __init__(self) -> None:
        self._met: dict[tuple[int, int] | str, str] = {}

    def meet(self, layer: Layer) -> Finding | None:
        """Note a layer; returns a finding when its file was met before."""
        before = self._met.setdefault(identity(layer), layer.path)
        return None if before == layer.path else health.loop_finding(before)


def identity(layer: Layer) -> tuple[int, int] | str:
    """Return what hard links to one file have in common; of a file that was not opened, its path."""
    file = layer.fingerprint
    return (file.device, file.inode) if file.inode else layer.path


def own_findings(layer: Layer) -> tuple[Finding, ...]:
    """Collect what is wrong with a layer, whatever it lies over."""
    recorded = layer.backing_format
    if recorded is None or recorded in health.CHAIN_FORMATS:
        return layer.findings
    return (*layer.findings, health.format_finding(layer.path, recorded))


def link_findings(overlay: Layer, backing: Layer, root: str) -> list[Finding]:
    """Judge an overlay against the layer that was read as its backing file, in the domain `root`."""
    found: list[Finding] = []
    # Sound links, nearly all of them, pay for these few comparisons only.
    recorded = overlay.backing_format
    if recorded is None:
        foreign = any(f.code is Code.NOT_A_CHAIN_FORMAT for f in backing.findings)
        looks_like = "another image format" if foreign else backing.format
        found.append(health.unset_finding(overlay.path, looks_like))
    elif recorded != backing.format and recorded in health.CHAIN_FORMATS:
        found.append(health.wrong_finding(overlay.path, recorded, backing.format))
    if overlay.virtual_size < backing.virtual_size:
        found.append(health.size_finding(overlay.path, overlay.virtual_size, backing.virtual_size))
    if backing.backing_file is not None:
        found += _sideways_findings(overlay, backing, root)
    return found


def _sideways_findings(overlay: Layer, backing: Layer, root: str) -> list[Finding]:
    """Refuse a link to a file in another folder, when that file names its own backing file.

    QEMU looks for that one beside the name that it was given, not beside the file that the name
    links to (block.c, path_combine): it would open another file than the one that was judged.
    """
    name, next_name = overlay.backing_file, backing.backing_file
    if name is None or next_name is None or next_name.startswith("/"):
        return []
    if not overlay.fingerprint.device:
        return []  # a logical volume: only the last part of the name counts, there are no links
    folder = overlay.path.rpartition("/")[0]
    where = folder_of_name(root, folder, name) if "/" in name else folder
    if where == backing.path.rpartition("/")[0]:
        return []
    return [
        critical(
            Code.BACKING_SPECIAL,
            overlay.path,
            f"The backing file “{brief(name)}” is a link into another folder. QEMU would look for"
            f" “{brief(next_name)}” beside the link, not beside the file. No tool will be started"
            " on this chain: rebase the layer on the file itself.",
        )
    ]


def chain_findings(layers: Sequence[Layer], root: str) -> tuple[Finding, ...]:
    """Collect the findings of each layer and of each link; `layers` run from active to root."""
    return tuple(_each_finding(layers, root))


def _each_finding(layers: Sequence[Layer], root: str) -> Iterator[Finding]:
    above: Layer | None = None
    for layer in layers:
        if above is not None:
            yield from link_findings(above, layer, root)
        yield from own_findings(layer)
        above = layer
