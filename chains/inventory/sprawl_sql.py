"""The sprawl report as queries: sums over the rows of disks, now or as the history has them."""

# ruff: noqa: S608 - every word of these statements is our own; what is asked for goes in as parameters

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from chains.inventory.search import pattern
from chains.inventory.sprawl_asked import NONE, Asked
from chains.inventory.sprawl_sums import FIGURES
from chains.models.inventory import NAME_ORDER

_COLUMNS: Final = (
    "domain_id, name, vm, layers, snapshots, snapshot_bytes, snapshot_since, shadowed, winnable,"
    " to_copy, breaches"
)
_NOW: Final = f"SELECT id AS number, id AS disk_id, {_COLUMNS} FROM chains_disk"
_THEN: Final = f"""SELECT disk_number AS number, disk_id, {_COLUMNS} FROM (
    SELECT DISTINCT ON (disk_number) * FROM chains_diskhistory
    WHERE at <= %(moment)s{{domain}} ORDER BY disk_number, at DESC, id DESC
) newest WHERE NOT gone"""

_SINGLE: Final = {
    "disks": "1", "snapshots": "d.snapshots", "depth": "d.layers", "oldest_snapshot": "d.snapshot_since",
    **{name: f"d.{name}" for name in ("snapshot_bytes", "shadowed", "winnable", "to_copy", "breaches")},
    "breaching": "(d.breaches > 0)::int", "snapped": "(d.snapshots > 0)::int",
    "mapped": "(d.snapshots > 0 AND d.shadowed IS NOT NULL)::int",
    "unknown": "(d.snapshots IS NULL)::int",
}  # fmt: skip
_KEY_TYPES: Final = {"label": "text", "place": "text", "number": "bigint"}
_JOIN: Final = " JOIN chains_storagedomain s ON s.id = d.domain_id"
# Who a row is of: its name, what it lies in, and its number where it has one.
_KEYS: Final = {
    "datacenter": ("s.datacenter", "''", "0"),
    "vm": ("d.vm", "s.datacenter", "0"),
}
_OTHER_SORTS: Final = {"name": "text", "oldest_snapshot": "timestamptz"}
_LAST: Final = {
    "bigint": (str(2**63 - 1), "-1"), "numeric": ("'Infinity'", "-1"),
    "timestamptz": ("'9999-01-01 00:00+00'", "'0002-01-01 00:00+00'"), "text": ("''", "''"),
}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """A statement and its parameters."""

    sql: str
    values: Mapping[str, Any]


def kind_of(asked: Asked) -> str:
    """PostgreSQL's type of what is sorted by; sums of bigint are numeric."""
    if asked.column in _OTHER_SORTS:
        return _OTHER_SORTS[asked.column]
    return "bigint" if asked.by == "disk" and asked.with_ is None else "numeric"


def place(asked: Asked, value: str) -> str:
    """What a row is sorted by: never null, what is not known comes last whichever way."""
    kind = kind_of(asked)
    return f"coalesce(({value})::{kind}, {_LAST[kind][asked.is_descending]})"


def source(asked: Asked, moment: datetime | None, mark: str = "") -> Query:
    """The disks asked for, joined with their domains: `... FROM (disks) d JOIN chains_storagedomain s`."""
    base, values = _NOW, {}
    if moment is not None:
        values[f"moment{mark}"] = moment
        domain = ""
        if asked.domain is not None:
            domain = " AND domain_id = %(domain)s"
        base = _THEN.replace("%(moment)s", f"%(moment{mark})s").format(domain=domain)
    where, more = _where(asked, moment, mark)
    sql = f"FROM ({base}) d{_JOIN}{where}"
    return Query(sql, {**values, **more})


def _where(asked: Asked, moment: datetime | None, mark: str) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {}
    if asked.datacenter:
        parts.append("s.datacenter = %(datacenter)s")
        values["datacenter"] = "" if asked.datacenter == NONE else asked.datacenter
    if asked.domain is not None:
        parts.append("d.domain_id = %(domain)s")
        values["domain"] = asked.domain
    if asked.vm:
        # The index holds the beginnings of names.
        parts.append(f"left(d.vm, {NAME_ORDER}) = left(%(vm)s, {NAME_ORDER}) AND d.vm = %(vm)s")
        values["vm"] = "" if asked.vm == NONE else asked.vm
    if asked.q:
        parts.append("(d.name ILIKE %(q)s OR d.vm ILIKE %(q)s)")
        values["q"] = pattern(asked.q)
    if asked.snapshots is not None:
        parts.append("d.snapshots >= %(snapshots)s")
        values["snapshots"] = asked.snapshots
    if asked.older is not None:
        parts.append(f"d.snapshot_since < %(before{mark})s")
        values[f"before{mark}"] = asked.before(moment or asked.now_or_then())
    if asked.breaches:
        parts.append("d.breaches > 0")
    return (" WHERE " + " AND ".join(parts) if parts else ""), values


