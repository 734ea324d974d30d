"""Volumes, pictures and SVG queries that the tests of the diagrams share."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence

from chains.core.names import display
from chains.diagrams.types import DrawnVolume, ReadsPicture, ReadsRow

GIB = 1 << 30
SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = (
    "<script>alert(1)</script>",
    '"]; node [label="x',
    "{|}",
    r"\N \G \E \T \H \L \l \r \n",
    "ends in a backslash\\",
    "ends in two\\\\",
    "two\nlines\r\tand a tab",
    "&amp; &lt;b&gt; &#60;i&#62; &quot;",
    "a & b &",
    "]]> --> ?> <!-- <![CDATA[",
    "><TABLE><TR><TD>",
    '<IMG SRC="/etc/passwd"/>',
    "💾 disk 日本語.qcow2",
    "invoice\u202egnp.exe\u200b",
    b"caf\xe9 \xff\xfe.img".decode("utf-8", "surrogateescape"),
    "n" * 255,
    "  spaces   kept  ",
    "javascript:alert(1)",
    "' onload='alert(1)",
    "private \U000f003c\U000f0026 \uffff",
    "%s %d %n ${HOME} `id` $(id)",
)


def volume(number: int, name: str = "", **changes: object) -> DrawnVolume:
    """A volume that is a plain snapshot but for ``changes``."""
    values = {
        "key": f"v{number}",
        "name": name or f"snap{number}.qcow2",
        "path": f"/images/{name or number}",
        "format": "qcow2",
        "virtual_size": GIB,
        "on_disk": 200704,
        "role": "snapshot",
    }
    return DrawnVolume(**(values | changes))  # type: ignore[arg-type]


def chain(length: int, **changes: object) -> list[DrawnVolume]:
    """A chain of plain volumes, active first."""
    return [volume(i, **changes) for i in range(length)]


def picture(held: Sequence[str], max_rows: int = 16, names: Sequence[str] = ()) -> ReadsPicture:
    """A picture from one string a layer, active first: ``#`` is held, ``.`` is not."""
    blocks = len(held[0])
    owner = [
        next((row for row, cells in enumerate(held) if cells[block] == "#"), -1)
        for block in range(blocks)
    ]
    rows = [
        ReadsRow(
            key=f"r{row}",
            name=names[row] if names else f"layer{row}.qcow2",
            path=f"/images/layer{row}.qcow2",
            url=f"/volumes/{row}/",
            held=[float(cell == "#") for cell in cells],
            answered=[float(owner[block] == row) for block in range(blocks)],
            detail=[f"row {row} block {block}" for block in range(blocks)],
        )
        for row, cells in enumerate(held)
    ]
    starts = [block * 65536 for block in range(blocks)]
    urls = [f"?start={start}&length=65536" for start in starts]
    return ReadsPicture(starts, [65536] * blocks, rows, owner, urls, max_rows)


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - it comes from the renderer under test


def groups(svg: ET.Element, kind: str) -> list[ET.Element]:
    """The groups that carry the class ``kind``."""
    return [g for g in svg.iter() if kind in g.get("class", "").split()]


def texts(element: ET.Element) -> list[str]:
    return [text.text or "" for text in element.iter(f"{SVG}text")]


def titles(element: ET.Element) -> list[str]:
    return [title.text or "" for title in element.iter(f"{SVG}title")]


def links(element: ET.Element) -> list[str]:
    return [a.get("href", "") for a in element.iter(f"{SVG}a")]


def seen(name: str) -> str:
    """What has to stand in the drawing for ``name``, with what only a drawing has to escape."""
    shown = display(name)
    for code in (0xF003C, 0xF0026):
        shown = shown.replace(chr(code), f"\\U{code:08x}")
    return shown.replace("\uffff", "\\uffff")


def seconds(work: Callable[[], object]) -> float:
    """The least of three tries: the machine may be busy with something else at any one of them."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
