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
from chains.models.merges import Merge, MergeStep
from chains.models.people import AuditRecord, Role, User

__all__ = [
    "AuditRecord",
    "BlockMap",
    "Disk",
    "DomainKind",
    "Finding",
    "Merge",
    "MergeStep",
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