def grouped(asked: Asked, found: Query) -> str:
    """One row for each group, or each disk: label, place, number, who it is of, then the figures."""
    if asked.by == "disk":
        figures = ", ".join(f"{text} AS {name}" for name, text in _SINGLE.items())
        return (
            "SELECT d.name AS label, s.name AS place, d.number AS number, d.disk_id, d.domain_id,"
            f" d.vm AS vm, {figures} {found.sql}"
        )
    figures = ", ".join(f"{text} AS {name}" for name, text in FIGURES.items())
    if asked.by == "domain":  # named when all is summed up
        return (
            "SELECT n.name AS label, n.datacenter AS place, n.id AS number, NULL::bigint AS disk_id,"
            f" NULL::bigint AS domain_id, NULL::text AS vm, {', '.join(FIGURES)} FROM"
            f" (SELECT d.domain_id, {figures} {_nameless(asked, found)} GROUP BY d.domain_id) t"
            " JOIN chains_storagedomain n ON n.id = t.domain_id"
        )
    label, where, number = _KEYS[asked.by]
    keys = label if asked.by == "datacenter" else f"{label}, {where}"
    return (
        f"SELECT {label} AS label, {where} AS place, {number}::bigint AS number,"
        f" NULL::bigint AS disk_id, NULL::bigint AS domain_id, NULL::text AS vm, {figures}"
        f" {found.sql} GROUP BY {keys}"
    )


def rows(asked: Asked, *, after: tuple[Any, ...] | None = None, most: int | None = None) -> Query:
    """The rows in their order, from a place on, at most so many; `value` is what each is sorted by."""
    found = source(asked, asked.as_of)
    values = dict(found.values)
    if asked.by == "disk" and asked.as_of is None and most is not None:
        found = Query(_picked(asked, found, after, most, values), values)
    if asked.by == "vm" and asked.as_of is None and most is not None:
        return _busiest(asked, found, after, most)
    inner = grouped(asked, found)
    sort = place(asked, "label" if asked.column == "name" else asked.column)
    sql = f"SELECT *, {sort} AS value FROM ({inner}) g{_beyond(asked, sort, after, values)}{_order(asked, most)}"
    return Query(sql, values)


def _picked(
    asked: Asked, found: Query, after: tuple[Any, ...] | None, most: int, values: dict[str, Any]
) -> str:
    """The few disks of a page, which are named and told of when it is known which they are."""
    sort = place(asked, "d.name" if asked.column == "name" else _SINGLE[asked.column])
    where = _beyond(asked, sort, after, values)
    if " WHERE " in found.sql and where:
        where = where.replace(" WHERE ", " AND ", 1)
    way = " DESC" if asked.is_descending else ""
    return (
        f"FROM (SELECT d.* {_nameless(asked, found)}{where} ORDER BY {sort}{way}, number{way}"
        f" LIMIT {int(most)}) d{_JOIN}"
    )


def _busiest(asked: Asked, found: Query, after: tuple[Any, ...] | None, most: int) -> Query:
    """The same of VMs, of which there may be a hundred thousand: sorted first, and the figures of few."""
    values = dict(found.values)
    figure = "d.vm" if asked.column == "name" else FIGURES[asked.column]
    sort = place(asked, "sorted")
    one = (
        f"SELECT d.vm AS label, s.datacenter AS place, 0::bigint AS number, {figure} AS sorted"
        f" {found.sql} GROUP BY d.vm, s.datacenter"
    )
    first = (
        f"SELECT label, place, number, {sort} AS value FROM ({one}) o"
        f"{_beyond(asked, sort, after, values)}{_order(asked, most)}"
    )
    figures = ", ".join(f"{text} AS {name}" for name, text in FIGURES.items())
    joined = found.sql.replace(" WHERE ", " AND ", 1) if " WHERE " in found.sql else found.sql
    sql = (
        f"WITH first AS MATERIALIZED ({first}) SELECT f.label, f.place, f.number, NULL::bigint AS disk_id,"
        f" NULL::bigint AS domain_id, NULL::text AS vm, {figures}, f.value {joined}"
        f" JOIN first f ON left(d.vm, {NAME_ORDER}) = left(f.label, {NAME_ORDER}) AND d.vm = f.label"
        " AND s.datacenter = f.place GROUP BY f.label, f.place, f.number, f.value"
        f"{_order(asked, most)}"
    )
    return Query(sql, values)


