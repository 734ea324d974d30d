"""Rows as JSON. Sizes are bytes, times ISO 8601 in UTC, names escaped where they are not text."""

from typing import Any, cast

from rest_framework import serializers

from chains.core import standing
from chains.core.errors import StrataError
from chains.core.names import portable
from chains.core.scopes import MAX_DEPTH, Scope, ScopeKind
from chains.core.states import Verification
from chains.inventory import selectors, volumes
from chains.inventory.findings import REASON_LIMIT
from chains.merges.options import check_rate
from chains.models import Disk, Finding, Merge, Notice, Scan, StorageDomain, User, Volume


class NameField(serializers.CharField):
    """A file name: bytes that are not UTF-8 appear as \\xNN."""

    def to_representation(self, value: Any) -> str:
        """Text that every JSON reader takes."""
        return portable(value)


class DomainSerializer(serializers.ModelSerializer[StorageDomain]):
    """A storage domain."""

    path = NameField(read_only=True)
    block = serializers.SerializerMethodField()
    overcommit = serializers.SerializerMethodField()
    worker_alive = serializers.SerializerMethodField()
    # Decimals in the database, for they may be larger than its integers; numbers all the same.
    virtual_total = serializers.IntegerField(read_only=True)
    on_disk_total = serializers.IntegerField(read_only=True)

    class Meta:
        model = StorageDomain
        fields = [
            "id", "name", "datacenter", "kind", "path", "read_only", "storage_host", "capacity", "free",
            "unreachable", "last_scan", "shares_blocks", "keep_seconds", "merges_at_once", "window",
            "rate", "paused", "profile", "facts", "block", "overcommit", "unreachable_since",
            "scan_seconds", "next_scan_at", "worker_alive", "thresholds", "disk_count",
            "volume_count", "deepest", "virtual_total", "on_disk_total", "critical_count",
            "warning_count", "info_count",
        ]  # fmt: skip

    def get_block(self, domain: StorageDomain) -> bool:
        """Whether its volumes are logical volumes."""
        return standing.is_block(domain.kind)

    def get_overcommit(self, domain: StorageDomain) -> float | None:
        """How many times the domain its guests may come to write."""
        return standing.overcommit(int(domain.virtual_total), domain.capacity)

    def get_worker_alive(self, domain: StorageDomain) -> bool:
        """Asked once for a whole list."""
        context = cast(dict[str, Any], self.context)
        if "silent_hosts" not in context:
            context["silent_hosts"] = set(selectors.silent_hosts())
        return domain.storage_host not in context["silent_hosts"]


class FindingSerializer(serializers.ModelSerializer[Finding]):
    """One thing wrong."""

    path = NameField(read_only=True)
    acknowledged_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Finding
        fields = [
            "id", "domain", "volume", "path", "code", "severity", "detail", "space", "endangers",
            "endangered", "first_seen", "last_seen", "resolved_at", "acknowledged_by",
            "acknowledged_at", "acknowledged_until", "reason",
        ]  # fmt: skip


class AcknowledgeSerializer(serializers.Serializer[Any]):
    """Why a finding may stay as it is, and when it is to be looked at again."""

    reason = serializers.CharField(max_length=REASON_LIMIT)
    until = serializers.DateTimeField()


class VolumeSerializer(serializers.ModelSerializer[Volume]):
    """One stored file."""

    path = NameField(read_only=True)
    backing_file = NameField(read_only=True)

    class Meta:
        model = Volume
        fields = [
            "id", "domain", "path", "format", "virtual_size", "file_size", "on_disk",
            "cluster_size", "backing_file", "backing_format", "backing", "in_use", "modified",
            "header", "allocated", "image_end", "notes", "not_seen_since",
        ]  # fmt: skip


class VolumeDetailSerializer(VolumeSerializer):
    """One volume with its witnesses, its last check, and what is known of who has it open."""

    in_use_why = serializers.SerializerMethodField()
    image_end = serializers.SerializerMethodField()
    check = serializers.SerializerMethodField()
    witnesses = serializers.SerializerMethodField()

    class Meta(VolumeSerializer.Meta):
        fields = [*VolumeSerializer.Meta.fields, "in_use_why", "check", "witnesses"]

    def get_in_use_why(self, volume: Volume) -> str:
        """What `in_use` is worth."""
        return volumes.in_use(volume).why

    def get_image_end(self, volume: Volume) -> int | None:
        """Bytes."""
        return volumes.image_end(volume)

    def get_check(self, volume: Volume) -> dict[str, Any]:
        """As of `volumes/ID/check/`."""
        return volumes.check_of(volume).to_json()

    def get_witnesses(self, volume: Volume) -> list[dict[str, Any]] | None:
        """Null where only the header tells of the volume."""
        return volumes.witnesses_json(volumes.table_of(volume, volume.overlays.count()))


class DiskSerializer(serializers.ModelSerializer[Disk]):
    """The drive a guest sees."""

    class Meta:
        model = Disk
        fields = [
            "id", "domain", "name", "vm", "active", "layers", "virtual_size", "on_disk",
            "oldest_snapshot", "findings", "severity",
        ]  # fmt: skip


class DiskDetailSerializer(DiskSerializer):
    """A disk with its chain, active layer first."""

    chain = VolumeSerializer(many=True, read_only=True)

    class Meta(DiskSerializer.Meta):
        fields = [*DiskSerializer.Meta.fields, "chain"]


class ScanSerializer(serializers.ModelSerializer[Scan]):
    """A scan."""

    class Meta:
        model = Scan
        fields = [
            "id", "kind", "domain", "disk", "volume", "state", "done", "total", "message",
            "cancel_requested", "requested_by", "requested_at", "started_at", "finished_at",
        ]  # fmt: skip


