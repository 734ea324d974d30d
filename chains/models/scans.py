"""Readings of storage by workers."""

from django.conf import settings
from django.db import models

from chains.models.domains import StorageDomain
from chains.models.inventory import Disk, Volume


class ScanState(models.TextChoices):
    """A scan finishes, fails or is cancelled; it changes nothing on storage."""

    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class ScanKind(models.TextChoices):
    """What a worker was asked to read."""

    DOMAIN = "domain", "scan"
    BLOCKS = "blocks", "block map"
    CHECK = "check", "check"


class Scan(models.Model):
    """One reading of storage by a worker: a domain's headers, a disk's block map, a volume's check."""

    kind = models.CharField(max_length=16, choices=ScanKind, default=ScanKind.DOMAIN)
    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="scans")
    disk = models.ForeignKey(Disk, null=True, on_delete=models.CASCADE, related_name="scans")
    volume = models.ForeignKey(Volume, null=True, on_delete=models.CASCADE, related_name="scans")
    state = models.CharField(max_length=16, choices=ScanState, default=ScanState.QUEUED)
    cancel_requested = models.BooleanField(default=False)
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
            models.UniqueConstraint(
                fields=["volume"],
                condition=models.Q(kind="check", state__in=["queued", "running"]),
                name="one_check_a_volume",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"
