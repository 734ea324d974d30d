"""Merges and the journal of their steps."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from chains.core.states import UNDO, UNFINISHED, Kept, MergeState, StepState, Verification
from chains.models.domains import StorageDomain
from chains.models.inventory import Disk


class Batch(models.Model):
    """Many merges of one domain that were planned, and asked for, as one."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="batches")
    scope = models.JSONField(help_text="which layers of each disk: core.scopes.Scope.to_json")
    plan = models.JSONField(help_text="the plan as it was confirmed: totals, and what was left out")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    requested_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"batch {self.pk} of {self.domain_id}"


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
    worker = models.CharField(
        max_length=300, blank=True, help_text="host name and process id of who carries it out"
    )
    batch = models.ForeignKey(Batch, null=True, on_delete=models.SET_NULL, related_name="merges")
    verification = models.CharField(
        max_length=16, choices=[(way.value, way.value) for way in Verification],
        default=Verification.MOVED.value,
    )  # fmt: skip
    rate = models.BigIntegerField(null=True, help_text="most bytes a second; null: no limit")
    seconds_expected = models.FloatField(null=True, help_text="what the plan said that it takes")
    views = models.JSONField(default=list, help_text="digests of the guests' views before")
    actual = models.JSONField(default=dict, help_text="what it did: merges.outcome.Outcome")
    undoes = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="undos",
        help_text="the merge that this one takes back",
    )  # fmt: skip
    other_family = models.CharField(
        max_length=64, blank=True, help_text="of an undo: the family that comes back"
    )
    kept = models.CharField(
        max_length=16, blank=True, choices=[(kept.value, kept.value) for kept in Kept],
        default=Kept.NOTHING.value,
    )  # fmt: skip
    kept_files = models.JSONField(
        default=list, help_text="merges.kept.KeptFile of each layer aside"
    )
    kept_bytes = models.BigIntegerField(default=0, help_text="what a purge gives back")
    kept_until = models.DateTimeField(null=True)
    joined = models.TextField(blank=True, help_text="fingerprint of the joined volume at the end")
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
    def is_undo(self) -> bool:
        """Whether this takes another merge back."""
        return self.strategy == UNDO

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


class Notice(models.Model):
    """One message to the outside about a merge that ended or needs attention."""

    merge = models.ForeignKey(Merge, on_delete=models.CASCADE, related_name="notices")
    channel = models.CharField(max_length=16, help_text="webhook or email")
    event = models.CharField(max_length=16, help_text="the state that is told of")
    body = models.JSONField(help_text="what is told, as docs/wire-formats.md says")
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, help_text="why the last attempt failed")
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(null=True, help_text="when it is tried next; null: no more")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        # Every worker asks every few seconds for the few that are due among all that ever were.
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="notices_due")
        ]

    def __str__(self) -> str:
        return f"{self.channel} about merge {self.merge_id}"