def total(asked: Asked, moment: datetime | None) -> Query:
    """The figures of all disks that are asked for."""
    found = source(asked, moment)
    figures = ", ".join(f"{text} AS {name}" for name, text in FIGURES.items())
    return Query(f"SELECT {figures} {_nameless(asked, found)}", found.values)


def _nameless(asked: Asked, found: Query) -> str:
    """The disks without their domains, where what these are called is not asked."""
    return found.sql if asked.datacenter else found.sql.replace(_JOIN, "", 1)


def compared(
    asked: Asked, *, after: tuple[Any, ...] | None = None, most: int | None = None
) -> Query:
    """Rows that differ between two moments: the earlier figures, and the later ones with `_b`."""
    one, other = source(asked, asked.as_of, "_a"), source(asked, asked.with_, "_b")
    values = {**one.values, **other.values}
    figures = list(FIGURES)
    by_number = asked.by in ("domain", "disk")
    on = "a.number = b.number" if by_number else "a.label = b.label AND a.place = b.place"
    keys = ", ".join(
        f"coalesce(b.{key}, a.{key}) AS {key}"
        for key in ("label", "place", "number", "disk_id", "domain_id", "vm")
    )
    both = ", ".join(f"a.{name} AS {name}, b.{name} AS {name}_b" for name in figures)
    differ = " OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in figures)
    column = "snapshot_bytes" if asked.column == "name" else asked.column
    sort = place(asked, "label") if asked.column == "name" else place(asked, _step(asked, column))
    inner = (
        f"SELECT {keys}, {both}, (a.disks IS NULL) AS is_new, (b.disks IS NULL) AS is_gone"
        f" FROM ({grouped(asked, one)}) a FULL JOIN ({grouped(asked, other)}) b ON {on} WHERE {differ}"
    )
    sql = f"SELECT *, {sort} AS value FROM ({inner}) g{_beyond(asked, sort, after, values)}{_order(asked, most)}"
    return Query(sql, values)


def _step(asked: Asked, column: str) -> str:
    """From the earlier figure to the later one; a moment is sorted by itself."""
    if column in _OTHER_SORTS:
        return f"coalesce({column}_b, {column})"
    return f"coalesce({column}_b, 0) - coalesce({column}, 0)"


def _beyond(asked: Asked, sort: str, after: tuple[Any, ...] | None, values: dict[str, Any]) -> str:
    if after is None:
        return ""
    kind = kind_of(asked)
    names = ("at_value", "at_label", "at_place", "at_number")
    values |= dict(zip(names, after, strict=True))
    sign = "<" if asked.is_descending else ">"
    keys = _tie_break(asked)
    at = ", ".join(f"%(at_{key})s::{_KEY_TYPES[key]}" for key in keys)
    # (The first part says nothing that the second does not: an index may begin there.)
    return (
        f" WHERE {sort} {sign}= %(at_value)s::text::{kind} AND ({sort}, {', '.join(keys)}) {sign}"
        f" (%(at_value)s::text::{kind}, {at})"
    )


def _tie_break(asked: Asked) -> tuple[str, ...]:
    """What tells rows of one value apart: disks have a number, and so many of them that names cost time."""
    return ("number",) if asked.by == "disk" else ("label", "place", "number")


def _order(asked: Asked, most: int | None) -> str:
    way = " DESC" if asked.is_descending else ""
    order = ", ".join(f"{name}{way}" for name in ("value", *_tie_break(asked)))
    return f" ORDER BY {order}" + (f" LIMIT {int(most)}" if most is not None else "")


def largest(asked: Asked, most: int) -> Query:
    """The disks whose snapshots hold the most, of those that are asked for."""
    return rows(replace(asked, by="disk", sort="-snapshot_bytes", with_=None), most=most)
