"""Which disks of a domain a batch is about: by their ids, by a search, or by a policy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from chains.core.errors import StrataError
from chains.core.scopes import parse_age, parse_count
from chains.core.units import span
from chains.inventory import lists
from chains.inventory.asking import BadRequestError
from chains.inventory.search import cleaned
from chains.models import Disk, StorageDomain

MOST_DISKS = 500


@dataclass(frozen=True)
class Selection:
    """Which disks: those that all given parts name.

    `ids` are disks by themselves, `query` is a part of their names, `deeper_than` a number of layers,
    `older_than` the age of the oldest snapshot in seconds. `everything` says that no part is meant.
    """

    ids: tuple[int, ...] | None = None
    query: str = ""
    deeper_than: int | None = None
    older_than: int | None = None
    everything: bool = False

    @classmethod
    def from_words(cls, ids: Iterable[str] | None, words: Mapping[str, str]) -> "Selection":
        """Read what a form says: `q`, `deeper_than`, `older_than`, `all`; raises BadRequestError."""
        given = [
            text for text in ids or () if text.isascii() and text.isdecimal() and len(text) < 18
        ]
        deeper, older = words.get("deeper_than", "").strip(), words.get("older_than", "").strip()
        try:
            return cls(
                tuple(dict.fromkeys(map(int, given))) if given else None,
                words.get("q", "").replace("\x00", ""),
                parse_count(deeper, "the number of layers") if deeper else None,
                parse_age(older) if older else None,
                bool(words.get("all")),
            )
        except StrataError as error:
            raise BadRequestError(str(error)) from None

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been chosen at all."""
        return not (
            self.everything or self.ids is not None or self.query
            or self.deeper_than is not None or self.older_than is not None
        )  # fmt: skip

    @property
    def words(self) -> str:
        """What was chosen, in words."""
        parts = [f"named like “{self.query}”"] if self.query else []
        if self.deeper_than is not None:
            parts.append(f"deeper than {self.deeper_than} layers")
        if self.older_than is not None:
            parts.append(f"with a snapshot older than {span(self.older_than)}")
        which = "the chosen disks" if self.ids is not None else "all disks"
        return " ".join([which, " and ".join(parts)]).strip()


def select_disks(domain: StorageDomain, selection: Selection) -> list[Disk]:
    """The disks, by name; raises BadRequestError when nothing is chosen, or more than a batch takes."""
    if selection.is_empty:
        raise BadRequestError("Choose disks: one by one, by a search, or by a policy.")
    found = lists.disks(domain, lists.DiskFilter(cleaned(selection.query))).order_by("name", "id")
    if selection.ids is not None:
        found = found.filter(pk__in=selection.ids)
    if selection.deeper_than is not None:
        found = found.filter(layers__gt=selection.deeper_than)
    if selection.older_than is not None:
        before = timezone.now() - timedelta(seconds=selection.older_than)
        found = found.filter(oldest_snapshot__lt=before)
    rows = list(found[: MOST_DISKS + 1])
    if len(rows) > MOST_DISKS:
        raise BadRequestError(
            f"That is {found.count():,} disks, and a batch has {MOST_DISKS} at most: choose fewer."
        )
    for row in rows:
        row.domain = domain
    return rows


def missing(domain: StorageDomain, selection: Selection) -> list[int]:
    """Ids that were chosen and are no disks of the domain (any more)."""
    if selection.ids is None:
        return []
    known = set(domain.disks.filter(pk__in=selection.ids).values_list("pk", flat=True))
    return [pk for pk in selection.ids if pk not in known]
