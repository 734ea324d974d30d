"""What is on storage: volumes, disks, and what is wrong with them."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Left
from django.utils import timezone

from chains.models.domains import StorageDomain
from chains.models.fields import FileNameField

NAME_ORDER = 200  # characters of a disk's name that lists are ordered by


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
        null=True, default=False,
        help_text="open in another process at the last scan; null: nobody can tell",
    )  # fmt: skip
    allocated = models.BigIntegerField(null=True, help_text="bytes of its LV; null for files")
    image_end = models.BigIntegerField(
        null=True, help_text="bytes of the LV that its image takes; null for files"
    )
    notes = models.JSONField(
        null=True, help_text="storage.types.Notes: what metadata and tags say; null: nothing"
    )
    check_result = models.JSONField(
        null=True, help_text="inventory.checks: what qemu-img check said, and of which file"
    )
    not_seen_since = models.DateTimeField(
        null=True, help_text="since when its folder can not be read; that is not gone"
    )

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["domain", "path"], name="volume_path")]
        indexes = [
            GinIndex(fields=["path_text"], opclasses=["gin_trgm_ops"], name="volume_words"),
            # Rare ones may lie together at the end of a million paths.
            models.Index(fields=["domain", "format", "path"], name="volumes_by_format"),
            models.Index(fields=["domain", "in_use", "path"], name="volumes_by_use"),
            models.Index(fields=["domain", "on_disk", "id"], name="volumes_by_on_disk"),
            models.Index(fields=["domain", "modified", "id"], name="volumes_by_age"),
            models.Index(
                fields=["domain", "path"], condition=Q(not_seen_since__isnull=False),
                name="volumes_not_seen",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.path_text


class Disk(models.Model):
    """The drive a guest sees: one chain, named by its active layer."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="disks")
    active = models.OneToOneField(Volume, on_delete=models.CASCADE, related_name="disk")
    name = models.TextField()
    vm = models.TextField(blank=True, help_text="the VM that owns it, where the domain tells")
    key = models.TextField(blank=True, help_text="what the domain calls it: an image's uuid")
    layers = models.IntegerField(default=1)
    virtual_size = models.BigIntegerField(default=0)
    on_disk = models.BigIntegerField(default=0, help_text="of all its layers, shared ones included")
    oldest_snapshot = models.DateTimeField(null=True)
    findings = models.IntegerField(default=0)
    severity = models.CharField(max_length=16, blank=True)
    # The figures of the sprawl report: core.sprawl. Null until a scan has found them out.
    snapshots = models.IntegerField(null=True, help_text="frozen layers that only this disk has")
    snapshot_bytes = models.BigIntegerField(null=True, help_text="on disk, of those")
    snapshot_since = models.DateTimeField(
        null=True, help_text="when the oldest of those was written last"
    )
    shadowed = models.BigIntegerField(
        null=True, help_text="bytes that overlays hide; null where that is not mapped"
    )
    winnable = models.BigIntegerField(
        null=True, help_text="bytes that a merge of all gives back, at least"
    )
    to_copy = models.BigIntegerField(
        null=True, help_text="bytes that it copies; at most, where it is not mapped"
    )
    breaches = models.IntegerField(null=True, help_text="open findings of its policy")

    class Meta:
        ordering = ["name", "id"]
        indexes = [
            # An entry of an index holds some 2,700 bytes; a name may be longer.
            models.Index("domain", Left("name", NAME_ORDER), "id", name="disks_by_name"),
            models.Index(fields=["domain", "virtual_size", "id"], name="disks_by_size"),
            models.Index(fields=["domain", "on_disk", "id"], name="disks_by_on_disk"),
            models.Index(fields=["domain", "layers", "id"], name="disks_by_layers"),
            models.Index(fields=["domain", "findings", "id"], name="disks_by_findings"),
            models.Index(
                "domain", F("oldest_snapshot").asc(nulls_last=True), "id", name="disks_by_age"
            ),
            GinIndex(fields=["name"], opclasses=["gin_trgm_ops"], name="disk_words"),
            GinIndex(fields=["vm"], opclasses=["gin_trgm_ops"], name="vm_words"),
            models.Index(fields=["key"], condition=~Q(key=""), name="disks_by_key"),
            # Of the sprawl report: inventory.sprawl_sql.
            models.Index(Coalesce("snapshot_bytes", -1), name="disks_by_snapshots"),
            models.Index(
                F("domain"),
                F("winnable").desc(),
                "id",
                condition=Q(winnable__gt=0),
                name="largest_wins",
            ),
            models.Index(Left("vm", NAME_ORDER), "domain", name="disks_by_vm"),
        ]

    def __str__(self) -> str:
        return self.name


