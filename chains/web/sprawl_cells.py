"""The cells of the sprawl report, as its pages show them: what is known exactly, what is a bound, what is not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chains.inventory.sprawl import Change, Row
from chains.inventory.sprawl_sums import Figures
from chains.words.numbers import binary

DASH: Final = "–"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
Text = str | Promise


class Column(NamedTuple):
    """A column: its name in addresses, its head, and what it means."""

    name: str
    label: Text
    hint: Text


COLUMNS: Final = (
    Column("disks", gettext_lazy("Disks"), gettext_lazy("Disks that are asked for")),
    Column("snapshots", gettext_lazy("Snapshots"), gettext_lazy("Frozen layers that only one disk has; a template is none")),
    Column("depth", gettext_lazy("Depth"), gettext_lazy("Layers of the longest chain")),
    Column("oldest_snapshot", gettext_lazy("Oldest snapshot"), gettext_lazy("When the oldest of them was written last")),
    Column("snapshot_bytes", gettext_lazy("Held"), gettext_lazy("Bytes on disk of all snapshots")),
    Column("shadowed", gettext_lazy("Shadowed"), gettext_lazy("What overlays hide: nobody can read it any more")),
    Column("winnable", gettext_lazy("Won, at least"), gettext_lazy("What merging all layers of each disk would give back, at least")),
    Column("to_copy", gettext_lazy("To copy"), gettext_lazy("What that would copy, on the cheaper way of each disk")),
    Column("breaches", gettext_lazy("Breaches"), gettext_lazy("Findings of the policy: too deep, too old, too large, worth a merge")),
)  # fmt: skip
_SIZES: Final = frozenset({"snapshot_bytes", "shadowed", "winnable", "to_copy"})


@dataclass(frozen=True)
class Cell:
    """`main` is what a cell says, `note` what stands small below it; `is_quiet`: nothing to look at."""

    main: str
    note: str = ""
    hint: str = ""
    is_quiet: bool = False
    tone: str = ""


def html(found: Sequence[Cell], *, hints: bool = True) -> SafeString:
    """The cells of a row as HTML: a report has a hundred thousand rows, and a template takes ten times as long."""
    return format_html_join(
        "", '<td class="number{}"{}>{}{}</td>', (_parts(c, hints) for c in found)
    )


def _parts(cell: Cell, hints: bool) -> tuple[str, str, str, str]:
    return (
        (" is-quiet" if cell.is_quiet else "") + (f" is-{cell.tone}" if cell.tone else ""),
        format_html(' title="{}"', cell.hint) if hints and cell.hint else "", cell.main,
        format_html('<span class="cell-note">{}</span>', cell.note) if cell.note else "",
    )  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A row of the table: whom it is of, its cells as HTML, and whether it is new or gone."""

    row: Row | Change
    cells: SafeString
    mark: str = ""


def line(row: Row | Change, moment: datetime, *, hints: bool = True) -> Line:
    """A row as it is shown; ages are told as of the moment."""
    if isinstance(row, Row):
        return Line(row, html(cells(row.figures, moment), hints=hints))
    mark = _("new") if row.before is None else _("gone") if row.after is None else ""
    return Line(row, html(change_cells(row, moment), hints=hints), mark)


def cells(figures: Figures, moment: datetime) -> list[Cell]:
    """A cell for each column."""
    return [_OF[column.name](figures, moment) for column in COLUMNS]


def change_cells(change: Change, moment: datetime) -> list[Cell]:
    """The same of two moments: before → after, and the difference below."""
    return [_changed(change, column.name, moment) for column in COLUMNS]


def total_change(before: Figures, after: Figures, moment: datetime) -> list[Cell]:
    """The same of everything that is asked for."""
    return change_cells(Change("", "", 0, None, None, None, before, after, None), moment)


def _number(name: str) -> Callable[[Figures, datetime], Cell]:
    def cell(figures: Figures, _moment: datetime) -> Cell:
        value = getattr(figures, name)
        if value is None:
            return _missing()
        return Cell(f"{value:,}", is_quiet=not value)

    return cell


