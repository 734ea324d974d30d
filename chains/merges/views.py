"""Digests of what whole guests read: the proof of a merge that asks for it, before and after.

Two layouts of one content have one digest: the disk's size, and each mebibyte that is not all zero
with its place. It is read by Strata's own reader, through every layer.
"""

import hashlib
import os
from collections.abc import Callable

from chains.core.chain import read_chain
from chains.core.content import Content
from chains.core.errors import StrataError
from chains.core.extents import Kind
from chains.core.forest import Forest
from chains.core.ranges import shown
from chains.core.readmap import resolve
from chains.core.reads import read_chain_maps

# Called with the bytes read since the last call; may raise to stop.
Tick = Callable[[int], None]
PIECE = 1024**2
_ZEROES = bytes(PIECE)


def digest(root: str, path: str, tick: Tick) -> str:
    """The digest of what a guest reads through a volume; raises StrataError, OSError."""
    chain = read_chain(root, path)
    if not chain.is_safe:
        raise StrataError("; ".join(finding.detail for finding in chain.findings))
    maps = read_chain_maps(chain)
    size = maps[0].size
    found = hashlib.blake2b(size.to_bytes(8, "big"), digest_size=32)
    places = shown(resolve(maps), Kind.DATA).in_units(PIECE)
    with Content(root, chain.layers, maps) as content:
        for start, end in zip(places.starts.tolist(), places.ends.tolist(), strict=True):
            for at in range(start, min(end, size), PIECE):
                piece = content.read(at, min(PIECE, size - at))
                tick(len(piece))
                if piece != _ZEROES[: len(piece)]:
                    found.update(at.to_bytes(8, "big"))
                    found.update(piece)
    return found.hexdigest()


def leaves(forest: Forest, paths: list[str]) -> list[str]:
    """Those of the volumes that no other reads through: what guests have open."""
    return [path for path in paths if not forest.overlays.get(path)]


def to_rows(digests: dict[str, str]) -> list[list[str]]:
    """For the journal; names are bytes, and travel as hexadecimal."""
    return [[os.fsencode(path).hex(), text] for path, text in digests.items()]


def from_rows(rows: list[list[str]]) -> dict[str, str]:
    """What `to_rows` wrote."""
    return {os.fsdecode(bytes.fromhex(path)): text for path, text in rows}
