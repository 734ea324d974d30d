"""Batches as JSON; docs/wire-formats.md describes the rows."""

from typing import Any

from rest_framework import serializers

from chains.api.serializers import MannerSerializer, ScopeSerializer
from chains.core.errors import StrataError
from chains.core.scopes import MAX_DEPTH, parse_age
from chains.merges import batches
from chains.merges.choosing import MOST_DISKS
from chains.models import Batch


class BatchRequestSerializer(ScopeSerializer, MannerSerializer):
    """Which disks of a domain (all that every given part names), and which layers of each."""

    domain = serializers.IntegerField(min_value=1)
    disks = serializers.ListField(
        child=serializers.IntegerField(min_value=1), required=False, max_length=MOST_DISKS
    )
    query = serializers.CharField(
        default="", allow_blank=True, max_length=400, help_text="a part of the disks' names"
    )
    deeper_than = serializers.IntegerField(
        min_value=1, max_value=MAX_DEPTH, default=None, allow_null=True, help_text="layers"
    )
    snapshots_older_than = serializers.CharField(
        max_length=40, default=None, allow_null=True, help_text="72h, 7d or 90m"
    )
    all = serializers.BooleanField(default=False, help_text="every disk of the domain")

    def validate_snapshots_older_than(self, value: str | None) -> int | None:
        """Seconds; raises ValidationError."""
        try:
            return None if value is None else parse_age(value)
        except StrataError as error:
            raise serializers.ValidationError(str(error)) from None

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A scope is a must."""
        if "scope" not in attrs:
            raise serializers.ValidationError({"scope": ["Say which layers."]})
        return super().validate(attrs)


class BatchOrderSerializer(BatchRequestSerializer):
    """The same, to be carried out."""

    confirmed = serializers.DictField(
        child=serializers.CharField(max_length=64), required=False,
        help_text="by the id of each disk, the digest of its row in the plan: another plan is not carried out",
    )  # fmt: skip

    def validate_confirmed(self, value: dict[str, str]) -> dict[int, str]:
        """By number; raises ValidationError."""
        if not all(key.isascii() and key.isdecimal() and len(key) < 18 for key in value):
            raise serializers.ValidationError("Its keys are the ids of disks.")
        return {int(key): digest for key, digest in value.items()}


class BatchPlanSerializer(serializers.Serializer[Any]):
    """A plan."""

    domain = serializers.IntegerField()
    scope = serializers.CharField()
    seconds = serializers.IntegerField(allow_null=True)
    layers = serializers.IntegerField(allow_null=True)
    words = serializers.CharField()
    totals = serializers.DictField()
    rows = serializers.ListField(child=serializers.DictField())


class BatchSerializer(serializers.Serializer[Any]):
    """A batch in a list."""

    id = serializers.IntegerField()
    domain = serializers.IntegerField()
    scope = serializers.CharField()
    seconds = serializers.IntegerField(allow_null=True)
    layers = serializers.IntegerField(allow_null=True)
    words = serializers.CharField()
    merge_count = serializers.IntegerField()
    open_count = serializers.IntegerField()
    attention_count = serializers.IntegerField()
    finished = serializers.BooleanField()
    requested_by = serializers.IntegerField(allow_null=True)
    requested_at = serializers.DateTimeField()

    def to_representation(self, instance: Batch) -> dict[str, Any]:
        """As everywhere."""
        return batches.brief(instance)


class BatchDetailSerializer(serializers.Serializer[Any]):
    """A batch with its journal."""

    id = serializers.IntegerField()
    domain = serializers.IntegerField()
    scope = serializers.CharField()
    words = serializers.CharField()
    finished = serializers.BooleanField()
    percent = serializers.FloatField()
    counts = serializers.DictField(child=serializers.IntegerField())
    can_cancel = serializers.BooleanField()
    totals = serializers.DictField()
    merges = serializers.ListField(child=serializers.DictField())
    left_out = serializers.ListField(child=serializers.DictField())
