"""What is said of one volume by the witnesses that there are: header, metadata, LV tags, engine.

Each fact is a row; where two witnesses contradict one another the row says so. Nothing is judged
here: the rules that make findings of it stand in `ovirt_rules` and its like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from chains.core.layer import FIRST_MOMENT, LAST_MOMENT
from chains.core.names import brief
from chains.core.ovirt_metadata import BLANK_UUID, BLOCK, CLEARED, INVALID
from chains.core.units import binary

HEADER: Final = "image header"
METADATA: Final = "metadata"
TAGS: Final = "LV tags"
ENGINE: Final = "engine"
OWNERS: Final = "configuration of VMs"
_FORMATS = {"RAW": "raw", "COW": "qcow2"}
_TYPES = {"SPARSE": "sparse", "PREALLOCATED": "preallocated", "UNKNOWN": "unknown"}
_KINDS = {"LEAF": "leaf", "INTERNAL": "internal", "SHARED": "template"}
_NONE = "none"
# The findings that may follow from what a row tells.
CODES: Final[Mapping[str, frozenset[str]]] = {
    "format": frozenset({"metadata-format", "raw-looks-formatted", "backing-format-wrong"}),
    "virtual size": frozenset({"metadata-capacity", "size-shrinks", "lv-too-short"}),
    "parent": frozenset({
        "metadata-parent", "tag-metadata-differ", "tag-header-differ", "parent-missing",
        "backing-missing",
    }),
    "kind": frozenset({"metadata-voltype", "several-leafs"}),
    "legality": frozenset({"volume-illegal", "volume-fake", "engine-illegal", "engine-locked"}),
    "image": frozenset({"metadata-place", "lv-tags-missing", "engine-unknown"}),
    "slot": frozenset({"lv-slot-shared"}),
    "owner": frozenset({"unreferenced", "engine-unknown", "owners-unread"}),
    "record": frozenset({"metadata-missing", "metadata-invalid", "metadata-cleared"}),
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """The volume as the last scan read it; names are as they were found."""

    format: str
    virtual_size: int
    backing_file: str | None
    overlays: int
    is_lv: bool = False


@dataclass(frozen=True)
class Row:
    """One fact. `says` has a text for each witness in turn, "" where it says nothing.

    `authority` tells whom QEMU and the management system go by; `codes` are the findings that this
    fact may be the reason of.
    """

    name: str
    says: tuple[str, ...]
    authority: str
    differs: bool = False
    codes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """The witnesses that there are, and the facts of which at least one tells something."""

    witnesses: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def disputed(self) -> int:
        """How many facts the witnesses contradict one another on."""
        return sum(row.differs for row in self.rows)


def witnesses(seen: Seen, notes: Mapping[str, Any] | None) -> Table | None:
    """Hold side by side what is known of a volume; None where only its header tells of it.

    `notes` are storage.types.Notes as a row stores them.
    """
    if not notes:
        return None
    said = _Said(seen, notes)
    if len(said.witnesses) < 2:
        return None
    rows = [row for row in said.rows() if any(row.says)]
    return Table(tuple(said.witnesses), tuple(rows))


class _Said:
    def __init__(self, seen: Seen, notes: Mapping[str, Any]) -> None:
        self.seen = seen
        self.notes = notes
        record = _mapping(notes.get("metadata"))
        self.status = str(record.get("status") or "")
        # Of a record that was cleared or can not be read nothing is to be compared.
        self.metadata = {} if self.status == CLEARED else record
        self.record = record
        self.tags = _mapping(notes.get("tags"))
        self.management = _management(notes)
        self.witnesses = [HEADER]
        self.witnesses += [METADATA] if record else []
        self.witnesses += [TAGS] if self.tags else []
        self.witnesses += [ENGINE if notes.get("engine") else OWNERS] if self.management else []

    def row(
        self, name: str, authority: str, *, differs: bool = False, code: str = "", **says: Any
    ) -> Row:
        """Put what the witnesses say in their order; None and "" are nothing."""
        of = {
            HEADER: "header", METADATA: "metadata", TAGS: "tags", ENGINE: "management",
            OWNERS: "management",
        }  # fmt: skip
        texts = tuple(_text(says.get(of[witness])) for witness in self.witnesses)
        return Row(name, texts, authority, differs, CODES.get(code, frozenset()))

    def rows(self) -> Sequence[Row]:
        return (
            self._record(), self._format(), self._size(), self._parent(), self._type(),
            self._kind(), self._legality(), self._image(), self._slot(),
            self.row("generation", "metadata: oVirt counts its own changes", metadata=self.metadata.get("generation")),
            self.row("sequence", "metadata: the order of the snapshots", metadata=self.metadata.get("sequence")),
            self.row(
                "created", "metadata", metadata=_moment(self.metadata.get("ctime")),
                management=_moment(self.management.get("date")),
            ),
            self._alias(),
            self.row(
                "description", "what people wrote", metadata=self.metadata.get("description"),
                management=self.management.get("description"),
            ),
            self.row("owner VM", "whoever runs the VMs", code="owner", management=self.notes.get("vm")),
        )  # fmt: skip

    def _record(self) -> Row:
        words = {
            CLEARED: "cleared: oVirt has deleted the volume",
            INVALID: f"invalid: {' '.join(map(str, self.record.get('errors') or ()))}",
        }
        bad = words.get(self.status, "")
        return self.row(
            "record", "oVirt uses no volume without a valid record", differs=bool(bad),
            code="record", metadata=bad,
        )  # fmt: skip

    def _format(self) -> Row:
        said = str(self.metadata.get("format") or "")
        told = _FORMATS.get(said, said.lower())
        return self.row(
            "format", "metadata: oVirt starts QEMU with it", code="format",
            differs=bool(told) and told != self.seen.format, header=self.seen.format,
            metadata=f"{told} ({said})" if told else "",
        )  # fmt: skip

    def _size(self) -> Row:
        size, found = self.seen.virtual_size, self.metadata.get("capacity")
        known = isinstance(found, int) and not isinstance(found, bool)
        said = int(found) if found is not None and known else 0
        # A raw LV is as long as whole extents are.
        rounded = known and self.seen.is_lv and self.seen.format == "raw" and said < size
        return self.row(
            "virtual size", "header: what a guest sees", code="virtual size",
            differs=known and abs(said - size) >= BLOCK and not rounded,
            header=_bytes(size), metadata=_bytes(said) if known else "",
        )  # fmt: skip

    def _parent(self) -> Row:
        below = self.seen.backing_file
        header = (below.rpartition("/")[2] or below) if below is not None else _NONE
        told = {
            "metadata": _parent_of(self.metadata.get("parent")),
            "tags": _parent_of(self.tags.get("parent")),
        }
        known = [text.rpartition("/")[2] for text in told.values() if text]
        return self.row(
            "parent", "header: what a guest reads; oVirt merges and deletes by the others",
            code="parent", differs=any(text != header for text in known), header=header, **told,
        )  # fmt: skip

    def _type(self) -> Row:
        said = str(self.metadata.get("type") or "")
        return self.row(
            "allocation", "metadata: how oVirt extends it", metadata=_TYPES.get(said, said)
        )

    def _kind(self) -> Row:
        said, over = str(self.metadata.get("voltype") or ""), self.seen.overlays
        header = (
            f"internal: {over} overlay{'' if over == 1 else 's'}" if over else "leaf: no overlay"
        )
        told = _KINDS.get(said, said)
        differs = (said == "LEAF" and over > 0) or (said == "INTERNAL" and not over)
        return self.row(
            "kind", "the overlays that there are: whoever writes below one destroys it",
            code="kind", differs=differs, header=header, metadata=told and f"{told} ({said})",
        )  # fmt: skip

    def _legality(self) -> Row:
        said = str(self.metadata.get("legality") or "").lower()
        told = str(self.management.get("status") or "").lower()
        return self.row(
            "legality", "metadata: oVirt starts no guest from what is illegal", code="legality",
            differs=(said == "illegal") != (told == "illegal") and bool(said and told),
            metadata=said, management=told,
        )  # fmt: skip

    def _image(self) -> Row:
        said, tag, place = (
            str(found or "")
            for found in (
                self.metadata.get("image"),
                self.tags.get("image"),
                self.notes.get("disk_key"),
            )
        )
        known = {text for text in (said, tag, place) if text}
        shared = self.metadata.get("voltype") == "SHARED"
        return self.row(
            "image", "the place: oVirt looks for the disk there", code="image",
            differs=len(known) > 1 and not shared, metadata=said, tags=tag,
            management=self.management.get("image"),
        )  # fmt: skip

    def _slot(self) -> Row:
        return self.row(
            "metadata slot", "LV tags: where the record lies", code="slot",
            tags=self.tags.get("slot"),
        )  # fmt: skip

    def _alias(self) -> Row:
        said, told = self.metadata.get("alias"), self.management.get("alias")
        return self.row(
            "disk alias", "the engine: the metadata may be behind", metadata=said, management=told
        )


def _management(notes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the system that runs the VMs says: oVirt's engine, or the configuration of the VMs."""
    found = dict(_mapping(notes.get("engine")))
    if notes.get("vm"):
        found["vm"] = notes["vm"]
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return "" if value is None else brief(str(value), 240)


def _bytes(size: int) -> str:
    return f"{binary(size)} ({size} bytes)"


def _parent_of(said: object) -> str:
    return _NONE if said == BLANK_UUID else str(said or "")


def _moment(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not value or not FIRST_MOMENT <= value < LAST_MOMENT:
        return ""
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
