"""What the inventory knows of a domain's volumes: as much as a scan needs, and no more."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from chains.core.layer import Fingerprint, Layer
from chains.core.names import display
from chains.core.notes import Notes
from chains.models import StorageDomain

_COLUMNS = (
    "id", "path", "fingerprint", "format", "virtual_size", "on_disk", "backing_file",
    "backing_format", "backing_path", "backing_id", "in_use", "not_seen_since", "allocated", "notes",
)  # fmt: skip


class Known(NamedTuple):
    """A volume's row, as far as it takes part in chains."""

    pk: int
    path: str
    fingerprint: str
    format: str
    virtual_size: int
    on_disk: int
    backing_file: str | None
    backing_format: str | None
    backing_path: str | None
    backing_pk: int | None
    in_use: bool | None
    not_seen_since: datetime | None
    allocated: int | None
    notes: Mapping[str, Any] | None

    def layer(self, fingerprint: Fingerprint | None = None) -> Layer:
        """The layer as it was read then; its header is not kept here, and nothing was wrong with it.

        `fingerprint` is the stored one, by whom it has at hand.
        """
        found = fingerprint or Fingerprint.from_text(self.fingerprint)
        return Layer(
            self.path, self.format, self.virtual_size, self.on_disk, self.backing_file,
            self.backing_format, self.backing_path, found, None, (),
        )  # fmt: skip


def known_volumes(domain: StorageDomain, paths: Sequence[str] | None = None) -> dict[str, Known]:
    """The rows of a domain, or of some of its paths, by path."""
    rows = domain.volumes.order_by()
    if paths is not None:
        rows = rows.filter(path__in=paths)
    # Django's own conversion of a row takes as long as all the rest of a scan.
    statement, parameters = rows.values(*_COLUMNS).query.sql_with_params()
    found: dict[str, Known] = {}
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        while part := cursor.fetchmany(5000):
            for row in map(_known, part):
                found[row.path] = row
    return found


def _known(row: Sequence[Any]) -> Known:
    values = list(row)
    values[1] = os.fsdecode(values[1])
    for at in (6, 8):
        if values[at] is not None:
            values[at] = os.fsdecode(values[at])
    if values[13] is not None:
        values[13] = json.loads(values[13])
    return Known._make(values)


def notes_of(known: Iterable[Known]) -> dict[str, Notes]:
    """What their domains told of them at the last scan."""
    return {row.path: notes_from(row) for row in known if row.notes is not None}


def notes_from(row: Known) -> Notes:
    """The same of one row."""
    # Another version of Strata may have stored what this one has no word for.
    told = {name: value for name, value in (row.notes or {}).items() if name in Notes._fields}
    return Notes(**{"allocated": row.allocated, **told})


def stored_notes(notes: Notes | None) -> dict[str, Any] | None:
    """As a row holds them: what is not said is left out, and the size of an LV has its own column."""
    if notes is None:
        return None
    found = {
        name: _storable(value) for name, value in notes._asdict().items()
        if value not in ("", None) and name != "allocated"
    }  # fmt: skip
    return found or None


def _storable(value: Any) -> Any:
    """PostgreSQL's JSON holds neither NUL nor lone surrogates, and storage may say anything."""
    if isinstance(value, str):
        return display(value)
    if isinstance(value, Mapping):
        return {display(str(name)): _storable(part) for name, part in value.items()}
    return [_storable(part) for part in value] if isinstance(value, list | tuple) else value
