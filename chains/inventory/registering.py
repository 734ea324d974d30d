"""Registering storage domains, one or all that a mount holds, and how often they are scanned."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction

from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.units import parse_seconds, span
from chains.inventory import audit
from chains.inventory.asking import BadRequestError, check
from chains.inventory.drivers import FOLDERS, OPTIONS, driver_of
from chains.models import DomainKind, StorageDomain, User
from chains.models.domains import DATACENTER_LIMIT, HOUR_SECONDS
from chains.permissions import Action
from chains.storage.ovirt_domain import FoundDomain, find_domains
from chains.storage.profiles import AUTO
from chains.storage.profiles.domains import LOCAL

NAME_LIMIT = 80  # as wide as its column
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 366 * 86_400
OPTION_LIMIT = 4096
DEVICES = "/dev/"
# lvm2, lib/format_text/layout.h: the label of a physical volume stands in one of its first sectors.
_LABEL, _SECTOR, _SECTORS = b"LABELONE", 512, 4
_TAKEN = "There is a domain named {} already; choose another name."


@dataclass(frozen=True)
class Wish:
    """What a domain is to be like; `options` are those of its driver: inventory.drivers.OPTIONS."""

    kind: str = DomainKind.DIRECTORY
    read_only: bool = False
    profile: str = AUTO
    options: Mapping[str, str] = field(default_factory=dict)
    scan_seconds: int = HOUR_SECONDS
    datacenter: str = ""


DEFAULT = Wish()


class Registered(NamedTuple):
    """A domain, and whether it was registered just now; `note` says what was odd about it."""

    domain: StorageDomain
    is_new: bool
    note: str = ""


def register(
    name: str, path: str, storage_host: str, wish: Wish = DEFAULT, *,
    user: User | None = None, origin: str = "command line",
) -> StorageDomain:  # fmt: skip
    """Register a storage domain.

    Raises NotAllowedError, BadRequestError when what is asked makes no sense, StrataError when the
    name or the place is taken.
    """
    check(user, Action.MANAGE_DOMAINS)
    _check_name(name)
    _check_place(path, storage_host)
    domain = StorageDomain(
        name=name, path=path, path_text=display(path), kind=wish.kind, storage_host=storage_host,
        read_only=wish.read_only, profile=wish.profile, options=dict(wish.options),
        scan_seconds=wish.scan_seconds, datacenter=wish.datacenter,
    )  # fmt: skip
    _check_wish(domain)
    told: dict[str, Any] = {
        "kind": str(wish.kind),
        "path": domain.path_text,
        "read_only": wish.read_only,
    }
    told |= {"profile": wish.profile} if wish.profile != AUTO else {}
    told |= {"datacenter": wish.datacenter} if wish.datacenter else {}
    told |= {"options": dict(wish.options)} if wish.options else {}
    try:
        with transaction.atomic():
            domain.save(force_insert=True)
            audit.record(
                user, origin, "add domain", name, domain=domain.pk, **told,
                scan_every=span(wish.scan_seconds),
            )  # fmt: skip
    except IntegrityError:
        raise StrataError(_TAKEN.format(name)) from None
    return domain


def register_found(
    name: str, found: Sequence[FoundDomain], storage_host: str, wish: Wish, *,
    user: User | None = None, origin: str = "command line",
) -> list[Registered]:  # fmt: skip
    """Register every oVirt domain of a mount that is not registered yet, all or none.

    One is called `name`, several `name`-<the first 8 of its uuid>. Raises as `register` does.
    """
    check(user, Action.MANAGE_DOMAINS)
    if not found:
        raise BadRequestError("No oVirt storage domain lies there: none has dom_md/metadata.")
    there = {row.path: row for row in StorageDomain.objects.filter(storage_host=storage_host)}
    done = []
    with transaction.atomic():
        for one in found:
            path = os.path.realpath(one.path)
            note = f"its own description can not be read ({one.error})" if one.error else ""
            if path in there:
                done.append(Registered(there[path], False, note))
                continue
            called = name if len(found) == 1 else f"{name}-{display(one.uuid)[:8]}"
            row = register(called, path, storage_host, wish, user=user, origin=origin)
            done.append(Registered(row, True, note))
    return done


def kind_of(path: str) -> str:
    """Guess the kind of a domain from what lies at a path of this host; raises OSError."""
    if path.startswith(DEVICES):
        return DomainKind.OVIRT_BLOCK
    if find_domains(path):
        return DomainKind.OVIRT_FILE
    return DomainKind.OVIRT_BLOCK if _holds_physical_volumes(path) else DomainKind.DIRECTORY


def _holds_physical_volumes(path: str) -> bool:
    with os.scandir(path) as entries:
        files = sorted(e.path for e in entries if e.is_file(follow_symlinks=False))
    return any(map(_is_physical_volume, files[:64]))


def _is_physical_volume(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(_SECTORS * _SECTOR)
    except OSError:
        return False
    return any(head.startswith(_LABEL, sector * _SECTOR) for sector in range(_SECTORS))


def set_schedule(domain: StorageDomain, seconds: int, user: User | None, origin: str) -> None:
    """Change how often a domain is scanned, 0 for only when asked; raises NotAllowedError, BadRequestError.

    A worker sets the next time anew, within the first tenth of the new one.
    """
    check(user, Action.MANAGE_DOMAINS)
    _check_schedule(seconds)
    with transaction.atomic():
        StorageDomain.objects.filter(pk=domain.pk).update(scan_seconds=seconds, next_scan_at=None)
        audit.record(user, origin, "change domain", domain.name, domain=domain.pk,
                     scan_every=span(seconds))  # fmt: skip
    domain.refresh_from_db()


def set_driver(
    domain: StorageDomain,
    profile: str | None,
    options: Mapping[str, str],
    user: User | None,
    origin: str,
) -> None:
    """Say who made a directory's tree, or with None leave that; options given as "" are taken back.

    It holds from the next scan on. Raises NotAllowedError, BadRequestError.
    """
    check(user, Action.MANAGE_DOMAINS)
    kept = {name: value for name, value in {**domain.options, **options}.items() if value}
    domain.profile, domain.options = profile or domain.profile, kept
    _check_wish(domain)
    with transaction.atomic():
        domain.save(update_fields=["profile", "options"])
        audit.record(
            user, origin, "change domain", domain.name, domain=domain.pk, profile=domain.profile,
            options=kept,
        )  # fmt: skip


def set_datacenter(domain: StorageDomain, name: str, user: User | None, origin: str) -> None:
    """Say what datacenter a domain belongs to, "" for as its metadata says; raises NotAllowedError,
    BadRequestError.
    """
    check(user, Action.MANAGE_DOMAINS)
    _check_datacenter(name)
    # What the last scan found holds at once, and not only from the next one on.
    effective = name or str(domain.facts.get("datacenter") or "")
    with transaction.atomic():
        StorageDomain.objects.filter(pk=domain.pk).update(datacenter=effective)
        audit.record(user, origin, "change domain", domain.name, datacenter=name)
    domain.refresh_from_db()


def seconds_of(text: str) -> int:
    """Read how often a domain is scanned, as people write it; raises BadRequestError."""
    try:
        seconds = parse_seconds(text)
    except StrataError as error:
        raise BadRequestError(str(error)) from None
    _check_schedule(seconds)
    return seconds


def _check_schedule(seconds: int) -> None:
    if seconds and not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise BadRequestError("A domain is scanned every 60 s up to every 366 days; 0: when asked.")


def _check_datacenter(name: str) -> None:
    if len(name) > DATACENTER_LIMIT or display(name) != name or name != name.strip():
        raise BadRequestError(
            f"A datacenter's name is some plain text in one line, of at most {DATACENTER_LIMIT} characters."
        )


def _check_name(name: str) -> None:
    if not name.strip() or "/" in name or display(name) != name:
        raise BadRequestError("A domain's name is some plain text in one line, without a slash.")
    if len(name) > NAME_LIMIT:
        raise BadRequestError(f"A domain's name has at most {NAME_LIMIT} characters.")
    if StorageDomain.objects.filter(name=name).exists():
        raise StrataError(_TAKEN.format(name))


def _check_place(path: str, storage_host: str) -> None:
    if not path.strip("/"):
        raise BadRequestError(
            "The root directory is no storage domain: give the directory that holds the images."
        )
    for other in StorageDomain.objects.filter(storage_host=storage_host):
        if _overlap(other.path, path):
            raise StrataError(
                f"{display(path)} overlaps the storage domain {other.name} ({other.path_text}): a volume"
                " belongs to one domain, so that two merges can not meet on it."
            )


def _overlap(one: str, other: str) -> bool:
    """Whether one directory is the other or lies inside it."""
    first, second = (path.rstrip("/") + "/" for path in (one, other))
    return first.startswith(second) or second.startswith(first)


def _check_wish(domain: StorageDomain) -> None:
    """Raises BadRequestError, saying what would do."""
    if domain.kind not in DomainKind.values:
        raise BadRequestError(f"The kinds of domains are {', '.join(DomainKind.values)}.")
    _check_schedule(domain.scan_seconds)
    _check_datacenter(domain.datacenter)
    if domain.kind != DomainKind.DIRECTORY and (domain.profile != AUTO or domain.options):
        raise BadRequestError("A profile and its options are for directories only.")
    for name, value in domain.options.items():
        if name not in OPTIONS:
            raise BadRequestError(f"There is no option “{display(name)}”: {', '.join(OPTIONS)}.")
        if not value or len(value) > OPTION_LIMIT or display(value) != value:
            raise BadRequestError(f"{name}: give a path or an address.")
        if name in FOLDERS and not value.startswith("/"):
            raise BadRequestError(f"{name}: give the whole path of a directory, from / on.")
        if name not in FOLDERS and not value.startswith(LOCAL):
            raise BadRequestError(
                f"{name}: give an address like qemu:///system; other hosts are not asked."
            )
    if domain.kind == DomainKind.DIRECTORY:
        try:
            driver_of(domain)
        except StrataError as error:
            raise BadRequestError(str(error)) from None
