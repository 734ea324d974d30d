"""How domains and disks stood, each time that they changed: kept a year, thinned with age."""

from django.db import models

from chains.models.domains import StorageDomain
from chains.models.inventory import Disk


class DomainHistory(models.Model):
    """A domain as it stood from `at` on; bytes are bytes."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="history")
    at = models.DateTimeField()
    volumes = models.IntegerField()
    disks = models.IntegerField()
    deepest = models.IntegerField()
    virtual = models.DecimalField(max_digits=30, decimal_places=0)
    on_disk = models.DecimalField(max_digits=30, decimal_places=0)
    capacity = models.BigIntegerField(null=True)
    free = models.BigIntegerField(null=True)
    critical = models.IntegerField()
    warning = models.IntegerField()
    info = models.IntegerField()
    # Sums over the disks: core.sprawl. Null in notes of before Strata knew of them: not recorded then.
    snapshots = models.IntegerField(null=True)
    snapshot_bytes = models.DecimalField(max_digits=30, decimal_places=0, null=True)
    shadowed = models.DecimalField(max_digits=30, decimal_places=0, null=True)
    winnable = models.DecimalField(max_digits=30, decimal_places=0, null=True)
    breaches = models.IntegerField(null=True)
    made_up = models.BooleanField(
        default=False, help_text="by the demo, which has no past of its own"
    )

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["domain", "at"], name="domain_history_at")]

    def __str__(self) -> str:
        return f"domain {self.domain_id} at {self.at}"


class DiskHistory(models.Model):
    """A disk as it stood from `at` on, until its next row; `gone`: it is no more."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="+")
    disk = models.ForeignKey(Disk, null=True, on_delete=models.SET_NULL, related_name="history")
    disk_number = models.BigIntegerField(help_text="the disk's id, also when the disk is gone")
    name = models.TextField()
    at = models.DateTimeField()
    layers = models.IntegerField()
    virtual_size = models.BigIntegerField()
    on_disk = models.BigIntegerField()
    findings = models.IntegerField()
    severity = models.CharField(max_length=16, blank=True)
    # As in Disk; null in notes of before Strata knew of them: not recorded then.
    vm = models.TextField(null=True)
    snapshots = models.IntegerField(null=True)
    snapshot_bytes = models.BigIntegerField(null=True)
    snapshot_since = models.DateTimeField(null=True)
    shadowed = models.BigIntegerField(null=True)
    winnable = models.BigIntegerField(null=True)
    to_copy = models.BigIntegerField(null=True)
    breaches = models.IntegerField(null=True)
    gone = models.BooleanField(default=False)

    class Meta:
        ordering = ["at", "id"]
        indexes = [
            models.Index(fields=["disk_number", "at"], name="disk_history_at"),
            models.Index(fields=["domain", "at"], name="disk_history_of_domain"),
        ]

    def __str__(self) -> str:
        return f"disk {self.disk_number} at {self.at}"
