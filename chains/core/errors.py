"""Typed errors whose text an operator can act on."""

from chains.core.findings import Finding
from chains.core.names import display


class StrataError(Exception):
    """The base of every error that Strata raises on purpose; its text is fit for a page."""


class ReadError(StrataError):
    """A layer that can not be read; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        where = f"{display(finding.path)}: " if finding.path else ""
        super().__init__(where + finding.detail)
        self.finding = finding


class StoredMapError(StrataError):
    """A stored block map that is damaged, or of another version: read the chain again."""


class FragmentedError(StrataError):
    """More runs than any reader should spend memory on; a few forged megabytes can claim many."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The layers lie in more than {limit:,} pieces, more than Strata maps. Copy the disk"
            " into a new volume with qemu-img convert, which puts the pieces together."
        )
