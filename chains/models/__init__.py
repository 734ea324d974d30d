"""The tables."""

from chains.models.inventory import (
    BlockMap,
    Disk,
    DomainKind,
    Finding,
    Scan,
    ScanKind,
    ScanState,
    StorageDomain,
    Volume,
    VolumeMap,
    WorkerHost,
)
from chains.models.merges import Batch, Merge, MergeStep, Notice
from chains.models.people import AuditRecord, Role, User

__all__ = [
    "AuditRecord",
    "Batch",
    "BlockMap",
    "Disk",
    "DomainKind",
    "Finding",
    "Merge",
    "MergeStep",
    "Notice",
    "Role",
    "Scan",
    "ScanKind",
    "ScanState",
    "StorageDomain",
    "User",
    "Volume",
    "VolumeMap",
    "WorkerHost",
]
