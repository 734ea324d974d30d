"""A domain as the planner sees it: from the inventory for a page, from storage itself for a worker."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from django.db.models.fields.json import KT

from chains.core.extents import ExtentMap
from chains.core.forest import Forest
from chains.core.plans import Plan, layers_between, plans
from chains.core.situation import PlanVolume, Refusal, Situation
from chains.inventory import blockmaps, selectors
from chains.inventory.scan import features
from chains.models import Finding, StorageDomain, Volume
from chains.storage import directory
from chains.storage.files import space
from chains.storage.locks import in_use

AUTO = "auto"


def from_inventory(volume: Volume) -> Situation:
    """The family of a volume as the last scan saw it."""
    family = selectors.family_of(volume)
    critical = selectors.findings_of(family).filter(severity="critical")
    return of_family(volume.domain, family, critical, data_files_of(volume.domain))


def of_family(
    domain: StorageDomain,
    family: Iterable[Volume],
    critical: Iterable[Finding],
    data_files: Mapping[str, str],
) -> Situation:
    """A family with what is wrong with it, as it was read from the database."""
    return Situation(
        {row.path: _of_row(row) for row in family}, {found.path: found.detail for found in critical},
        domain.free, domain.forbidden, data_files, domain.shares_blocks, domain.keep_seconds,
    )  # fmt: skip


def data_files_of(domain: StorageDomain) -> dict[str, str]:
    """Which volumes of the domain hold the data of which layers."""
    # As text a JSON null is no name; as JSON it is a value, and every volume of the domain has one.
    owners = domain.volumes.annotate(names=KT("header__data_file")).filter(names__isnull=False)
    return _data_files(
        domain.path,
        owners.values_list("path", "names"),
        os.path.normpath,  # a page does not touch storage; the preflight follows links
    )


def plans_from_inventory(base: Volume, top: Volume) -> list[Plan]:
    """Every way to join base…top with what the database knows, the best first; raises PlanError."""
    situation = from_inventory(top)
    layers_between(situation, base.path, top.path)
    maps = blockmaps.stored_maps(selectors.chain_of(top))
    why = blockmaps.stored_error(selectors.leaves_above(top)) if maps is None else ""
    return plans_of(situation, base, top, maps, why)


def plans_of(
    situation: Situation, base: Volume, top: Volume, maps: Sequence[ExtentMap] | None, why: str
) -> list[Plan]:
    """The same from what has been read; `why` there are no maps, when a worker has tried in vain."""
    found = plans(situation, base.path, top.path, maps)
    return [_with_reason(plan, why) for plan in found] if why else found


def _with_reason(plan: Plan, why: str) -> Plan:
    """Planning again would not help: a worker has tried to read the layers."""
    told = Refusal("unreadable", f"The block maps of these layers can not be read: {why}")
    reasons = tuple(told if r.code == "not-read" else r for r in plan.refusals)
    return replace(plan, refusals=reasons)


def plan_from_inventory(base: Volume, top: Volume, strategy: str = AUTO) -> Plan:
    """One of them, by its strategy, or the recommended one; raises PlanError."""
    found = plans_from_inventory(base, top)
    return next((plan for plan in found if plan.strategy == strategy), found[0])


def from_storage(root: str, forest: Forest, *, forbidden: str, keep_seconds: int) -> Situation:
    """The domain as it stands on storage now, locks and free space included; raises OSError."""
    volumes = {
        path: PlanVolume(
            path, layer.format, layer.virtual_size, layer.on_disk, layer.cluster_size,
            layer.backing_path, tuple(features(layer)), backing_format=layer.backing_format,
            extended_l2=bool(layer.header and layer.header.extended_l2),
        )
        for path, layer in forest.layers.items()
    }  # fmt: skip
    critical = {f.path: f.detail for f in forest.findings if f.severity == "critical"}
    owners = (
        (path, layer.header.data_file) for path, layer in forest.layers.items() if layer.header
    )
    data_files = _data_files(root, owners, os.path.realpath)
    shares = not forbidden and directory.shares_blocks(root)
    free = space(root).free
    return Situation(volumes, critical, free, forbidden, data_files, shares, keep_seconds)


def _data_files(
    root: str, owners: Iterable[tuple[str, str | None]], follow: Callable[[str], str]
) -> dict[str, str]:
    """Which volumes hold the data of which layers, by the names in their headers."""
    real = follow(root)
    return {
        os.path.relpath(follow(os.path.join(real, os.path.dirname(path), name)), real): path
        for path, name in owners
        if name
    }


def users(root: str, paths: Iterable[str]) -> list[str]:
    """Those of the volumes that another process has open now; raises OSError."""
    return [path for path in paths if in_use(os.path.join(root, path))]


def _of_row(row: Volume) -> PlanVolume:
    return PlanVolume(
        row.path, row.format, row.virtual_size, row.on_disk, row.cluster_size, row.backing_path, tuple(row.features), bool(row.in_use),
        row.backing_format, bool(row.header and row.header.get("extended_l2")),
    )  # fmt: skip
