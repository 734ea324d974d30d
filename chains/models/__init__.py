"""The tables."""

from chains.models.domains import DomainKind, GlobalThresholds, StorageDomain, WorkerHost
from chains.models.history import DiskHistory, DomainHistory
from chains.models.inventory import Disk, Finding, Volume
from chains.models.lessons import Lesson, LessonState, LessonStep
from chains.models.maps import BlockMap, VolumeMap
from chains.models.merges import Batch, Merge, MergeStep, Notice
from chains.models.people import AuditRecord, AuditSeal, Role, User
from chains.models.scans import Scan, ScanKind, ScanState

__all__ = [
    "AuditRecord",
    "AuditSeal",
    "Batch",
    "BlockMap",
    "Disk",
    "DiskHistory",
    "DomainHistory",
    "DomainKind",
    "Finding",
    "GlobalThresholds",
    "Lesson",
    "LessonState",
    "LessonStep",
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