class FindingQuerySet(models.QuerySet["Finding"]):
    """Findings, and those of them that matter now."""

    def open(self) -> "FindingQuerySet":
        """Those that the last scan saw, acknowledged or not."""
        return self.filter(resolved_at=None)

    def to_see(self) -> "FindingQuerySet":
        """Those of them that nobody has acknowledged until later."""
        until_now = Q(acknowledged_at=None) | Q(acknowledged_until__lte=timezone.now())
        return self.open().filter(until_now)

    def acknowledged(self) -> "FindingQuerySet":
        """Those of the open ones that somebody knows of, until a day that is still to come."""
        return self.open().filter(
            acknowledged_at__isnull=False, acknowledged_until__gt=timezone.now()
        )

    def resolved(self) -> "FindingQuerySet":
        """Those that the last scan found no more."""
        return self.filter(resolved_at__isnull=False)


class Finding(models.Model):
    """One thing wrong or wasteful, with its evidence and its remedy.

    It is open until a scan no longer finds it; the row stays, and opens again when it is back.
    """

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="findings")
    volume = models.ForeignKey(
        Volume, null=True, on_delete=models.SET_NULL, related_name="findings"
    )
    path = FileNameField()
    path_text = models.TextField()
    code = models.CharField(max_length=40)
    severity = models.CharField(max_length=16)
    rank = models.PositiveSmallIntegerField(default=1, help_text="1 critical, 2 warning, 3 info")
    detail = models.TextField()
    space = models.BigIntegerField(null=True, help_text="bytes that it is about, where it is")
    endangers = models.JSONField(default=list, help_text="names of the first guests above it")
    endangered = models.IntegerField(default=0, help_text="how many guests")
    first_seen = models.DateTimeField(default=timezone.now)
    last_seen = models.DateTimeField(
        null=True, help_text="of one that is resolved; an open one was seen by the last scan"
    )
    resolved_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_until = models.DateTimeField(null=True)
    reason = models.TextField(blank=True, help_text="why it was acknowledged")

    objects = FindingQuerySet.as_manager()

    class Meta:
        ordering = ["rank", "id"]
        indexes = [
            models.Index(
                fields=["domain", "rank", "id"], condition=Q(resolved_at=None), name="open_findings"
            ),
            models.Index(
                fields=["rank", "id"], condition=Q(resolved_at=None), name="worst_findings"
            ),
            models.Index(
                fields=["code", "rank", "id"],
                condition=Q(resolved_at=None),
                name="findings_by_code",
            ),
            models.Index(
                fields=["rank", "id"],
                condition=Q(resolved_at=None, acknowledged_at__isnull=False),
                name="acknowledged_findings",
            ),
            models.Index(
                fields=["rank", "id"],
                condition=Q(resolved_at__isnull=False),
                name="resolved_findings",
            ),
            models.Index(
                fields=["domain", "rank", "id"],
                condition=Q(resolved_at__isnull=False),
                name="resolved_of_domain",
            ),
            GinIndex(fields=["path_text"], opclasses=["gin_trgm_ops"], name="finding_words"),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.path_text}"
