"""The long lists of the inventory, with their filters and orders: what pages, API and exports share."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, time
from typing import Any, Final, Self, TypeVar

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Left
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from chains.core.findings import Code, Severity
from chains.inventory import audit
from chains.inventory.asking import BadRequestError
from chains.inventory.findings import RANK
from chains.inventory.history import MOMENT_YEARS
from chains.inventory.paging import Kind, Order, Page, Total, total
from chains.inventory.search import cleaned, contains
from chains.models import AuditRecord, Disk, Finding, StorageDomain, Volume
from chains.models.inventory import NAME_ORDER

SEVERITIES: Final = tuple(severity.value for severity in Severity)
CODES: Final = tuple(sorted(code.value for code in Code))
USES: Final = ("yes", "no", "unknown")
STATES: Final = ("open", "acknowledged", "resolved", "any")
FORMATS: Final = ("raw", "qcow2")
RESULTS: Final = tuple(result.value for result in audit.Result)
BY_ID: Final = Order("id", F("id"), Kind.NUMBER)
NEWEST_FIRST: Final = replace(BY_ID, descending=True)
BY_PATH: Final = Order("path", F("path"), Kind.NAME)
VOLUME_ORDERS: Final = {
    order.word: order
    for order in (
        BY_PATH,
        Order("on_disk", F("on_disk"), Kind.NUMBER),
        Order("modified", F("modified"), Kind.MOMENT),
    )
}
LATEST_FIRST: Final = Order("at", F("at"), Kind.MOMENT, descending=True)
WORST_FIRST: Final = Order("rank", F("rank"), Kind.NUMBER)
DISK_ORDERS: Final = {
    order.word: order
    for order in (
        Order("name", Left("name", NAME_ORDER), Kind.TEXT),
        Order("virtual_size", F("virtual_size"), Kind.NUMBER),
        Order("on_disk", F("on_disk"), Kind.NUMBER),
        Order("layers", F("layers"), Kind.NUMBER),
        Order("oldest_snapshot", F("oldest_snapshot"), Kind.MOMENT, nullable=True),
        Order("findings", F("findings"), Kind.NUMBER),
    )
}
_IN_USE = {"yes": True, "no": False, "unknown": None}

Words = Mapping[str, str]
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class _Filter:
    """What an address asks for; the empty value of each field asks for nothing."""

    @property
    def is_set(self) -> bool:
        """Whether anything is left out."""
        return any(getattr(self, part.name) != part.default for part in fields(self))


@dataclass(frozen=True)
class DiskFilter(_Filter):
    """`q` is a part of the name, or of the VM's; `severity` also "any"; `depth` layers at least."""

    q: str = ""
    severity: str = ""
    depth: int | None = None
    in_use: str = ""

    @classmethod
    def from_words(cls, words: Words) -> Self:
        """Raises BadRequestError."""
        return cls(
            cleaned(words.get("q", "")), _one_of(words, "severity", ("any", *SEVERITIES)),
            _number(words, "depth"), _one_of(words, "in_use", USES),
        )  # fmt: skip

    def of(self, rows: QuerySet[Disk]) -> QuerySet[Disk]:
        """Those of the disks that are asked for."""
        if self.q:
            rows = rows.filter(Q(contains("name", self.q)) | Q(contains("vm", self.q)))
        if self.severity:
            rows = rows.filter(findings__gt=0)
        if self.severity in SEVERITIES:
            rows = rows.filter(severity=self.severity)
        if self.depth is not None:
            rows = rows.filter(layers__gte=self.depth)
        return rows.filter(active__in_use=_IN_USE[self.in_use]) if self.in_use else rows


@dataclass(frozen=True)
class VolumeFilter(_Filter):
    """`q` is a part of the path; `seen` is "no" for those in folders that can not be read now."""

    q: str = ""
    image_format: str = ""
    in_use: str = ""
    seen: str = ""

    @classmethod
    def from_words(cls, words: Words) -> Self:
        """Raises BadRequestError."""
        return cls(
            cleaned(words.get("q", "")), _one_of(words, "image_format", FORMATS),
            _one_of(words, "in_use", USES), _one_of(words, "seen", ("no",)),
        )  # fmt: skip

    def of(self, rows: QuerySet[Volume]) -> QuerySet[Volume]:
        """Those of the volumes that are asked for."""
        if self.q:
            rows = rows.filter(contains("path_text", self.q))
        if self.image_format:
            rows = rows.filter(format=self.image_format)
        if self.in_use:
            rows = rows.filter(in_use=_IN_USE[self.in_use])
        return rows.filter(not_seen_since__isnull=False) if self.seen else rows


@dataclass(frozen=True)
class FindingFilter(_Filter):
    """`state`: open ones to see, acknowledged or resolved ones, or any; `q` is a part of the path."""

    domain: int | None = None
    severity: str = ""
    code: str = ""
    state: str = "open"
    q: str = ""

    @classmethod
    def from_words(cls, words: Words) -> Self:
        """Raises BadRequestError."""
        return cls(
            _number(words, "domain"), _one_of(words, "severity", SEVERITIES),
            _one_of(words, "code", CODES), _one_of(words, "state", STATES) or "open",
            cleaned(words.get("q", "")),
        )  # fmt: skip

    @property
    def order(self) -> Order:
        """The worst first; of all that ever were, the newest."""
        return NEWEST_FIRST if self.state == "any" else WORST_FIRST

    def rows(self) -> QuerySet[Finding]:
        """The findings that are asked for."""
        states: dict[str, Callable[[], QuerySet[Finding]]] = {
            "open": Finding.objects.to_see, "acknowledged": Finding.objects.acknowledged,
            "resolved": Finding.objects.resolved, "any": Finding.objects.all,
        }  # fmt: skip
        rows = states[self.state]().select_related("domain", "volume__disk", "acknowledged_by")
        rows = rows.defer(*_long("volume__"))
        if self.domain is not None:
            rows = rows.filter(domain_id=self.domain)
        if self.severity:
            rows = rows.filter(rank=RANK[Severity(self.severity)])
        if self.code:
            rows = rows.filter(code=self.code)
        return rows.filter(contains("path_text", self.q)) if self.q else rows


