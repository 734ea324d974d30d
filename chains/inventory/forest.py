"""The forest of a domain as far as it is drawn: a page of trees, their shape, and what is looked for.

A domain may hold a hundred thousand volumes, one template of it ten thousand clones: of the trees only
those of one page are followed, and the leaves over one volume are counted by the database.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from django.core.cache import cache
from django.db import connection
from django.db.models import QuerySet
from numpy.typing import NDArray

from chains.diagrams.trees import MOST_LEAVES, WINDOW, Clones, Node, Shape, Wish
from chains.inventory import selectors
from chains.inventory.asking import BadRequestError
from chains.inventory.search import cleaned, contains
from chains.models import Finding, StorageDomain, Volume

MOST_NODES: Final = (
    300,
    1000,
)  # how many are drawn at once: as a rule, and when somebody wants more
MOST_ROOTS: Final = MOST_NODES[-1]
MOST_ROWS: Final = 20_000  # volumes with overlays that are read of one page of trees
MOST_FOUND: Final = 20
# To know which trees are the worst takes a look at every volume; of large domains it is kept for a while.
LARGE: Final = 20_000
KEPT_SECONDS: Final = 60
_SEVERITIES: Final = {1: "critical", 2: "warning", 3: "info"}
_NO_FINDING: Final = 4
_DOUBLINGS: Final = 21  # of steps down: more than any chain has layers
Table = NDArray[np.int64]
_TOKEN: Final = re.compile(r"([cbr])v(\d{1,18})")
_CURSOR: Final = re.compile(r"([1-4])-(\d{1,12})-(\d{1,18})")

# Arrays are read in a quarter of the time that so many rows take.
_LINKS = """
SELECT array_agg(v.id ORDER BY v.id), array_agg(coalesce(v.backing_id, 0) ORDER BY v.id),
    array_agg(coalesce(bad.rank, %(none)s) ORDER BY v.id)
FROM chains_volume v LEFT JOIN (
    SELECT volume_id, min(rank) AS rank FROM chains_finding
    WHERE domain_id = %(domain)s AND resolved_at IS NULL AND volume_id IS NOT NULL GROUP BY volume_id
) bad ON bad.volume_id = v.id
WHERE v.domain_id = %(domain)s
"""
_SHAPE = """
WITH RECURSIVE tree(root, id, level) AS (
    SELECT id, id, 0 FROM chains_volume WHERE id = ANY(%(roots)s)
  UNION ALL
    SELECT t.root, v.id, t.level + 1 FROM tree t JOIN chains_volume v ON v.backing_id = t.id
    WHERE v.id <> t.root AND t.level < %(levels)s
), bad(id, rank, missing) AS (
    SELECT volume_id, min(rank), bool_or(code = 'backing-missing') FROM chains_finding
    WHERE domain_id = %(domain)s AND resolved_at IS NULL AND volume_id IS NOT NULL GROUP BY volume_id
), node AS MATERIALIZED (
    SELECT t.id, t.level, v.backing_id, v.on_disk, b.rank, b.missing,
        t.level > 0 AND NOT EXISTS (SELECT FROM chains_volume o WHERE o.backing_id = t.id) AS leaf
    FROM tree t JOIN chains_volume v ON v.id = t.id LEFT JOIN bad b ON b.id = t.id
)
(SELECT backing_id, id, 1 AS count, on_disk::numeric, rank, missing, NULL::bigint, NULL::bigint,
    NULL::bigint, NULL::bigint[], NULL::bigint[], NULL::smallint[]
FROM node WHERE NOT leaf ORDER BY level, id LIMIT %(most)s)
UNION ALL
SELECT backing_id, NULL, count(*), sum(on_disk), NULL, NULL, count(*) FILTER (WHERE rank = 1),
    count(*) FILTER (WHERE rank = 2), count(*) FILTER (WHERE rank = 3),
    CASE WHEN count(*) <= %(each)s THEN array_agg(id ORDER BY id) END,
    CASE WHEN count(*) <= %(each)s THEN array_agg(on_disk ORDER BY id) END,
    CASE WHEN count(*) <= %(each)s THEN array_agg(rank ORDER BY id) END
