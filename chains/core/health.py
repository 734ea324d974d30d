"""The health rules: from what was read of a layer, or of a layer and its backing file, to findings.

Each rule is a small function that returns findings or none; none of them reads storage.
"""

from chains.core.findings import Code, Finding, critical, warning
from chains.core.names import brief
from chains.core.qcow2_header import FEATURES, Header
from chains.core.qcow2_tables import table_findings

CHAIN_FORMATS = ("raw", "qcow2")


def header_findings(header: Header, path: str, file_size: int) -> list[Finding]:
    """Say what a readable header tells of its own layer; `file_size` is in bytes."""
    found: list[Finding] = []
    # Sound images, nearly all of them, pay for these few comparisons only.
    if header.incompatible & ~0b11000:
        found += _feature_findings(header, path)
    if header.encryption:
        found += _encryption_findings(header, path, file_size)
    if header.snapshots or header.extensions.bitmaps:
        found += table_findings(header, path, file_size)
    end = header.tables_end
    if end > file_size:
        found.append(
            critical(
                Code.TRUNCATED,
                path,
                f"The file ends at {file_size} bytes, before its own tables do ({end}): it was cut,"
                " or its copy is not finished. QEMU would read zeroes: restore the volume.",
            )
        )
    return found


def _encryption_findings(header: Header, path: str, file_size: int) -> list[Finding]:
    found = [
        warning(
            Code.ENCRYPTED,
            path,
            f"The layer is encrypted ({header.encryption}). Strata reads its tables, but keeps no"
            " keys, so it starts no tool on a chain that holds it: use those that hold the key.",
        )
    ]
    offset, length = header.extensions.encryption or (0, 0)
    if offset + length > file_size:
        found.append(
            critical(
                Code.TRUNCATED,
                path,
                f"The file ends at {file_size} bytes, before the header of its encryption does"
                f" ({offset + length}). Without that no key opens it: restore the volume.",
            )
        )
    return found


def _feature_findings(header: Header, path: str) -> list[Finding]:
    found = []
    if header.unknown_incompatible:
        known = FEATURES[0]
        names = [brief(name, 46) for name in header.features(0) if name not in known]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        found.append(
            critical(
                Code.FEATURE_UNKNOWN,
                path,
                f"The layer uses features that are not known here ({', '.join(names[:8])}{more})."
                " A newer QEMU made it: leave it to that.",
            )
        )
    if header.corrupt:
        found.append(
            critical(
                Code.CORRUPT,
                path,
                "QEMU marked the layer as corrupt. Copy it, then run qemu-img check -r all on the"
                " copy, or restore the volume.",
            )
        )
    if header.dirty:
        found.append(
            warning(
                Code.DIRTY,
                path,
                "The layer was not closed in order: a guest runs on it, or its host failed. Its"
                " reference counts are repaired when it is next opened for writing.",
            )
        )
    return found


def format_finding(overlay_path: str, recorded: str) -> Finding:
    """Name an overlay that records another backing format than raw and qcow2."""
    return critical(
        Code.NOT_A_CHAIN_FORMAT,
        overlay_path,
        f"The layer records “{brief(recorded)}” as the format of its backing file; a chain is made"
        " of raw and qcow2 only.",
    )


def unset_finding(overlay_path: str, looks_like: str) -> Finding:
    """Name an overlay that records no backing format, by what its backing file looks like."""
    if looks_like == "raw":
        return warning(
            Code.BACKING_FORMAT_UNSET,
            overlay_path,
            "The layer does not record the format of its backing file, so tools guess by"
            " content: raw today, something else once a guest writes a forged header. Record"
            " it with qemu-img rebase -u -F raw.",
        )
    return critical(
        Code.BACKING_FORMAT_UNSET,
        overlay_path,
        f"The layer does not record the format of its backing file, whose content starts like"
        f" {looks_like}: a guest may have forged that. If it is true, record it with qemu-img"
        f" rebase -u -F {looks_like}.",
    )


def wrong_finding(overlay_path: str, recorded: str, found: str) -> Finding:
    """Name an overlay whose backing file was read as another format than it records."""
    return critical(
        Code.BACKING_FORMAT_WRONG,
        overlay_path,
        f"The layer records its backing file as {recorded}, but it is {found}: a guest reads"
        f" nonsense through it. Correct the record with qemu-img rebase -u -F {found}, after"
        " making sure which is right.",
    )


def disagreement_finding(overlay_path: str, recorded: str, other: str) -> Finding:
    """Name an overlay that records another format of its backing file than `other`, over the same file."""
    return critical(
        Code.BACKING_FORMAT_WRONG,
        overlay_path,
        f"The layer records its backing file as {recorded}, and “{brief(other)}”, which lies over the same"
        " file, as something else. A guest reads nonsense through one of the two. Find out which is right"
        " (by what the file was made as, not by how its content looks) before anything is changed, then"
        " correct the other with qemu-img rebase -u -F.",
    )


def size_finding(overlay_path: str, size: int, backing_size: int) -> Finding:
    """Warn of an overlay smaller than its backing file (virtual sizes in bytes)."""
    return warning(
        Code.SIZE_SHRINKS,
        overlay_path,
        f"The layer is {backing_size - size} bytes smaller than its backing file, which it"
        " hides from there on. A careless merge would bring that old data back.",
    )


def loop_finding(path: str) -> Finding:
    """Name a layer whose backing files lead back to itself."""
    return critical(
        Code.BACKING_LOOP,
        path,
        "The backing files lead back to a layer that was met before, so the chain has no end. No"
        " tool will be started on it: rebase one of its layers on the true backing file.",
    )


def depth_finding(path: str, limit: int) -> Finding:
    """Name the layer at which a chain was given up for its length."""
    return critical(
        Code.TOO_DEEP,
        path,
        f"The chain has more than {limit} layers. QEMU fails at about that many open files: merge"
        " it from the bottom with the disk shut down.",
    )
