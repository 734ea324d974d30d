"""A domain's past, its thresholds, and how often it is scanned."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api import serializers as shapes
from chains.api.parsers import BoundedJSONParser
from chains.api.views import origin, person
from chains.inventory import history, limits, registering
from chains.inventory.asking import BadRequestError
from chains.models import DiskHistory, DomainHistory, StorageDomain
from chains.permissions import Action

MOST = 1000


class DomainNoteSerializer(serializers.ModelSerializer[DomainHistory]):
    """A domain as it stood from `at` on."""

    virtual = serializers.IntegerField(read_only=True)
    on_disk = serializers.IntegerField(read_only=True)

    class Meta:
        model = DomainHistory
        fields = [
            "at", "volumes", "disks", "deepest", "virtual", "on_disk", "capacity", "free",
            "critical", "warning", "info",
        ]  # fmt: skip


class DiskNoteSerializer(serializers.ModelSerializer[DiskHistory]):
    """A disk as it stood from `at` on; `disk` is null when it is no more."""

    class Meta:
        model = DiskHistory
        fields = [
            "at", "disk", "disk_number", "name", "layers", "virtual_size", "on_disk", "findings",
            "severity",
        ]  # fmt: skip


class PastSerializer(serializers.Serializer[Any]):
    """Notes since a moment, or the domain as of one; docs/wire-formats.md describes both."""

    notes = DomainNoteSerializer(many=True, required=False)
    as_of = serializers.DateTimeField(required=False)
    domain = DomainNoteSerializer(required=False, allow_null=True)
    count = serializers.IntegerField(required=False)
    disks = DiskNoteSerializer(many=True, required=False)


class ThresholdsSerializer(serializers.Serializer[Any]):
    """What findings are judged by."""

    values = serializers.DictField(child=serializers.IntegerField())
    set = serializers.DictField(child=serializers.IntegerField())
    labels = serializers.DictField(child=serializers.CharField())
    effect = serializers.CharField()


class ScheduleSerializer(serializers.Serializer[Any]):
    """How often a domain is scanned; 0: only when asked."""

    scan_seconds = serializers.IntegerField(min_value=0)


def _wrong(text: object) -> Response:
    return Response({"detail": str(text)}, status=status.HTTP_400_BAD_REQUEST)


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequestError(f"{name} is a whole number.")
    return min(int(text), most)


class DomainPast(APIView):
    """How a domain stood: `?since=` its notes, `?as_of=` the domain and its disks at a moment."""

    @extend_schema(responses=PastSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """Notes are in order of time; disks by name, with `limit` and `offset`."""
        domain = get_object_or_404(StorageDomain, pk=pk)
        asked = request.query_params
        try:
            if asked.get("as_of"):
                return self._as_of(request, domain)
            since = history.moment_of(asked["since"]) if asked.get("since") else None
        except BadRequestError as error:
            return _wrong(error)
        rows = history.domain_history(domain, since)
        return Response({"notes": DomainNoteSerializer(rows, many=True).data})

    def _as_of(self, request: Request, domain: StorageDomain) -> Response:
        moment = history.moment_of(request.query_params["as_of"])
        limit = _number(request, "limit", 100, MOST)
        offset = _number(request, "offset", 0, 10**9)
        then = history.domain_as_of(domain, moment)
        rows = history.disks_as_of(domain, moment)
        return Response({
            "as_of": moment, "domain": DomainNoteSerializer(then).data if then else None,
            "count": rows.count(),
            "disks": DiskNoteSerializer(rows[offset : offset + limit], many=True).data,
        })  # fmt: skip


class AllThresholds(APIView):
    """The thresholds of all domains that have none of their own."""

    actions = {"POST": Action.MANAGE_DOMAINS}
    parser_classes = [BoundedJSONParser]

    @extend_schema(responses=ThresholdsSerializer)
    def get(self, request: Request, pk: int | None = None) -> Response:
        """What is set, and what holds."""
        return Response(limits.limits_json(self._domain(pk)))

    @extend_schema(
        request={"application/json": {"type": "object"}}, responses={200: ThresholdsSerializer}
    )
    def post(self, request: Request, pk: int | None = None) -> Response:
        """Change what is given; null takes one back. They hold from the next scan on."""
        domain = self._domain(pk)
        if not isinstance(request.data, dict):
            return _wrong("Give an object of thresholds by name.")
        try:
            values = limits.changed(domain, request.data)
            limits.set_thresholds(domain, values, person(request), origin(request))
        except BadRequestError as error:
            return _wrong(error)
        return Response(limits.limits_json(domain))

    def _domain(self, pk: int | None) -> StorageDomain | None:
        return None if pk is None else get_object_or_404(StorageDomain, pk=pk)


class DomainThresholds(AllThresholds):
    """What one domain sets otherwise."""


class DomainSchedule(APIView):
    """How often a domain is scanned."""

    actions = {"POST": Action.MANAGE_DOMAINS}
    parser_classes = [BoundedJSONParser]

    @extend_schema(request=ScheduleSerializer, responses={200: shapes.DomainSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """The domain as it then stands."""
        domain = get_object_or_404(StorageDomain, pk=pk)
        asked = ScheduleSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        seconds = asked.validated_data["scan_seconds"]
        try:
            registering.set_schedule(domain, seconds, person(request), origin(request))
        except BadRequestError as error:
            return _wrong(error)
        return Response(shapes.DomainSerializer(domain).data)