FROM node WHERE leaf GROUP BY backing_id
"""


@dataclass(frozen=True)
class Asked:
    """What an address asks of the forest; `find` is a part of a name, `at` one of the volumes found."""

    opened: str = ""
    page: int = 1
    after: str = ""
    find: str = ""
    at: int | None = None
    nodes: int = MOST_NODES[0]

    @classmethod
    def from_words(cls, words: Any) -> "Asked":
        """Raises BadRequestError."""
        opened, after = words.get("open", ""), words.get("trees", "")
        if opened and not _TOKEN.fullmatch(opened):
            raise BadRequestError("There is nothing to open by that name.")
        if after and not _CURSOR.fullmatch(after):
            raise BadRequestError("There is no such page of trees: begin with the first.")
        page, at = words.get("part", "1"), words.get("at", "")
        if not re.fullmatch(r"\d{1,9}", page) or not re.fullmatch(r"\d{0,18}", at):
            raise BadRequestError("part and at are whole numbers.")
        return cls(
            opened, max(1, int(page)), after, cleaned(words.get("find", "")),
            int(at) if at else None,
            MOST_NODES[-1] if words.get("nodes") == str(MOST_NODES[-1]) else MOST_NODES[0],
        )  # fmt: skip

    def words(self, **changes: Any) -> dict[str, str]:
        """What an address says of it, with these changes; what is as a rule is left out."""
        now = replace(self, **changes)
        said = {
            "open": now.opened, "part": str(now.page) if now.opened and now.page > 1 else "",
            "trees": now.after, "find": now.find, "at": str(now.at or ""),
            "nodes": str(now.nodes) if now.nodes != MOST_NODES[0] else "",
        }  # fmt: skip
        return {name: word for name, word in said.items() if word}

    @property
    def opened_volume(self) -> int | None:
        """The volume whose fold is open."""
        found = _TOKEN.fullmatch(self.opened)
        return int(found[2]) if found else None


@dataclass(frozen=True)
class Found:
    """Volumes of the name that was looked for, the best first, and the one that is lit."""

    volumes: Sequence[Volume] = ()
    chosen: Volume | None = None


@dataclass(frozen=True)
class Trees:
    """A page of trees: (rank, volumes, id) of each root; how many there are, and how many before."""

    rows: Sequence[tuple[int, int, int]]
    total: int
    before: int = 0


@dataclass(frozen=True)
class Grown:
    """The shape of some trees, what is wished of it, and volumes whose backing file is missing."""

    shape: Shape
    wish: Wish
    missing: Collection[int]


def find(domain: StorageDomain, asked: Asked) -> Found:
    """The volumes whose path holds this text, those that are called so first."""
    if not asked.find:
        return Found()
    rows = domain.volumes.filter(contains("path_text", asked.find)).only(
        "path_text", "path", "backing"
    )
    found = sorted(rows.order_by("path")[: 10 * MOST_FOUND], key=lambda row: _fit(row, asked.find))
    chosen = next((row for row in found if row.pk == asked.at), None)
    if chosen is None and asked.at is not None:
        chosen = rows.filter(pk=asked.at).first()
    return Found(found[:MOST_FOUND], chosen or (found[0] if found else None))


def _fit(row: Volume, text: str) -> tuple[bool, bool, int]:
    name = row.path_text.rpartition("/")[2].lower()
    return name != text.lower(), text.lower() not in name, len(row.path_text)


def trees(domain: StorageDomain, after: str, most: int) -> Trees:
    """The trees after a place, the worst first and of those the largest."""
    rows = _all_trees(domain)
    at = _CURSOR.fullmatch(after)
    first = 0
    if at:
        rank, volumes_, root = (int(part) for part in at.groups())
        before = (rows[:, 0], -rows[:, 1], rows[:, 2])
        key = (rank, -volumes_, root)
        is_less = before[0] < key[0]
        same = before[0] == key[0]
        is_less |= same & (before[1] < key[1])
        is_less |= same & (before[1] == key[1]) & (before[2] <= key[2])
        first = int(is_less.sum())
    page = rows[first : first + min(most, MOST_ROOTS)]
    return Trees([(int(a), int(b), int(c)) for a, b, c in page], len(rows), first)


def cursor(row: tuple[int, int, int]) -> str:
    """The place after a tree, for an address."""
    return "-".join(map(str, row))


def _all_trees(domain: StorageDomain) -> Table:
    """(rank, volumes, id) of every root, in order."""
    key = f"trees:{domain.pk}:{domain.last_scan_id}"
    if domain.volume_count > LARGE and (kept := cache.get(key)) is not None:
        return np.asarray(kept)
    with connection.cursor() as link:
        link.execute(_LINKS, {"domain": domain.pk, "none": _NO_FINDING})
        ids, backing, ranks = (np.array(part or (), dtype=np.int64) for part in link.fetchone())
    roots = _roots(ids, backing)
    rank = np.full(len(ids), _NO_FINDING, dtype=np.int64)
    np.minimum.at(rank, roots, ranks)
    volumes_ = np.bincount(roots, minlength=len(ids))
    found = np.flatnonzero(volumes_)
    order = found[np.lexsort((ids[found], -volumes_[found], rank[found]))]
    rows: Table = np.column_stack((rank[order], volumes_[order], ids[order]))
    if domain.volume_count > LARGE:
        cache.set(key, rows, KEPT_SECONDS)
    return rows


def _roots(ids: Table, backing: Table) -> Table:
    """For each volume the index of its root; of a circle the first of its volumes stands for one."""
    at = np.searchsorted(ids, backing)
    at[at == len(ids)] = 0
    own = np.arange(len(ids))
    below = np.where((backing != 0) & (ids[at] == backing), at, own) if len(ids) else own
    while True:
        roots = below
        for _ in range(_DOUBLINGS):
            roots = roots[roots]
        lost = np.flatnonzero(below[roots] != roots)
        if not len(lost):
            return roots
        # After so many steps down everybody who has no root is in its circle.
        circle, step = [], int(roots[lost[0]])
        while step not in circle:
            circle.append(step)
            step = int(below[step])
        below[min(circle)] = min(circle)


def root_of(volume: Volume) -> int:
    """The id of the root that a volume stands on."""
    return selectors.chain_of(volume)[-1].pk


def shape(domain: StorageDomain, roots: Sequence[int], asked: Asked, found: Volume | None) -> Grown:
    """Who lies over whom in the trees of these roots, with the leaves that may be drawn."""
    with connection.cursor() as link:
        link.execute(_SHAPE, {
            "roots": list(roots), "domain": domain.pk, "levels": selectors.MAX_LAYERS,
            "most": MOST_ROWS, "each": MOST_LEAVES,
        })  # fmt: skip
        rows = link.fetchall()
    nodes = [_node(row[1], row[0], row[3], row[4]) for row in rows if row[1] is not None]
    missing = {row[1] for row in rows if row[1] is not None and row[5]}
    clones = [_clones(row, asked, found) for row in rows if row[1] is None]
    wish = Wish(asked.opened, asked.page, f"v{found.pk}" if found is not None else "")
    return Grown(Shape(nodes, clones, [f"v{pk}" for pk in roots]), wish, missing)


def _node(pk: int, backing: int | None, on_disk: Any, rank: int | None) -> Node:
    below = f"v{backing}" if backing else None
    return Node(f"v{pk}", below, int(on_disk), _SEVERITIES.get(rank or 0, ""))


def _clones(row: Sequence[Any], asked: Asked, found: Volume | None) -> Clones:
    """The leaves over one volume. Of few all can be drawn; of many the page that is open, or the one
    that is looked for.
    """
    below, _, count, on_disk, _, _, critical, warning, info, pks, sizes, ranks = row
    first, shown = 0, []
    if pks is not None:
        shown = [_node(pk, below, *rest) for pk, *rest in zip(pks, sizes, ranks, strict=True)]
    elif asked.opened == f"cv{below}":
        first = min(asked.page - 1, (count - 1) // WINDOW) * WINDOW
        leaves = Volume.objects.filter(backing=below, overlays=None).order_by("pk")
        shown = _leaves(leaves[first : first + WINDOW])
    if pks is None and found is not None and found.backing_id == below:
        is_there = any(node.key == f"v{found.pk}" for node in shown)
        if not is_there and not found.overlays.exists():
            shown = [*_leaves(Volume.objects.filter(pk=found.pk)), *shown]
    severities = {"critical": critical, "warning": warning, "info": info}
    return Clones(f"v{below}", count, shown, int(on_disk), severities, first)


def _leaves(rows: QuerySet[Volume]) -> list[Node]:
    places = list(rows.values_list("pk", "backing_id", "on_disk"))
    marks = Finding.objects.open().filter(volume__in=[pk for pk, _, _ in places])
    ranks = dict(marks.order_by("-rank").values_list("volume", "rank"))
    return [_node(*place, ranks.get(place[0])) for place in places]


_DRAWN: Final = (
    "domain", "path", "path_text", "format", "virtual_size", "on_disk", "backing", "backing_file",
    "in_use",
)  # fmt: skip


def volumes(keys: Iterable[str]) -> dict[str, Volume]:
    """The rows that are drawn, by key."""
    pks = [int(key[1:]) for key in keys]
    return {f"v{row.pk}": row for row in Volume.objects.filter(pk__in=pks).only(*_DRAWN)}
