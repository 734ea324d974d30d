"""Storage domains, and the workers that reach them."""

from django.db import models

from chains.models.fields import FileNameField

DAY_SECONDS = 24 * 3600
HOUR_SECONDS = 3600
DATACENTER_LIMIT = 80  # characters


class DomainKind(models.TextChoices):
    """The kinds of storage domain that a driver is there for."""

    DIRECTORY = "directory", "directory of images"
    OVIRT_FILE = "ovirt-file", "oVirt file domain"
    OVIRT_BLOCK = "ovirt-block", "oVirt block domain"


class StorageDomain(models.Model):
    """A place that holds disks."""

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=16, choices=DomainKind, default=DomainKind.DIRECTORY)
    path = FileNameField()
    path_text = models.TextField(help_text="the path as people read it")
    datacenter = models.CharField(
        max_length=DATACENTER_LIMIT,
        blank=True,
        help_text="what it belongs to, as people call it; empty: as oVirt's metadata says, where it does",
    )
    read_only = models.BooleanField(default=False)
    storage_host = models.CharField(max_length=255, help_text="the worker queue that reaches it")
    capacity = models.BigIntegerField(null=True)
    free = models.BigIntegerField(null=True)
    last_scan = models.ForeignKey("Scan", null=True, on_delete=models.SET_NULL, related_name="+")
    unreachable = models.TextField(blank=True, help_text="why the last scan could not read it")
    unreachable_since = models.DateTimeField(null=True)
    root_mark = models.CharField(
        max_length=64, blank=True,
        help_text="st_dev:st_ino of the root at the last scan: another one may be what lies under a mount",
    )  # fmt: skip
    profile = models.CharField(
        max_length=16,
        default="auto",
        help_text="who made a directory's tree; auto: found by looking",
    )
    options = models.JSONField(default=dict, help_text="of its driver: chains.inventory.drivers")
    facts = models.JSONField(default=dict, help_text="what the driver found out about the domain")
    scan_seconds = models.BigIntegerField(
        default=HOUR_SECONDS, help_text="how often it is scanned; 0: only when somebody asks"
    )
    next_scan_at = models.DateTimeField(null=True)
    thresholds = models.JSONField(
        default=dict, help_text="what differs from the thresholds for all: core.thresholds"
    )
    disk_count = models.IntegerField(default=0)
    volume_count = models.IntegerField(default=0)
    deepest = models.IntegerField(default=0, help_text="layers of its longest chain")
    virtual_total = models.DecimalField(
        max_digits=30,
        decimal_places=0,
        default=0,
        help_text="bytes that its guests may come to write",
    )
    on_disk_total = models.DecimalField(max_digits=30, decimal_places=0, default=0)
    sprawl = models.JSONField(
        null=True,
        help_text="inventory.sprawl_sums: figures of all its disks; null until it is scanned",
    )
    critical_count = models.IntegerField(default=0, help_text="open findings, not acknowledged")
    warning_count = models.IntegerField(default=0)
    info_count = models.IntegerField(default=0)
    shares_blocks = models.BooleanField(
        default=False, help_text="its file system can copy by reference"
    )
    keep_seconds = models.BigIntegerField(
        default=DAY_SECONDS,
        help_text="how long merged layers are kept aside for an undo; 0: not at all",
    )
    merges_at_once = models.PositiveSmallIntegerField(default=1)
    window = models.CharField(
        max_length=200,
        blank=True,
        help_text="when merges may start, like Sat 02:00-05:00; empty: always",
    )
    rate = models.BigIntegerField(
        null=True, help_text="most bytes a second of each merge; null: no limit"
    )
    paused = models.BooleanField(default=False, help_text="no queued merge starts")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def forbidden(self) -> str:
        """Why Strata may write nothing here; "" when it may."""
        if self.read_only:
            return "The storage domain is read-only in Strata; an admin can change that."
        if self.kind != DomainKind.DIRECTORY:
            return (
                "oVirt manages this storage domain and keeps records of each volume, which a merge behind"
                " its back would make wrong: remove the snapshot in oVirt."
            )
        return ""


class GlobalThresholds(models.Model):
    """The thresholds of every domain that has none of its own: one row."""

    values = models.JSONField(default=dict, help_text="core.thresholds.Thresholds, by name")

    def __str__(self) -> str:
        return "thresholds"


class WorkerHost(models.Model):
    """A worker process that says every few seconds that it is there."""

    storage_host = models.CharField(max_length=255)
    process = models.CharField(max_length=300, unique=True, help_text="machine name and process id")
    started_at = models.DateTimeField(auto_now_add=True)
    alive_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.process