def _missing() -> Cell:
    return Cell(DASH, hint=_("not recorded"), is_quiet=True)


def _oldest(figures: Figures, moment: datetime) -> Cell:
    at = figures.oldest_snapshot
    if at is None:
        return Cell(DASH, is_quiet=True)
    days = max(0, (moment - at).days)
    hint = timezone.localtime(at).strftime("%Y-%m-%d %H:%M %Z")
    return Cell(
        timezone.localtime(at).strftime("%Y-%m-%d"), _("%(days)s d") % {"days": f"{days:,}"}, hint
    )


def _held(figures: Figures, _moment: datetime) -> Cell:
    return _size(figures.snapshot_bytes)


def _shadowed(figures: Figures, _moment: datetime) -> Cell:
    if figures.snapped and not figures.mapped:
        return Cell(_("not mapped"), hint=_("No block map of these disks is there"), is_quiet=True)
    if not figures.is_partly_mapped:
        return _size(figures.shadowed)
    known = {"mapped": f"{figures.mapped:,}", "all": f"{figures.snapped:,}"}
    return Cell(
        f"≥ {binary(figures.shadowed or 0)}", _("%(mapped)s of %(all)s mapped") % known,
        _("Of disks without a block map it is not known"),
    )  # fmt: skip


def _won(figures: Figures, _moment: datetime) -> Cell:
    if not figures.winnable:
        return _size(figures.winnable)
    note = "" if figures.is_mapped else _("estimate")
    return Cell(f"≥ {binary(figures.winnable)}", note)


def _to_copy(figures: Figures, _moment: datetime) -> Cell:
    if not figures.to_copy or figures.is_mapped:
        return _size(figures.to_copy)
    return Cell(f"≤ {binary(figures.to_copy)}", _("estimate"))


def _breaches(figures: Figures, _moment: datetime) -> Cell:
    if figures.breaches is None:
        return _missing()
    if not figures.breaches:
        return Cell("0", is_quiet=True)
    note = (
        "" if figures.disks == 1 else _("of %(disks)s disks") % {"disks": f"{figures.breaching:,}"}
    )
    return Cell(f"{figures.breaches:,}", note, tone="warning")


def _size(value: int | None) -> Cell:
    return _missing() if value is None else Cell(binary(value), is_quiet=not value)


_OF: Final[dict[str, Callable[[Figures, datetime], Cell]]] = {
    "disks": _number("disks"), "snapshots": _number("snapshots"), "depth": _number("depth"),
    "oldest_snapshot": _oldest, "snapshot_bytes": _held, "shadowed": _shadowed, "winnable": _won,
    "to_copy": _to_copy, "breaches": _breaches,
}  # fmt: skip


def _changed(change: Change, name: str, moment: datetime) -> Cell:
    show = _OF[name]
    one, other = (show(side, moment) if side else None for side in (change.before, change.after))
    if one is None or other is None:
        only = other or one
        assert only is not None
        main = _kept(only.main)
        arrow = f"{DASH} → {main}" if one is None else f"{main} → {DASH}"
        return Cell(arrow, is_quiet=only.is_quiet)
    if _same(change, name):
        return Cell(other.main, other.note, other.hint, is_quiet=True)
    return Cell(
        f"{_kept(one.main)} → {_kept(other.main)}", _difference(change, name), tone="changed"
    )


def _kept(text: str) -> str:
    """A figure is not broken between its number and its unit."""
    return text.replace(" ", NO_BREAK)


def _same(change: Change, name: str) -> bool:
    one, other = (getattr(side, name, None) for side in (change.before, change.after))
    return bool(one == other)


def _difference(change: Change, name: str) -> str:
    if name == "oldest_snapshot":
        return ""
    step: Any = change.step(name)
    if step is None:
        return ""
    sign = "+" if step > 0 else "−"
    return f"{sign}{binary(abs(step)) if name in _SIZES else f'{abs(step):,}'}"
