"""What a step of the lesson has shown, drawn: the files and who lies over whom, and the redirected reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from chains.diagrams.chain_dot import chain_dot
from chains.diagrams.forest_dot import small_forest_dots
from chains.diagrams.palette import colour_class
from chains.diagrams.reads_dot import reads_dot
from chains.diagrams.types import DrawnVolume, Mark, ReadsPicture, ReadsRow
from chains.lessons.steps import BLOCK, Step
from chains.web.pictures import many, svg
from chains.words.numbers import binary


@dataclass(frozen=True)
class ShownFile:
    """One file of the sandbox; `answers` are the blocks that the guest reads from it, None where it is
    not below the guest's.
    """

    name: str
    facts: Mapping[str, Any]
    role: str
    colour: str
    answers: int | None


@dataclass(frozen=True)
class ShownBlock:
    """Which file answers a block, how many layers down."""

    number: int
    name: str
    colour: str
    hops: int


def blocks(seen: Mapping[str, Any]) -> list[ShownBlock]:
    """The blocks that are drawn, each with the file that answers most of it."""
    found = []
    for number, column in enumerate(zip(*seen["answered"], strict=True)):
        owner = max(range(len(column)), key=column.__getitem__)
        found.append(ShownBlock(number, seen["chain"][owner], colour_class(owner), owner))
    return found


def files(seen: Mapping[str, Any]) -> list[ShownFile]:
    """The guest's chain from the active layer down, then what stands beside it."""
    answered = [block.name for block in blocks(seen)]
    chain, roles = seen["chain"], _roles(seen["files"])
    order = [*chain, *(name for name in seen["files"] if name not in chain)]
    return [
        ShownFile(
            name, seen["files"][name], roles[name],
            colour_class(chain.index(name)) if name in chain else "",
            answered.count(name) if name in chain else None,
        )
        for name in order
    ]  # fmt: skip


def trees(seen: Mapping[str, Any], step: Step | None) -> list[SafeString]:
    """The files and their backing files; what this step has made or written is marked."""
    roles = _roles(seen["files"])
    nodes = [
        DrawnVolume(
            _key(name), name, name, facts["format"], facts["virtual_size"], facts["on_disk"],
            roles[name], mark=_mark(step, name),
        )
        for name, facts in seen["files"].items()
    ]  # fmt: skip
    if len(seen["chain"]) == len(nodes):
        order = {_key(name): place for place, name in enumerate(seen["chain"])}
        nodes.sort(key=lambda node: order[node.key])
        return [svg(chain_dot(nodes), _("The chain"))]
    edges = [
        (_key(facts["backing_file"]), _key(name))
        for name, facts in seen["files"].items()
        if facts["backing_file"] in seen["files"]
    ]
    return many(small_forest_dots(nodes, edges), _("The files and their backing files"))


def reads(seen: Mapping[str, Any]) -> SafeString:
    """The guest's first blocks, and the way of each read."""
    chain, answered, held = seen["chain"], seen["answered"], seen["held"]
    count = len(answered[0])
    rows = [
        ReadsRow(
            key=f"r{index}", name=name, path=name, url="",
            held=[part / BLOCK for part in held[index]],
            answered=[part / BLOCK for part in answered[index]],
            detail=[_detail(name, held[index][n], answered[index][n]) for n in range(count)],
        )
        for index, name in enumerate(chain)
    ]  # fmt: skip
    owner = [block.hops for block in blocks(seen)]
    starts = [number * BLOCK for number in range(count)]
    picture = ReadsPicture(
        starts, [BLOCK] * count, rows, owner, [""] * count, numbered=True
    )  # fmt: skip
    return svg(reads_dot(picture), _("Redirected reads of the guest’s first blocks"))


def _detail(name: str, held: int, answered: int) -> str:
    words = {"layer": name, "held": binary(held), "answered": binary(answered)}
    return _("%(layer)s: holds %(held)s, answers %(answered)s") % words if held else ""


def _key(name: str) -> str:
    return name.removesuffix(".img")


def _mark(step: Step | None, name: str) -> Mark:
    if step is None:
        return Mark.NONE
    if name in step.makes:
        return Mark.NEW
    return Mark.CHANGED if name in step.writes else Mark.NONE


def _roles(found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What each file is by its place, in the words of the disk's page."""
    below: Sequence[str] = [facts["backing_file"] for facts in found.values()]
    return {
        name: "root" if facts["backing_file"] is None else "snapshot" if name in below else "active"
        for name, facts in found.items()
    }
