"""Block maps: what was read of the layers, and which layer answers each block."""

from django.db import models

from chains.models.inventory import Disk, Volume


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
    to_copy = models.JSONField(
        null=True, help_text="bytes that joining the n + 2 uppermost layers copies at best"
    )
    live = models.BooleanField(default=False, help_text="a guest wrote the active layer meanwhile")
    error = models.TextField(blank=True)
    read_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"block map of {self.disk_id}"
