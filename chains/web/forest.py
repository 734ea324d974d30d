"""The forest of a domain, in its page and on a page of its own: drawn, as a table, as a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from chains.diagrams.forest_dot import fold_words, forest_dots, forest_file_dot
from chains.diagrams.trees import WINDOW, Fold, Shape, Tree, grow
from chains.diagrams.types import DrawnVolume
from chains.diagrams.weights import WEIGHTS
from chains.inventory import forest as inventory
from chains.inventory import selectors
from chains.models import StorageDomain, Volume
from chains.permissions import Action
from chains.web import pictures
from chains.web.drawings import Drawing, drawing, drawing_file
from chains.web.guard import needs
from chains.words.numbers import binary

# Of more volumes not even the shape of the trees is read while the domain's page waits for it.
READ_AT_ONCE = 300
# More lines than this make a table that has a page of its own.
TABLE_AT_ONCE = 150
MOST_GUESTS = 20


@dataclass(frozen=True)
class Line:
    """One node of the picture as a row of the table; `depth` is how far above its root."""

    key: str
    words: str
    depth: int
    lit: bool
    volume: Volume | None = None
    drawn: DrawnVolume | None = None
    fold: Fold | None = None
    url: str = ""
    below: str = ""

    @property
    def severity(self) -> str:
        """The worst finding of the volume, or of those that are folded."""
        if self.drawn is not None:
            return self.drawn.severity
        hidden = self.fold.severities if self.fold else {}
        return next((word for word in ("critical", "warning", "info") if hidden.get(word)), "")


@dataclass(frozen=True)
class Page:
    """A page of trees, read: what is drawn, and what its table and its words say."""

    asked: inventory.Asked
    trees: Sequence[Tree]
    drawn: Mapping[str, DrawnVolume]
    rows: Mapping[str, Volume]
    shape: Shape
    found: inventory.Found
    listed: inventory.Trees
    following: str

    @property
    def nodes(self) -> int:
        """How many nodes are drawn."""
        return sum(tree.size for tree in self.trees)

    def url(self, fold: Fold) -> str:
        """The address that opens a fold."""
        return address(self.asked.words(opened=fold.token, page=fold.page))


def address(words: Mapping[str, str]) -> str:
    """The forest of the page that this stands in, as these words ask for it."""
    return f"?{urlencode(words)}#forest"


def read(domain: StorageDomain, asked: inventory.Asked) -> Page:
    """Read the trees that are asked for; what is looked for, or open, comes first when it is not there."""
    found = inventory.find(domain, asked)
    listed = inventory.trees(domain, asked.after, asked.nodes)
    roots = [root for _rank, _volumes, root in listed.rows]
    first = _wanted(domain, asked, found)
    # What is looked for stands first; what is open stays where it is, as long as it is there.
    if first is not None and (found.chosen is not None or first not in roots):
        roots = _led_by(first, roots)
    grown = inventory.shape(domain, roots, asked, found.chosen)
    shape, wish = grown.shape, grown.wish
    trees = grow([f"v{root}" for root in roots], shape, wish, asked.nodes)
    if first is not None and all(tree.root != f"v{first}" for tree in trees):
        trees = grow([f"v{root}" for root in _led_by(first, roots)], shape, wish, asked.nodes)
    rows = inventory.volumes(key for tree in trees for key in tree.keys)
    last = {tree.root for tree in trees}
    shown = [row for row in listed.rows if f"v{row[2]}" in last]
    is_end = not shown or listed.before + len(shown) >= listed.total
    following = "" if is_end else inventory.cursor(shown[-1])
    return Page(asked, trees, _drawn(trees, rows, grown), rows, shape, found, listed, following)


def _led_by(first: int, roots: Sequence[int]) -> list[int]:
    return [first, *(root for root in roots if root != first)]


def _wanted(domain: StorageDomain, asked: inventory.Asked, found: inventory.Found) -> int | None:
    """The root of the tree that has to be shown."""
    volume = found.chosen
    if volume is None and asked.opened_volume is not None:
        volume = domain.volumes.filter(pk=asked.opened_volume).first()
    return None if volume is None else inventory.root_of(volume)


def _drawn(
    trees: Sequence[Tree], rows: Mapping[str, Volume], grown: inventory.Grown
) -> dict[str, DrawnVolume]:
    """The volumes as the diagram takes them; a backing file that is none of them is put below."""
    shape = grown.shape
    overlays = {row.pk: shape.overlays(key) for key, row in rows.items()}
    kinds = pictures.roles(list(rows.values()), overlays)
    severity = {node.key: node.severity for node in shape.nodes.values()}
    severity |= {leaf.key: leaf.severity for group in shape.clones.values() for leaf in group.shown}
    drawn = {
        key: pictures.drawn(row, kinds[row.pk], severity.get(key, "")) for key, row in rows.items()
    }
    for tree in trees:
        root = rows.get(tree.root)
        below = pictures.foot(root, missing=root.pk in grown.missing) if root is not None else None
        if below is not None:
            drawn[below.key] = below
            tree.keys.append(below.key)
            tree.arrows.insert(0, (tree.root, below.key))
    return drawn


def card(domain: StorageDomain, words: Any, *, wait: bool) -> dict[str, Any]:
    """What the domain's page shows of its forest; raises BadRequestError.

    With `wait` a large one is left to the page of its own, which a script puts in its place.
    """
    asked = inventory.Asked.from_words(words)
    own = reverse("domain-forest", args=[domain.pk])
    context: dict[str, Any] = {
        "forest_asked": asked,
        "forest_own": own,
        "node_choices": inventory.MOST_NODES,
    }
    if wait and domain.volume_count > READ_AT_ONCE:
        query = f"?{urlencode(asked.words())}" if asked.words() else ""
        version = f"{domain.last_scan_id}-{domain.volume_count}"
        return context | {"forest": Drawing((), f"{own}{query}", version)}
    page = read(domain, asked)
    if words.get("as") == "table":
        return context | {"forest": Drawing()} | _told(page, whole=True)
    sources = forest_dots(page.trees, page.drawn, page.url)
    picture = drawing(
        sources, _("Chains of the domain"), page.nodes, own=own, words=asked.words(), wait=wait
    )
    return context | {"forest": picture} | ({} if picture.waits else _told(page))


def _told(page: Page, *, whole: bool = False) -> dict[str, Any]:
    """The words around the picture, its table and its ways on; a long table only when it is `whole`."""
    asked, chosen = page.asked, page.found.chosen
    listed = whole or page.nodes <= TABLE_AT_ONCE
    trees = page.trees if listed else ()
    return {
        "forest_lines": [line for tree in trees for line in _lines(tree, page)],
        "forest_table": "" if listed else f"?{urlencode(asked.words() | {'as': 'table'})}",
        "forest_whole": whole,
        "forest_weights": [(step, _below(limit)) for step, (limit, _w) in enumerate(WEIGHTS)],
        "forest_nodes": page.nodes, "forest_listed": page.listed,
        "forest_left_out": sum(tree.left_out for tree in page.trees),
        "forest_shown": len(page.trees),
        "forest_next": page.following and address(asked.words(after=page.following, opened="", find="", at=None)),
        "forest_first": asked.after and address(asked.words(after="", opened="", find="", at=None)),
        "forest_more": asked.nodes == inventory.MOST_NODES[0] and page.following
        and address(asked.words(nodes=inventory.MOST_NODES[-1])),
        "forest_open": _open(page), "forest_found": _found(page) if chosen is not None else None,
    }  # fmt: skip


def _lines(tree: Tree, page: Page) -> list[Line]:
    """The nodes of a tree, its root first; a circle is told from where it was cut."""
    depth = {tree.arrows[0][1] if tree.arrows else tree.root: 0}
    below: dict[str, str] = {}
    for upper, lower in tree.arrows:
        depth[upper] = depth.get(lower, 0) + 1
        below[upper] = lower
    folds = {fold.key: fold for fold in tree.folds}

    def words(key: str) -> str:
        if key in folds:
            return fold_words(folds[key])
        return page.rows[key].path_text if key in page.rows else page.drawn[key].path

    return [
        Line(
            key, words(key), depth[key], key in tree.lit, page.rows.get(key), page.drawn.get(key),
            folds.get(key), page.url(folds[key]) if key in folds else "",
            words(below[key]) if key in below else "",
        )
        for key in depth
        if key in folds or key in page.drawn
    ]  # fmt: skip


def _below(limit: int) -> str:
    if limit == WEIGHTS[-1][0]:
        return _("more")
    return _("below %(size)s") % {"size": binary(limit)}


def _open(page: Page) -> dict[str, Any] | None:
    """Which part of a fold is open, and the ways to its other parts and back."""
    asked = page.asked
    total = page.shape.size_of(asked.opened)
    if not total:
        return None
    pages = (total - 1) // WINDOW + 1
    at = min(asked.page, pages)
    volume = page.rows.get(asked.opened[1:])
    return {
        "volume": volume, "kind": asked.opened[0], "total": total,
        "first": (at - 1) * WINDOW + 1, "last": min(total, at * WINDOW),
        "previous": at > 1 and address(asked.words(page=at - 1)),
        "next": at < pages and address(asked.words(page=at + 1)),
        "fold": address(asked.words(opened="")),
    }  # fmt: skip


def _found(page: Page) -> dict[str, Any]:
    """The volume that is lit: its path, its guests, and the others of that name."""
    chosen = page.found.chosen
    assert chosen is not None
    guests = selectors.disks_above(chosen, MOST_GUESTS + 1)
    asked = replace(page.asked, opened="", page=1)
    return {
        "volume": chosen, "key": f"v{chosen.pk}", "path": selectors.chain_of(chosen)[::-1],
        "guests": guests[:MOST_GUESTS], "more_guests": len(guests) > MOST_GUESTS,
        "others": [(v, address(asked.words(at=v.pk))) for v in page.found.volumes if v.pk != chosen.pk],
        "clear": address(asked.words(find="", at=None)),
    }  # fmt: skip


@require_safe
@needs(Action.VIEW)
def forest(request: HttpRequest, pk: int) -> HttpResponse:
    """The forest on a page of its own: drawn however long it takes."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    context = {"domain": domain, **card(domain, request.GET, wait=False)}
    return render(request, "web/forest.html", context)


@require_safe
@needs(Action.VIEW)
def forest_file(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """The trees that this address asks for, as a file."""
    domain = get_object_or_404(StorageDomain, pk=pk)
    page = read(domain, inventory.Asked.from_words(request.GET))
    source = forest_file_dot(page.trees, page.drawn)
    title = _("Chains of %(domain)s") % {"domain": domain.name}
    return drawing_file(source, kind, name=f"forest-{domain.pk}", title=title)
