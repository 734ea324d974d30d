"""What is on storage: domains, volumes, disks, their block maps, what is wrong with them, and scans."""

from django.conf import settings
from django.db import models

from chains.models.fields import FileNameField

DAY_SECONDS = 24 * 3600


class DomainKind(models.TextChoices):
    """The kinds of storage domain that a driver is there for."""

    DIRECTORY = "directory", "directory of images"


class StorageDomain(models.Model):
    """A place that holds disks."""

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=16, choices=DomainKind, default=DomainKind.DIRECTORY)
    path = FileNameField()
    path_text = models.TextField(help_text="the path as people read it")
    read_only = models.BooleanField(default=False)
    storage_host = models.CharField(max_length=255, help_text="the worker queue that reaches it")
    capacity = models.BigIntegerField(null=True)
    free = models.BigIntegerField(null=True)
    last_scan = models.ForeignKey("Scan", null=True, on_delete=models.SET_NULL, related_name="+")
    unreachable = models.TextField(blank=True, help_text="why the last scan could not read it")
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


class Volume(models.Model):
    """One stored file, as its header described it at the last scan."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="volumes")
    path = FileNameField(help_text="relative to the domain's root")
    path_text = models.TextField()
    format = models.CharField(max_length=16)
    virtual_size = models.BigIntegerField()
    file_size = models.BigIntegerField()
    on_disk = models.BigIntegerField()
    cluster_size = models.BigIntegerField(null=True)
    backing_file = FileNameField(null=True, help_text="exactly as the header records it")
    backing_format = models.TextField(null=True)
    backing = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="overlays"
    )
    backing_path = FileNameField(null=True, help_text="where it leads, relative to the root")
    features = models.JSONField(default=list, help_text="what a new volume would not carry")
    header = models.JSONField(
        null=True, help_text="core.facts.stored_facts; null when there is none"
    )
    fingerprint = models.TextField()
    modified = models.DateTimeField()
    in_use = models.BooleanField(
        default=False, help_text="open in another process at the last scan"
    )

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["domain", "path"], name="volume_path")]

    def __str__(self) -> str:
        return self.path_text


class Disk(models.Model):
    """The drive a guest sees: one chain, named by its active layer."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="disks")
    active = models.OneToOneField(Volume, on_delete=models.CASCADE, related_name="disk")
    name = models.TextField()
    layers = models.IntegerField(default=1)
    virtual_size = models.BigIntegerField(default=0)
    on_disk = models.BigIntegerField(default=0, help_text="of all its layers, shared ones included")
    oldest_snapshot = models.DateTimeField(null=True)
    findings = models.IntegerField(default=0)
    severity = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Finding(models.Model):
    """One thing wrong or wasteful, with its evidence and its remedy."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="findings")
    volume = models.ForeignKey(Volume, null=True, on_delete=models.CASCADE, related_name="findings")
    path = FileNameField()
    path_text = models.TextField()
    code = models.CharField(max_length=40)
    severity = models.CharField(max_length=16)
    detail = models.TextField()

    class Meta:
        ordering = ["severity", "id"]

    def __str__(self) -> str:
        return f"{self.code}: {self.path_text}"


class VolumeMap(models.Model):
    """The extents of one layer, with the fingerprint of the file that they were read from."""

    volume = models.OneToOneField(Volume, on_delete=models.CASCADE, related_name="map")
    fingerprint = models.TextField()
    data = models.BinaryField(help_text="core.extents.ExtentMap.to_bytes")
    unreachable = models.BigIntegerField(
        null=True, help_text="bytes of data that no leaf above reads; null while that is not known"
    )
    leaves = models.IntegerField(null=True, help_text="how many leaves were asked for that")

    def __str__(self) -> str:
        return f"extents of {self.volume_id}"


class BlockMap(models.Model):
    """A disk's resolved map: which layer answers each block, and the figures that follow from it."""

    disk = models.OneToOneField(Disk, on_delete=models.CASCADE, related_name="block_map")
    fingerprint = models.TextField(help_text="of every layer that it came from, top first")
    data = models.BinaryField(null=True, help_text="core.reads.ReadMap.to_bytes")
    copies = models.BinaryField(null=True, help_text="core.copies.CopyTable.to_bytes")
    figures = models.JSONField(default=dict)
    live = models.BooleanField(default=False, help_text="a guest wrote the active layer meanwhile")
    error = models.TextField(blank=True)
    read_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"block map of {self.disk_id}"


class ScanState(models.TextChoices):
    """A scan either finishes or fails; it changes nothing on storage."""

    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"


class ScanKind(models.TextChoices):
    """What a worker was asked to read."""

    DOMAIN = "domain", "scan"
    BLOCKS = "blocks", "block map"


class Scan(models.Model):
    """One reading of storage by a worker: of a domain's headers, or of a disk's block map."""

    kind = models.CharField(max_length=16, choices=ScanKind, default=ScanKind.DOMAIN)
    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="scans")
    disk = models.ForeignKey(Disk, null=True, on_delete=models.CASCADE, related_name="scans")
    state = models.CharField(max_length=16, choices=ScanState, default=ScanState.QUEUED)
    seq = models.BigIntegerField(default=0)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    message = models.TextField(blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    requested_at = models.DateTimeField(auto_now_add=True, db_index=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    alive_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["domain"],
                condition=models.Q(kind="domain", state__in=["queued", "running"]),
                name="one_scan_a_domain",
            ),
            models.UniqueConstraint(
                fields=["disk"],
                condition=models.Q(kind="blocks", state__in=["queued", "running"]),
                name="one_block_map_a_disk",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class WorkerHost(models.Model):
    """A worker process that says every few seconds that it is there."""

    storage_host = models.CharField(max_length=255)
    process = models.CharField(max_length=300, unique=True, help_text="machine name and process id")
    started_at = models.DateTimeField(auto_now_add=True)
    alive_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.process
