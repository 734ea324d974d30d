"""The long lists of the API: disks, volumes and findings, with the filters that the pages have."""

from abc import ABC, abstractmethod
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api import serializers as shapes
from chains.api.paging import KeysetPagination
from chains.api.parsers import BoundedJSONParser
from chains.api.views import domain_of, origin, person
from chains.inventory import findings, lists, selectors
from chains.inventory.asking import BadRequestError
from chains.inventory.paging import Order, Page, Total
from chains.models import Disk, Finding, StorageDomain, Volume
from chains.permissions import Action


def _words(**words: str | tuple[str, ...]) -> Any:
    """The filters of a list, for the OpenAPI document."""
    return extend_schema_view(get=extend_schema(parameters=[
        OpenApiParameter(name, OpenApiTypes.STR, description=about) if isinstance(about, str)
        else OpenApiParameter(name, OpenApiTypes.STR, enum=about)
        for name, about in words.items()
    ] + [OpenApiParameter("domain", OpenApiTypes.INT, description="only those of this domain")]))  # fmt: skip


class _List(ABC, generics.ListAPIView[Any]):
    """A list that pages by place; `read` takes the words of the address."""

    pagination_class = KeysetPagination
    order: Order = lists.BY_ID
    asked: Any
    domain: StorageDomain | None = None

    def get_queryset(self) -> QuerySet[Any]:
        """What is asked for; raises ValidationError."""
        self.domain = domain_of(self.request)
        try:
            return self.read(self.request.query_params.dict())
        except BadRequestError as error:
            raise ValidationError({"detail": str(error)}) from None

    @abstractmethod
    def read(self, words: dict[str, str]) -> QuerySet[Any]:
        """Set `order` and `asked`; raises BadRequestError."""

    @abstractmethod
    def stored(self, domain: StorageDomain) -> int | None:
        """How many rows the last scan counted in a domain; None when it did not."""

    def total(self, page: Page[Any], rows: QuerySet[Any]) -> Total:
        """How many rows there are."""
        stored = None if self.domain is None else self.stored(self.domain)
        return lists.total_of(page, rows, self.order, self.asked, stored)


@_words(
    q="a part of the name, or of the VM's", severity=("any", *lists.SEVERITIES),
    depth="layers, at least", in_use=lists.USES,
    sort=f"one of {', '.join(lists.DISK_ORDERS)}, with - before it descending; needs `domain`",
)  # fmt: skip
class Disks(_List):
    """Disks; those of a domain by name or by `sort`, those of all domains by id."""

    serializer_class = shapes.DiskSerializer
    queryset = Disk.objects.none()

    def read(self, words: dict[str, str]) -> QuerySet[Disk]:
        """Raises BadRequestError."""
        self.asked = lists.DiskFilter.from_words(words)
        if self.domain is not None:
            self.order = lists.disk_order(words.get("sort", ""))
        return lists.disks(self.domain, self.asked).select_related(None).defer(None)

    def stored(self, domain: StorageDomain) -> int:
        """As the last scan counted them."""
        return domain.disk_count


@_words(
    q="a part of the path", image_format=lists.FORMATS, in_use=lists.USES, seen=("no",)
)  # fmt: skip
class Volumes(_List):
    """Volumes; those of a domain by path, those of all domains by id."""

    serializer_class = shapes.VolumeSerializer
    queryset = Volume.objects.none()

    def read(self, words: dict[str, str]) -> QuerySet[Volume]:
        """Raises BadRequestError."""
        self.asked = asked = lists.VolumeFilter.from_words(words)
        if self.domain is not None:
            self.order = lists.volume_order(asked)
        return lists.volumes(self.domain, asked).select_related(None).defer(None)

    def stored(self, domain: StorageDomain) -> int:
        """As the last scan counted them."""
        return domain.volume_count


@_words(severity=lists.SEVERITIES, code=lists.CODES, state=lists.STATES, q="a part of the path")
class Findings(_List):
    """Findings, the worst first: those to see, or of another `state`."""

    serializer_class = shapes.FindingSerializer
    queryset = Finding.objects.none()

    def read(self, words: dict[str, str]) -> QuerySet[Finding]:
        """Raises BadRequestError."""
        self.asked = asked = lists.FindingFilter.from_words(words)
        self.order = asked.order
        rows = asked.rows().select_related(None).defer(None)
        return rows.select_related("acknowledged_by")

    def stored(self, domain: StorageDomain) -> None:
        """They are counted as far as it is quick."""


class _FindingAct(ABC, APIView):
    actions = {"POST": Action.SCAN}
    parser_classes = [BoundedJSONParser]

    @abstractmethod
    def act(self, finding: Finding, request: Request) -> None:
        """Raises BadRequestError."""

    def answer(self, request: Request, pk: int) -> Response:
        """The finding as it then stands; 400 with the reason."""
        finding = get_object_or_404(Finding.objects.select_related("domain"), pk=pk)
        try:
            self.act(finding, request)
        except BadRequestError as error:
            raise ValidationError({"detail": str(error)}) from None
        return Response(shapes.FindingSerializer(selectors.findings().get(pk=pk)).data)


class FindingAcknowledge(_FindingAct):
    """Note that somebody knows of a finding, why, and until when."""

    @extend_schema(request=shapes.AcknowledgeSerializer, responses=shapes.FindingSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """The finding as it then stands; 400 without a reason or a day to come."""
        return self.answer(request, pk)

    def act(self, finding: Finding, request: Request) -> None:
        """Raises BadRequestError, ValidationError."""
        asked = shapes.AcknowledgeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        facts = asked.validated_data
        findings.acknowledge(
            finding, facts["reason"], facts["until"], person(request), origin(request)
        )


class FindingReopen(_FindingAct):
    """Take the note back."""

    @extend_schema(request=None, responses=shapes.FindingSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """The finding as it then stands."""
        return self.answer(request, pk)

    def act(self, finding: Finding, request: Request) -> None:
        """Nothing is wrong with it."""
        findings.reopen(finding, person(request), origin(request))
