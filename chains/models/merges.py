"""Merges and the journal of their steps."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from chains.core.states import UNFINISHED, MergeState, StepState
from chains.models.inventory import Disk, StorageDomain


class Merge(models.Model):
    """One merge, from the request to its end; `plan` is what the operator confirmed."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="merges")
    disk = models.ForeignKey(Disk, null=True, on_delete=models.SET_NULL, related_name="merges")
    disk_name = models.TextField()
    family = models.CharField(max_length=64, help_text="one key for all disks that share a root")
    base_text = models.TextField()
    top_text = models.TextField()
    strategy = models.CharField(max_length=16)
    plan = models.JSONField()
    top_before = models.BinaryField(
        null=True, help_text="what top held at the preflight: core.extents.ExtentMap.to_bytes"
    )
    picture = models.JSONField(default=list, help_text="the chain as it stood, for the diagrams")
    state = models.CharField(
        max_length=16, choices=[(state.value, state.value) for state in MergeState],
        default=MergeState.QUEUED.value,
    )  # fmt: skip
    seq = models.BigIntegerField(default=0)
    percent = models.FloatField(default=0)
    bytes_done = models.BigIntegerField(default=0)
    bytes_total = models.BigIntegerField(default=0)
    throughput = models.FloatField(null=True, help_text="bytes a second")
    seconds_left = models.FloatField(null=True)
    message = models.TextField(blank=True, help_text="why it stopped, and what to do")
    cancel_requested = models.BooleanField(default=False)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    requested_at = models.DateTimeField(auto_now_add=True, db_index=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["family"],
                condition=Q(state__in=sorted(state.value for state in UNFINISHED)),
                name="one_merge_a_family",
            )
        ]

    def __str__(self) -> str:
        return f"merge {self.pk} of {self.disk_name}"

    @property
    def finished(self) -> bool:
        """True when nothing more will happen by itself or by hand."""
        return MergeState(self.state) not in UNFINISHED


class MergeStep(models.Model):
    """One step of a merge's journal, recorded before it runs."""

    merge = models.ForeignKey(Merge, on_delete=models.CASCADE, related_name="steps")
    position = models.IntegerField()
    name = models.CharField(max_length=16)
    state = models.CharField(
        max_length=16, choices=[(state.value, state.value) for state in StepState],
        default=StepState.WAITING.value,
    )  # fmt: skip
    command = models.TextField(blank=True, help_text="the exact command, as a shell would take it")
    stderr = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["merge", "position"], name="step_position")]

    def __str__(self) -> str:
        return f"{self.name} of merge {self.merge_id}"
