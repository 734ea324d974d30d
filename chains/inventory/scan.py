"""Reading a storage domain into the inventory. Runs in workers and commands, never in the web process."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Max, Sum
from django.utils import timezone

from chains.core.errors import StrataError
from chains.core.findings import Code
from chains.core.findings import Finding as Found
from chains.core.forest import Forest
from chains.core.names import display
from chains.core.rules import Site, endangered, judge
from chains.inventory import disks, engine, findings, history, news
from chains.inventory.drivers import directory_driver, driver_of
from chains.inventory.known import Known, known_volumes
from chains.inventory.reach import looked_at, note_unreachable, still_mounted
from chains.inventory.reading import (
    CancelledByUserError,
    Reading,
    Report,
    UnreachableError,
    read_domain,
    read_paths,
)
from chains.inventory.saving import delete_volumes, features, held, relink, save_volumes
from chains.inventory.site import WHOLE_DOMAIN, site_of
from chains.inventory.usage import Usage
from chains.models import StorageDomain
from chains.storage.types import Space

__all__ = ["UnreachableError", "features", "read_forest", "scan_domain", "scan_paths"]


def read_forest(root: str, report: Report | None = None) -> Forest:
    """Read every header below a directory, whatever is known of it; raises UnreachableError."""
    return read_domain(directory_driver(), root, {}, set(), report).forest


def scan_domain(
    domain: StorageDomain,
    report: Report | None = None,
    *,
    may_save: Callable[[], bool] = lambda: True,
) -> Forest:
    """Read the domain and bring its rows up to date in one transaction; raises UnreachableError.

    What has not changed since the last scan costs one look. A scan that can not read the domain
    changes nothing but the note that it is unreachable; `may_save` is asked last, under the domain's
    lock: one that was given up meanwhile changes nothing at all.
    """
    with without_collector():
        return _scan_domain(domain, report, may_save)


@contextmanager
def without_collector() -> Iterator[None]:
    """A scan makes a million small objects and no cycles: to look for these takes a sixth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _scan_domain(
    domain: StorageDomain, report: Report | None, may_save: Callable[[], bool]
) -> Forest:

    def alive() -> None:
        if report is not None:
            report(0, 0)

    known = known_volumes(domain)
    suspects = set(domain.findings.open().exclude(volume=None).values_list("path", flat=True))
    try:
        driver = driver_of(domain)
        news.let_go()
        before = engine.ask(domain, alive)
        reading = read_domain(driver, domain.path, known, suspects, report)
        reading = engine.witness(reading, before, engine.ask(domain, alive))
        still_mounted(domain, reading, known)
        space = driver.space(domain.path)
        usage = Usage.of(domain, reading)
        seen = looked_at(domain, reading, space)
    except CancelledByUserError:
        raise
    except (StrataError, OSError) as error:
        note_unreachable(domain, str(error))
        raise UnreachableError(str(error)) from error
    with transaction.atomic():
        row = StorageDomain.objects.select_for_update().get(pk=domain.pk)
        if may_save():
            StorageDomain.objects.filter(pk=row.pk).update(**seen)
            row.refresh_from_db()
            _save(row, reading, known, usage, space=space, now=timezone.now())
    return reading.forest


def scan_paths(domain: StorageDomain, paths: Iterable[str]) -> None:
    """Read some volumes again, with all that share a root with them; raises UnreachableError.

    What follows from the domain as a whole stays as the last scan of it left it.
    """
    wanted = sorted(set(paths))
    known = known_volumes(domain, wanted)
    reading = read_paths(driver_of(domain), domain.path, known, wanted)
    usage = Usage.of(domain, reading)
    with transaction.atomic():
        row = StorageDomain.objects.select_for_update().get(pk=domain.pk)
        _save(row, reading, known, usage, space=None, now=timezone.now())


def _save(
    domain: StorageDomain, reading: Reading, known: Mapping[str, Known], usage: Usage,
    *, space: Space | None, now: datetime,
) -> None:  # fmt: skip
    """All rows of the domain, or with no `space` those of a part of it."""
    whole = space is not None
    before = 0 if whole else held(row.layer() for row in known.values())
    saved = save_volumes(domain, reading, known, usage.states, now)
    site = site_of(domain, reading, usage, space, now)
    found = [*reading.forest.findings, *reading.findings, *judge(site)]
    changed = _save_findings(domain, found, saved.ids, site, known, whole=whole, now=now)
    rows = disks.stored_disks(domain, None if whole else [*saved.ids.values(), *saved.gone])
    changed |= disks.save_disks(domain, site, saved.ids, found, stored=rows, now=now)
    if not whole and saved.changed:
        relink(domain)
    delete_volumes(saved.gone)
    if changed or saved.changed or whole:
        after = held(reading.forest.layers.values())
        _count(domain, after - before + (0 if whole else int(domain.on_disk_total)))
        history.record_domain(domain, now)


def _save_findings(
    domain: StorageDomain, found: Sequence[Found], ids: Mapping[str, int], site: Site,
    known: Mapping[str, Known], *, whole: bool, now: datetime,
) -> bool:  # fmt: skip
    rows = findings.open_findings(domain)
    if not whole:
        mine = {path for path in (*ids, *known) if path}
        rows = [row for row in rows if row[1] in mine and row[2] not in WHOLE_DOMAIN]
        found = [f for f in found if f.path in mine and f.code not in WHOLE_DOMAIN]
    guests = {
        finding.path: _guests(site, finding.path)
        for finding in found
        if finding.severity != "info" and finding.path in site.forest.layers
        and finding.code is not Code.UNREFERENCED  # nobody owns it
    }  # fmt: skip
    return bool(findings.store(domain, found, ids, guests, now=now, open_rows=rows))


def _guests(site: Site, path: str) -> list[str]:
    """The guests that read through a layer, by the best name that is known of them."""
    names = []
    for leaf in endangered(site.forest, path):
        notes = site.notes.get(leaf)
        names.append((notes.vm or notes.disk_name if notes else "") or leaf)
    return sorted(set(map(display, names)))


def _count(domain: StorageDomain, on_disk: int) -> None:
    """Sums that pages show, on the domain's row: to count a million rows takes longer than a page may."""
    total = domain.disks.aggregate(
        disk_count=Count("pk"), deepest=Max("layers"), virtual_total=Sum("virtual_size")
    )
    facts = {name: value or 0 for name, value in total.items()}
    facts |= {"volume_count": domain.volumes.count(), "on_disk_total": on_disk}
    StorageDomain.objects.filter(pk=domain.pk).exclude(**facts).update(**facts)
    findings.count(domain)
