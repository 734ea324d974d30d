"""Changing the thresholds of findings, for all domains or for one. Scans judge by them: `site`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import transaction

from chains.core import thresholds
from chains.core.errors import StrataError
from chains.core.thresholds import LABELS, Thresholds
from chains.inventory import audit, services
from chains.inventory.asking import BadRequestError, check
from chains.inventory.site import global_thresholds
from chains.models import GlobalThresholds, Scan, StorageDomain, User
from chains.permissions import Action

ALL = "all domains"
EFFECT = "They hold from the next scan on."


class Limit(NamedTuple):
    """One threshold: what is set here ("" for nothing), what holds otherwise, and what holds now."""

    name: str
    label: str
    here: str
    otherwise: str
    now: str


def limits_of(domain: StorageDomain | None = None) -> list[Limit]:
    """The thresholds of a domain, or with None those for all, in words."""
    common = global_thresholds()
    here = domain.thresholds if domain is not None else common
    above = Thresholds.of(common) if domain is not None else Thresholds()
    otherwise, now = above.to_words(), Thresholds.of(vars(above), here).to_words()
    return [
        Limit(name, label, now[name] if name in here else "", otherwise[name], now[name])
        for name, label in LABELS.items()
    ]


def limits_json(domain: StorageDomain | None = None) -> dict[str, Any]:
    """The same as the API gives it: `set` is what is set here, `values` what holds."""
    common = global_thresholds()
    here = domain.thresholds if domain is not None else common
    known = {name: here[name] for name in LABELS if name in here}
    return {
        "values": vars(Thresholds.of(common, here)), "set": known, "labels": LABELS,
        "effect": EFFECT,
    }  # fmt: skip


def from_words(words: Mapping[str, str]) -> dict[str, int]:
    """What people wrote, what is empty left out; raises BadRequestError."""
    try:
        return thresholds.parse(words)
    except StrataError as error:
        raise BadRequestError(str(error)) from None


def changed(domain: StorageDomain | None, given: Mapping[str, Any]) -> dict[str, int]:
    """What is set here, with some of it changed; None takes one back. Raises BadRequestError."""
    here = dict(domain.thresholds if domain is not None else global_thresholds())
    try:
        new = thresholds.check({k: v for k, v in given.items() if v is not None})
        thresholds.parse(dict.fromkeys(given, ""))  # a name that is not known
    except StrataError as error:
        raise BadRequestError(str(error)) from None
    return {name: here[name] for name in here if name in LABELS and name not in given} | new


def set_thresholds(
    domain: StorageDomain | None, values: Mapping[str, int], user: User | None, origin: str
) -> None:
    """Set those of a domain, or with None those for all; raises NotAllowedError, BadRequestError."""
    check(user, Action.MANAGE_DOMAINS)
    try:
        found = thresholds.check(values)
    except StrataError as error:
        raise BadRequestError(str(error)) from None
    with transaction.atomic():
        before = _replace(domain, found)
        told: dict[str, Any] = {
            name: [_words(before, name), _words(found, name)]
            for name in LABELS if before.get(name) != found.get(name)
        }  # fmt: skip
        if told:
            subject = domain.name if domain is not None else ALL
            told |= {"domain": domain.pk} if domain is not None else {}
            audit.record(user, origin, "change thresholds", subject, **told)
    if domain is not None:
        domain.refresh_from_db()


def _replace(domain: StorageDomain | None, values: dict[str, int]) -> dict[str, int]:
    """Store them; returns those of before."""
    if domain is not None:
        row = StorageDomain.objects.select_for_update().get(pk=domain.pk)
        StorageDomain.objects.filter(pk=domain.pk).update(thresholds=values)
        return dict(row.thresholds)
    first, _ = GlobalThresholds.objects.select_for_update().get_or_create(pk=1)
    GlobalThresholds.objects.filter(pk=first.pk).update(values=values)
    return dict(first.values)


def _words(values: Mapping[str, int], name: str) -> str:
    return Thresholds.of(values).to_words()[name] if name in values else ""


def scan_all(user: User | None, origin: str) -> list[Scan]:
    """Ask for a scan of every domain, so that what has changed is judged; raises NotAllowedError."""
    domains = StorageDomain.objects.order_by("pk")
    return [services.request_scan(domain, user, origin) for domain in domains]
