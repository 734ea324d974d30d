"""What is there after a step: read from the sandbox by the reader of every domain, as plain facts."""

from collections.abc import Mapping
from typing import Any

from chains.core.advice import advice
from chains.core.forest import Forest
from chains.core.layer import Layer
from chains.core.links import Chain
from chains.core.plans import plans
from chains.core.reads import resolve, slice_view
from chains.inventory.reading import read_domain
from chains.lessons.steps import BLOCK, BLOCKS, FILES, MERGED_BASE, MERGED_TOP, PLANNED_AFTER, Step
from chains.merges import situation
from chains.models import StorageDomain
from chains.storage.directory import Directory
from chains.storage.profiles.plain import Plain


def look(root: str, step: Step) -> dict[str, Any]:
    """Read the sandbox at `root` as it stands after a step.

    `files` by name; `chain` from the guest's file down; `answered` and `held`: bytes a block, by layer of
    the chain; and, where the merge comes next, `plans` and `advice`. Raises StrataError.
    """
    driver = Directory(profile=Plain.name)
    forest = read_domain(driver, root, {}, set()).forest
    chain = driver.chain(root, step.guest)
    maps = driver.maps(root, chain, {}, None)
    part = slice_view(maps, resolve(maps), 0, BLOCKS * BLOCK, BLOCKS, BLOCK)
    return {
        "files": {
            name: _facts(forest.layers[name]) for name in FILES if name in forest.layers
        },
        "chain": [layer.path for layer in chain.layers],
        "answered": part.answered.tolist(),
        "held": (part.answered + part.shadowed).tolist(),
        **(_planned(root, driver, forest) if step.number == PLANNED_AFTER else {}),
    }  # fmt: skip


def _facts(layer: Layer) -> Mapping[str, Any]:
    return {
        "format": layer.format, "virtual_size": layer.virtual_size, "file_size": layer.file_size,
        "on_disk": layer.on_disk, "backing_file": layer.backing_file,
        "backing_format": layer.backing_format,
    }  # fmt: skip


def _planned(root: str, driver: Directory, forest: Forest) -> dict[str, Any]:
    """What Strata itself would do, were the sandbox a storage domain like any other."""
    keep = StorageDomain._meta.get_field("keep_seconds").get_default()
    seen = situation.from_storage(root, forest, forbidden="", keep_seconds=keep)
    chain: Chain = driver.chain(root, MERGED_TOP)
    found = plans(seen, MERGED_BASE, MERGED_TOP, driver.maps(root, chain, {}, None))
    return {"plans": [plan.to_json() for plan in found], "advice": advice(found)}
