"""A domain as the planner sees it: from the inventory for a page, from storage itself for a worker."""

import os
from collections.abc import Iterable

from chains.core.forest import Forest
from chains.core.plans import Plan, PlanVolume, Situation, plan_convert
from chains.inventory import blockmaps, selectors
from chains.inventory.scan import features
from chains.models import Volume
from chains.storage import directory
from chains.storage.locks import in_use


def from_inventory(volume: Volume) -> Situation:
    """The family of a volume as the last scan saw it."""
    family = selectors.family_of(volume)
    domain = volume.domain
    critical = {
        finding.path: finding.detail
        for finding in selectors.findings_of(family).filter(severity="critical")
    }
    return Situation(
        {row.path: _of_row(row) for row in family}, critical, domain.free, domain.read_only
    )


def plan_from_inventory(base: Volume, top: Volume) -> Plan:
    """The plan of base…top with what the database knows; raises PlanError."""
    situation = from_inventory(top)
    rows = {row.path: row for row in selectors.chain_of(top)}
    draft = plan_convert(situation, base.path, top.path, None)
    maps = blockmaps.stored_maps([rows[path] for path in draft.layers])
    return plan_convert(situation, base.path, top.path, maps)


def from_storage(root: str, forest: Forest, *, read_only: bool) -> Situation:
    """The domain as it stands on storage now, locks and free space included; raises OSError."""
    volumes = {
        path: PlanVolume(
            path, layer.format, layer.virtual_size, layer.on_disk, layer.cluster_size,
            layer.backing_path, tuple(features(layer)),
        )
        for path, layer in forest.layers.items()
    }  # fmt: skip
    critical = {f.path: f.detail for f in forest.findings if f.severity == "critical"}
    return Situation(volumes, critical, directory.space(root).free, read_only)


def users(root: str, paths: Iterable[str]) -> list[str]:
    """Those of the volumes that another process has open now; raises OSError."""
    return [path for path in paths if in_use(os.path.join(root, path))]


def _of_row(row: Volume) -> PlanVolume:
    return PlanVolume(
        row.path, row.format, row.virtual_size, row.on_disk, row.cluster_size, row.backing_path, tuple(row.features), row.in_use,
    )  # fmt: skip
