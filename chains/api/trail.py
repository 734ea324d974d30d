"""The audit trail: its records with the filters that the page has, and where its chain stands."""

from datetime import UTC
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api.paging import KeysetPagination
from chains.inventory import audit, lists, trail
from chains.inventory.asking import BadRequestError
from chains.inventory.paging import Page, Total
from chains.models import AuditRecord

_EXACT = "%Y-%m-%dT%H:%M:%S.%fZ"
_WORDS: dict[str, str | tuple[str, ...]] = {
    "person": "a name, exactly", "action": audit.ACTIONS, "origin": "an address, exactly",
    "result": lists.RESULTS, "q": "a part of the subject",
    "from": "a day or a moment", "to": "a day, as a whole, or a moment",
}  # fmt: skip


class RecordSerializer(serializers.ModelSerializer[AuditRecord]):
    """One record with its seal; docs/wire-formats.md says how the hash is made."""

    seq = serializers.IntegerField(source="seal.seq", default=None, read_only=True)
    at = serializers.DateTimeField(format=_EXACT, default_timezone=UTC)
    sealed_at = serializers.DateTimeField(
        source="seal.sealed_at", default=None, read_only=True, format=_EXACT, default_timezone=UTC
    )
    previous = serializers.CharField(source="seal.previous", default=None, read_only=True)
    hash = serializers.CharField(source="seal.hash", default=None, read_only=True)

    class Meta:
        model = AuditRecord
        fields = [
            "seq", "id", "at", "actor", "origin", "action", "subject", "result", "details",
            "sealed_at", "previous", "hash",
        ]  # fmt: skip


class HeadSerializer(serializers.Serializer[Any]):
    """Where the chain stands."""

    type = serializers.CharField()
    seq = serializers.IntegerField()
    records = serializers.IntegerField()
    head = serializers.CharField()


@extend_schema_view(get=extend_schema(parameters=[
    OpenApiParameter(name, OpenApiTypes.STR, description=about) if isinstance(about, str)
    else OpenApiParameter(name, OpenApiTypes.STR, enum=about)
    for name, about in _WORDS.items()
]))  # fmt: skip
class Records(generics.ListAPIView[AuditRecord]):
    """Who did what, the newest first."""

    serializer_class = RecordSerializer
    pagination_class = KeysetPagination
    queryset = AuditRecord.objects.none()
    order = lists.LATEST_FIRST

    def get_queryset(self) -> QuerySet[AuditRecord]:
        """What is asked for; raises ValidationError."""
        try:
            self.asked = lists.RecordFilter.from_words(self.request.query_params.dict())
        except BadRequestError as error:
            raise ValidationError({"detail": str(error)}) from None
        return self.asked.rows()

    def total(self, page: Page[Any], rows: QuerySet[Any]) -> Total:
        """How many records there are."""
        stored = None if self.asked.is_set else trail.head()[0]
        return lists.total_of(page, rows, self.order, self.asked, stored)


class Head(APIView):
    """Where the chain stands: to be noted outside, and held against it by verify_audit --expect."""

    @extend_schema(responses=HeadSerializer)
    def get(self, request: Request) -> Response:
        """As the socket sends it."""
        return Response(trail.message())
