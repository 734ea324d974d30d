"""The sprawl report for scripts: as the page has it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from chains.api.paging import limit_of
from chains.core.names import portable
from chains.inventory import sprawl, trends
from chains.inventory.asking import BadRequestError
from chains.inventory.sprawl import Change, Row
from chains.inventory.sprawl_asked import BYS, SORTS, Asked
from chains.inventory.sprawl_sums import Figures

_ABOUT = {
    "datacenter": "only those of it; (none): of domains without one", "domain": "only those of it, by id",
    "vm": "only those of it; (none): disks of which no VM is known",
    "q": "a part of the name, or of the VM's", "snapshots": "of a disk, at least",
    "older": "age of its oldest snapshot, at least: 30d", "breaches": "1: only disks that exceed a threshold",
    "as_of": "a day or a moment", "with": "the other of two moments to be compared",
    "sort": f"one of {', '.join(SORTS)}, with - before it descending", "limit": "rows of a page: 100, or up to 1000",
    "cursor": "of the page, from `next`", "days": "7, 30 or 365: `trend` is given over so many",
}  # fmt: skip
_PARAMETERS = [
    OpenApiParameter("by", OpenApiTypes.STR, enum=BYS),
    *(
        OpenApiParameter(name, OpenApiTypes.STR, description=about)
        for name, about in _ABOUT.items()
    ),
]


class FiguresSerializer(serializers.Serializer[Figures]):
    """Figures of some disks; docs/wire-formats.md describes each."""

    disks = serializers.IntegerField()
    snapshots = serializers.IntegerField(allow_null=True)
    depth = serializers.IntegerField(allow_null=True)
    oldest_snapshot = serializers.DateTimeField(allow_null=True)
    snapshot_bytes = serializers.IntegerField(allow_null=True)
    shadowed = serializers.IntegerField(allow_null=True)
    winnable = serializers.IntegerField(allow_null=True)
    to_copy = serializers.IntegerField(allow_null=True)
    breaches = serializers.IntegerField(allow_null=True)
    breaching = serializers.IntegerField()
    snapped = serializers.IntegerField()
    mapped = serializers.IntegerField()
    unknown = serializers.IntegerField()


class OutlookSerializer(serializers.Serializer[trends.Outlook]):
    """When a domain is full."""

    domain = serializers.IntegerField(source="domain.pk")
    name = serializers.CharField(source="domain.name")
    outlook = serializers.CharField(source="forecast.outlook")
    free = serializers.IntegerField(allow_null=True)
    capacity = serializers.IntegerField(allow_null=True)
    a_day = serializers.IntegerField(allow_null=True)
    full_at = serializers.DateTimeField(allow_null=True)
    earliest = serializers.DateTimeField(allow_null=True)
    latest = serializers.DateTimeField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    notes = serializers.IntegerField(source="forecast.notes")


class MomentSerializer(serializers.Serializer[trends.Moment]):
    """Sums over the domains at a moment."""

    at = serializers.DateTimeField()
    domains = serializers.IntegerField()
    on_disk = serializers.IntegerField()
    snapshots = serializers.IntegerField(allow_null=True)
    snapshot_bytes = serializers.IntegerField(allow_null=True)
    winnable = serializers.IntegerField(allow_null=True)
    breaches = serializers.IntegerField(allow_null=True)
    made_up = serializers.BooleanField()


class SprawlSerializer(serializers.Serializer[Any]):
    """A page of the report."""

    by = serializers.CharField()
    as_of = serializers.DateTimeField(allow_null=True)
    total = FiguresSerializer()
    next = serializers.URLField(allow_null=True)
    results = serializers.ListField(child=serializers.DictField())
    forecasts = OutlookSerializer(many=True)


class Sprawl(APIView):
    """What snapshots hold, hide and would give back."""

    @extend_schema(parameters=_PARAMETERS, responses=SprawlSerializer)
    def get(self, request: Request) -> Response:
        """A page of rows, or with `with` of what differs; 400 for what makes no sense."""
        words = request.query_params.dict()
        try:
            asked = Asked.from_words(words)
            days = _days(words)
            found = sprawl.report(asked, words.get("cursor", ""), limit_of(request))
        except BadRequestError as error:
            raise ValidationError({"detail": str(error)}) from None
        return Response(_facts(request, asked, found, days))


def _days(words: Mapping[str, str]) -> int | None:
    """Raises BadRequestError."""
    text = words.get("days", "")
    if text and text not in map(str, trends.SPANS):
        raise BadRequestError(f"days is one of: {', '.join(map(str, trends.SPANS))}.")
    return int(text) if text else None


def _facts(
    request: Request, asked: Asked, found: sprawl.Report, days: int | None
) -> dict[str, Any]:
    url = request.build_absolute_uri()
    domains = list(trends.domains_of(asked))
    moment = asked.with_ or asked.as_of
    facts: dict[str, Any] = {
        "by": asked.by, "as_of": _iso(asked.as_of), "total": FiguresSerializer(found.total).data,
        "next": replace_query_param(url, "cursor", found.next) if found.next else None,
        "results": [_change(row) if isinstance(row, Change) else _row(row) for row in found.rows],
        "forecasts": [OutlookSerializer(one).data for one in trends.outlooks(domains, moment)],
    }  # fmt: skip
    if found.total_after is not None:
        facts |= {
            "with": _iso(asked.with_),
            "total_with": FiguresSerializer(found.total_after).data,
        }
    if days:
        facts["trend"] = [MomentSerializer(one).data for one in trends.trend(domains, days, moment)]
    return facts


def _whose(row: Row | Change) -> dict[str, Any]:
    return {
        "name": portable(row.label), "in": portable(row.place), "id": row.number or None,
        "disk": row.disk, "domain": row.domain, "vm": row.vm if row.vm is None else portable(row.vm),
    }  # fmt: skip


def _row(row: Row) -> dict[str, Any]:
    return _whose(row) | FiguresSerializer(row.figures).data


def _change(row: Change) -> dict[str, Any]:
    sides = {"before": row.before, "after": row.after}
    return _whose(row) | {
        name: FiguresSerializer(side).data if side else None for name, side in sides.items()
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
