"""What can be wrong with a layer or a chain: the words that every part of Strata uses for it."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is. No operation runs on a chain that has a critical one."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Code(StrEnum):
    """The kinds of finding: stable names for filters, exports and tests."""

    BACKING_MISSING = "backing-missing"
    BACKING_LOOP = "backing-loop"
    BACKING_OUTSIDE = "backing-outside"
    BACKING_PROTOCOL = "backing-protocol"
    BACKING_SPECIAL = "backing-special"
    BACKING_UNREADABLE = "backing-unreadable"
    BACKING_INVALID = "backing-invalid"
    BACKING_FORMAT_UNSET = "backing-format-unset"
    BACKING_FORMAT_WRONG = "backing-format-wrong"
    RAW_LOOKS_FORMATTED = "raw-looks-formatted"
    DATA_FILE = "data-file"
    DATA_FILE_OUTSIDE = "data-file-outside"
    DATA_FILE_MISSING = "data-file-missing"
    HEADER_INVALID = "header-invalid"
    FEATURE_UNKNOWN = "feature-unknown"
    TRUNCATED = "truncated"
    TABLES_INVALID = "tables-invalid"
    CORRUPT = "corrupt"
    DIRTY = "dirty"
    ENCRYPTED = "encrypted"
    NOT_A_CHAIN_FORMAT = "not-a-chain-format"
    TOO_DEEP = "too-deep"
    SIZE_SHRINKS = "size-shrinks"
    CHANGED_WHILE_READ = "changed-while-read"
    FOLDER_UNREADABLE = "folder-unreadable"
    NAME_TOO_LONG = "name-too-long"
    DEEP = "deep"
    SNAPSHOT_OLD = "snapshot-old"
    SNAPSHOT_LARGE = "snapshot-large"
    MERGE_WINS = "merge-wins"
    UNREFERENCED = "unreferenced"
    IN_USE = "in-use"
    IN_USE_UNKNOWN = "in-use-unknown"
    LEFTOVER = "leftover"
    PASSING_LONG = "passing-long"
    LEAKED = "leaked"
    CHECK_CORRUPT = "check-corrupt"
    MAP_FAILED = "map-failed"
    SPACE_LOW = "space-low"
    SPACE_ENDS = "space-ends"
    # What a management system says of its volumes, against what is there.
    DOMAIN_METADATA = "domain-metadata"
    METADATA_ORPHAN = "metadata-orphan"
    METADATA_MISSING = "metadata-missing"
    METADATA_INVALID = "metadata-invalid"
    METADATA_CLEARED = "metadata-cleared"
    METADATA_PARENT = "metadata-parent"
    METADATA_FORMAT = "metadata-format"
    METADATA_CAPACITY = "metadata-capacity"
    METADATA_VOLTYPE = "metadata-voltype"
    METADATA_PLACE = "metadata-place"
    VOLUME_ILLEGAL = "volume-illegal"
    VOLUME_FAKE = "volume-fake"
    SEVERAL_LEAFS = "several-leafs"
    OWNERS_UNREAD = "owners-unread"
    ENGINE_UNREAD = "engine-unread"
    ENGINE_UNKNOWN = "engine-unknown"
    ENGINE_MISSING = "engine-missing"
    ENGINE_ILLEGAL = "engine-illegal"
    ENGINE_LOCKED = "engine-locked"
    # Of block domains: volume groups of LVM, and the tags that oVirt gives their volumes.
    VG_PARTIAL = "vg-partial"
    VG_METADATA_MISPLACED = "vg-metadata-misplaced"
    VG_METADATA_FULL = "vg-metadata-full"
    VG_METADATA_SMALL = "vg-metadata-small"
    VG_UNREADY = "vg-unready"
    LV_LAYOUT = "lv-layout"
    LV_TOO_SHORT = "lv-too-short"
    LV_TAGS_MISSING = "lv-tags-missing"
    LV_SLOT_SHARED = "lv-slot-shared"
    TAG_METADATA_DIFFER = "tag-metadata-differ"
    TAG_HEADER_DIFFER = "tag-header-differ"
    PARENT_MISSING = "parent-missing"


@dataclass(frozen=True)
class Finding:
    """One thing wrong with the layer at `path` (relative to the domain root), in plain words.

    `path` is "" for the domain as a whole. `detail` says what is wrong, what it means and what to do;
    names in it are already displayable. `space` is how many bytes it is about, where it is about space.
    """

    code: Code
    severity: Severity
    path: str
    detail: str
    space: int | None = None


def critical(code: Code, path: str, detail: str) -> Finding:
    """Return a finding that keeps every operation off the chain."""
    return Finding(code, Severity.CRITICAL, path, detail)


def warning(code: Code, path: str, detail: str, space: int | None = None) -> Finding:
    """Return a finding that an operator should know of before working on the chain."""
    return Finding(code, Severity.WARNING, path, detail, space)


def info(code: Code, path: str, detail: str, space: int | None = None) -> Finding:
    """Return a finding that is good to know, and asks for nothing at once."""
    return Finding(code, Severity.INFO, path, detail, space)