class NoticeSerializer(serializers.ModelSerializer[Notice]):
    """What was told of a merge to the outside, or will be."""

    class Meta:
        model = Notice
        fields = [
            "id", "channel", "event", "attempts", "error", "created_at", "due_at", "sent_at",
        ]  # fmt: skip


class MergeSerializer(serializers.ModelSerializer[Merge]):
    """A merge; `/merges/{id}/live/` has its steps."""

    notices = NoticeSerializer(many=True, read_only=True)

    class Meta:
        model = Merge
        fields = [
            "id", "domain", "disk", "disk_name", "base_text", "top_text", "strategy", "state",
            "percent", "bytes_done", "bytes_total", "throughput", "seconds_left", "message",
            "requested_by", "requested_at", "started_at", "finished_at", "finished", "verification",
            "rate", "seconds_expected", "actual", "batch", "undoes", "kept", "kept_bytes", "kept_until",
            "notices",
        ]  # fmt: skip


class ScopeSerializer(serializers.Serializer[Any]):
    """Which layers, as a wish; `wish` of the valid data is the core.scopes.Scope."""

    scope = serializers.ChoiceField(list(ScopeKind), required=False)
    age = serializers.CharField(
        required=False, max_length=40, help_text="72h, 7d or 90m: of the scope older"
    )
    depth = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_DEPTH, help_text="layers: of the scope depth"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises ValidationError with the words of the scope's own rule."""
        if "scope" in attrs:
            words = attrs["scope"], attrs.get("age", ""), str(attrs.get("depth", ""))
            try:
                attrs["wish"] = Scope.from_words(*words)
            except StrataError as error:
                raise serializers.ValidationError({"scope": [str(error)]}) from None
        return attrs


class MannerSerializer(serializers.Serializer[Any]):
    """How a merge is carried out."""

    verification = serializers.ChoiceField(list(Verification), default=Verification.MOVED)
    rate = serializers.IntegerField(
        min_value=0, allow_null=True, default=None,
        help_text="most bytes a second; null: what the domain allows; 0: no limit",
    )  # fmt: skip

    def validate_rate(self, rate: int | None) -> int | None:
        """Raises ValidationError for what no merge can be held to."""
        try:
            check_rate(rate or 0)
        except StrataError as error:
            raise serializers.ValidationError(str(error)) from None
        return rate


class MergeRequestSerializer(ScopeSerializer, MannerSerializer):
    """What to merge: the ids of the lowest and the highest volume to join, or a disk and a scope."""

    base = serializers.IntegerField(min_value=1, required=False)
    top = serializers.IntegerField(min_value=1, required=False)
    disk = serializers.IntegerField(min_value=1, required=False)
    strategy = serializers.ChoiceField(["auto", "commit", "rebase", "convert"], default="auto")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One way or the other."""
        given = {"base", "top", "disk", "scope"} & set(attrs)
        if given not in ({"base", "top"}, {"disk", "scope"}):
            raise serializers.ValidationError("Give base and top, or disk and scope.")
        return super().validate(attrs)


class PolicySerializer(serializers.Serializer[Any]):
    """What a domain allows its merges; what is left out stays."""

    keep_seconds = serializers.IntegerField(required=False)
    merges_at_once = serializers.IntegerField(required=False)
    window = serializers.CharField(required=False, allow_blank=True)
    rate = serializers.IntegerField(required=False, allow_null=True, min_value=0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A word that is not known may be one that was mistyped."""
        if unknown := sorted(set(self.initial_data) - set(self.fields)):
            raise serializers.ValidationError(
                {name: ["There is no such field."] for name in unknown}
            )
        return attrs


class PlanSerializer(serializers.Serializer[Any]):
    """Every way to merge; docs/wire-formats.md describes it."""

    strategy = serializers.CharField()
    recommended = serializers.CharField()
    advice = serializers.CharField()
    strategies = serializers.ListField(child=serializers.DictField())


class LiveSerializer(serializers.Serializer[Any]):
    """The same message as the socket sends; docs/wire-formats.md describes it."""

    type = serializers.CharField()
    seq = serializers.IntegerField()


class ReadsSerializer(serializers.Serializer[Any]):
    """Figures of a disk's reads; docs/wire-formats.md describes them."""

    fresh = serializers.BooleanField()
    live = serializers.BooleanField()
    read_at = serializers.DateTimeField()
    mean_hops = serializers.FloatField()
    max_hops = serializers.IntegerField()
    unanswered = serializers.IntegerField()
    qemu_l2_cache = serializers.IntegerField()
    layers = serializers.ListField(child=serializers.DictField())
    merges = serializers.ListField(child=serializers.DictField())


class ByteSerializer(serializers.Serializer[Any]):
    """Which layer answers one byte of a disk; docs/wire-formats.md describes it."""

    at = serializers.IntegerField()
    start = serializers.IntegerField()
    length = serializers.IntegerField()
    kind = serializers.ChoiceField(["data", "zero", "nothing"])
    depth = serializers.IntegerField()
    present = serializers.BooleanField()
    zero = serializers.BooleanField()
    data = serializers.BooleanField()  # type: ignore[assignment]  # a field, not the property
    hops = serializers.IntegerField(allow_null=True)
    volume = serializers.IntegerField(allow_null=True)
    path = serializers.CharField(allow_null=True)
    fresh = serializers.BooleanField()
    live = serializers.BooleanField()
    read_at = serializers.DateTimeField()


class RefusalSerializer(serializers.Serializer[Any]):
    """Why something was refused."""

    detail = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())