@dataclass(frozen=True)
class RecordFilter(_Filter):
    """Of audit records; `q` is a part of the subject, `since` and `until` hold both ends."""

    person: str = ""
    action: str = ""
    origin: str = ""
    result: str = ""
    q: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def from_words(cls, words: Words) -> Self:
        """Raises BadRequestError."""
        return cls(
            cleaned(words.get("person", "")), _one_of(words, "action", audit.ACTIONS),
            cleaned(words.get("origin", "")), _one_of(words, "result", RESULTS),
            cleaned(words.get("q", "")), _moment(words, "from", time.min), _moment(words, "to", time.max),
        )  # fmt: skip

    def rows(self) -> QuerySet[AuditRecord]:
        """The records that are asked for, each with its seal."""
        columns = {"actor": "person", "action": "action", "origin": "origin", "result": "result"}
        asked = {column: getattr(self, word) for column, word in columns.items()}
        rows = AuditRecord.objects.select_related("seal")
        rows = rows.filter(**{column: value for column, value in asked.items() if value})
        if self.since is not None:
            rows = rows.filter(at__gte=self.since)
        if self.until is not None:
            rows = rows.filter(at__lte=self.until)
        return rows.filter(contains("subject", self.q)) if self.q else rows


def disks(domain: StorageDomain | None, asked: DiskFilter) -> QuerySet[Disk]:
    """The disks of a domain, or of all; raises BadRequestError for what is asked of one domain only."""
    rows = Disk.objects.select_related("active").defer(*_long("active__"))
    if domain is None:
        _only_of_one_domain(in_use=asked.in_use)
        return asked.of(rows)
    if asked.in_use:
        # It follows from the next line; said of the volumes, their index finds them too.
        rows = rows.filter(active__domain=domain)
    return asked.of(rows.filter(domain=domain))


def volumes(domain: StorageDomain | None, asked: VolumeFilter) -> QuerySet[Volume]:
    """The volumes of a domain, or of all; raises BadRequestError for what is asked of one domain only."""
    rows = Volume.objects.select_related("backing").defer(*_long("backing__"))
    if domain is None:
        _only_of_one_domain(image_format=asked.image_format, in_use=asked.in_use, seen=asked.seen)
        return asked.of(rows)
    return asked.of(rows.filter(domain=domain))


def narrow(rows: QuerySet[Volume]) -> QuerySet[Volume]:
    """Volumes without what is long of them, for a file of all."""
    return rows.select_related(None).defer(*_long(""))


def _long(before: str) -> list[str]:
    """The columns of a volume that no list shows, and that are most of its row."""
    return [f"{before}{name}" for name in ("header", "features", "notes", "check_result")]


def _only_of_one_domain(**words: str) -> None:
    """No index answers these for all domains together."""
    if given := [name for name, value in words.items() if value]:
        raise BadRequestError(f"{given[0]} is asked of one domain: name it.")


def volume_order(asked: VolumeFilter, sort: str = "") -> Order:
    """The order of a domain's volumes, by path when there is no such column; - before it: descending."""
    order = VOLUME_ORDERS.get(sort.removeprefix("-"), BY_PATH)
    if order.word == BY_PATH.word and asked.in_use == "unknown":
        order = replace(order, lead="in_use")
    return replace(order, descending=sort == f"-{order.word}")


def disk_order(sort: str) -> Order:
    """The order of a domain's disks, by name when there is no such column; - before it: descending."""
    order = DISK_ORDERS.get(sort.removeprefix("-"))
    if order is None:
        return DISK_ORDERS["name"]
    return replace(order, descending=sort.startswith("-"))


def total_of(
    page: Page[Any], rows: QuerySet[Any], order: Order, asked: _Filter, stored: int | None
) -> Total:
    """How many rows the whole list has that a page is of.

    A page that is the whole list says so; else it is as the last scan counted, or counted now as far
    as that is quick.
    """
    if not page.next and not page.previous:
        return Total(len(page.rows))
    return total(rows, order) if asked.is_set or stored is None else Total(stored)


def _one_of(words: Words, name: str, known: Collection[str]) -> str:
    value = words.get(name, "")
    if value and value not in known:
        raise BadRequestError(f"{name} is one of: {', '.join(known)}.")
    return value


def _moment(words: Words, name: str, part: time) -> datetime | None:
    """A moment, or of a day its beginning or end, in the zone of the settings."""
    text = words.get(name, "").strip()
    if not text:
        return None
    try:
        day = parse_date(text)
        found = datetime.combine(day, part) if day is not None else parse_datetime(text)
        if found is None or not MOMENT_YEARS[0] <= found.year <= MOMENT_YEARS[1]:
            raise ValueError
        return found if timezone.is_aware(found) else timezone.make_aware(found)
    except (ValueError, OverflowError):
        raise BadRequestError(
            f"{name} is a day like 2026-11-01, or a moment like 2026-11-01T12:00."
        ) from None


def _number(words: Words, name: str) -> int | None:
    text = words.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequestError(f"{name} is a whole number.")
    return int(text)
