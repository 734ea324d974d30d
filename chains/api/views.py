"""The REST API. Thin: it asks the same rule, selectors and services as the pages."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework import generics, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api import serializers as shapes
from chains.api.asking import base_and_top, manner
from chains.api.parsers import BoundedJSONParser
from chains.api.permissions import ByRole
from chains.core.lens import AddressError
from chains.core.plans import PlanError
from chains.inventory import audit, blockmaps, lens, selectors, services
from chains.lessons.selectors import lesson_live
from chains.merges import selectors as merge_selectors
from chains.merges import services as merge_services
from chains.merges.scoped import NothingToJoinError
from chains.models import Disk, Merge, StorageDomain, User, Volume
from chains.permissions import Action

NOT_READ = "The block map has not been read yet: a worker reads it now."


def origin(request: Request) -> str:
    """Where a request came from, for the audit record."""
    return audit.origin_of(request.META)


def person(request: Request) -> User:
    """Who asks: ByRole has let nobody pass who is not signed in."""
    assert isinstance(request.user, User)
    return request.user


def refused(reasons: list[str]) -> Response:
    """409, with the reasons."""
    return Response(
        {"detail": " ".join(reasons), "reasons": reasons}, status=status.HTTP_409_CONFLICT
    )


def domain_of(request: Request) -> StorageDomain | None:
    """The domain of `?domain=ID`, None where it is not given; raises ValidationError."""
    wanted = request.query_params.get("domain", "")
    if not wanted:
        return None
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 18):
        raise ValidationError({"domain": ["Give the id of a storage domain, a whole number."]})
    # One that is no more holds nothing: its lists are empty.
    return StorageDomain.objects.filter(pk=int(wanted)).first() or StorageDomain(pk=int(wanted))


def of_domain(rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
    """Only those of `?domain=ID`, where it is given."""
    domain = domain_of(request)
    return rows if domain is None else rows.filter(domain=domain)


class Schema(SpectacularAPIView):
    """The OpenAPI document, for whoever may look; the library would give it to anybody."""

    permission_classes = [ByRole]


class Domains(generics.ListAPIView[StorageDomain]):
    """All storage domains."""

    queryset = StorageDomain.objects.order_by("id")
    serializer_class = shapes.DomainSerializer


class Domain(generics.RetrieveAPIView[StorageDomain]):
    """One storage domain."""

    queryset = StorageDomain.objects.all()
    serializer_class = shapes.DomainSerializer


class DomainScan(APIView):
    """Ask a worker to scan a domain."""

    actions = {"POST": Action.SCAN}

    @extend_schema(request=None, responses={202: shapes.ScanSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """The scan that was queued, or the one that waits or runs already."""
        domain = get_object_or_404(StorageDomain, pk=pk)
        scan = services.request_scan(domain, person(request), origin(request))
        return Response(shapes.ScanSerializer(scan).data, status=status.HTTP_202_ACCEPTED)


class DiskDetail(generics.RetrieveAPIView[Disk]):
    """One disk with its chain, active layer first."""

    queryset = Disk.objects.select_related("active")
    serializer_class = shapes.DiskDetailSerializer

    def get_object(self) -> Disk:
        """The disk, its chain attached."""
        disk = super().get_object()
        disk.chain = selectors.chain_of(disk.active)  # type: ignore[attr-defined]  # for the serializer
        return disk


class DiskReads(APIView):
    """What each layer of a disk is worth, and what each merge would copy: from the stored block map.

    With `at`: which layer answers one byte.
    """

    @extend_schema(
        parameters=[OpenApiParameter("at", OpenApiTypes.STR, description="which layer answers this byte: 0x1f000, 1048576, 1.5 GiB, s2048")],
        responses={200: PolymorphicProxySerializer(
            "ReadsOrByte", [shapes.ReadsSerializer, shapes.ByteSerializer], None
        ), 409: shapes.RefusalSerializer},
    )  # fmt: skip
    def get(self, request: Request, pk: int) -> Response:
        """The figures, or one byte; 409 while there is no map: a worker is asked to read the disk."""
        disk = get_object_or_404(Disk.objects.select_related("active", "domain"), pk=pk)
        if (text := request.query_params.get("at", "").strip()) != "":
            return self._byte(disk, text, person(request))
        found = blockmaps.stored_measures(disk)
        if found is None or not found["fresh"]:
            services.request_blocks(disk, person(request))
        else:
            services.freshen_blocks(disk, person(request))
        if found is None:
            return refused([NOT_READ])
        return refused([found["error"]]) if found["error"] else Response(found)

    def _byte(self, disk: Disk, text: str, user: User) -> Response:
        try:
            told = lens.told(disk, text)
        except AddressError as error:
            raise ValidationError({"at": [str(error)]}) from None
        if not told.fresh:
            services.request_blocks(disk, user)
        if told.found is None:
            return refused([told.error or NOT_READ])
        return Response(lens.as_json(told))


class VolumeDetail(generics.RetrieveAPIView[Volume]):
    """One volume."""

    queryset = Volume.objects.select_related("domain")
    serializer_class = shapes.VolumeDetailSerializer


class Merges(generics.ListCreateAPIView[Merge]):
    """Merges, the newest first; POST plans base…top, or what a scope finds, and queues the merge."""

    actions = {"POST": Action.MERGE}
    parser_classes = [BoundedJSONParser]
    queryset = merge_selectors.merges().prefetch_related("notices")

    def get_serializer_class(self) -> Any:
        """What is asked for differs from what is answered."""
        return (
            shapes.MergeRequestSerializer
            if self.request.method == "POST"
            else shapes.MergeSerializer
        )

    @extend_schema(
        request=shapes.MergeRequestSerializer,
        responses={201: shapes.MergeSerializer, 409: shapes.RefusalSerializer},
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The queued merge; 409 with the reasons when it is refused."""
        asked = shapes.MergeRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        facts = asked.validated_data
        try:
            base, top = base_and_top(facts)
            merge = merge_services.request_merge(
                base, top, person(request), origin(request), strategy=facts["strategy"],
                options=manner(facts),
            )  # fmt: skip
        except merge_services.RefusedError as error:
            return refused(error.reasons)
        except (PlanError, NothingToJoinError) as error:
            return refused([str(error)])
        return Response(shapes.MergeSerializer(merge).data, status=status.HTTP_201_CREATED)


class MergeDetail(generics.RetrieveAPIView[Merge]):
    """One merge."""

    queryset = merge_selectors.merges().prefetch_related("notices")
    serializer_class = shapes.MergeSerializer


class MergeLive(APIView):
    """One merge with its steps, as the socket sends it."""

    @extend_schema(responses=shapes.LiveSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """The whole state now."""
        get_object_or_404(Merge, pk=pk)
        return Response(merge_selectors.merge_live(pk))


class _MergeAct(APIView):
    actions = {"POST": Action.MERGE}
    service = staticmethod(merge_services.cancel)

    @extend_schema(
        request=None, responses={202: shapes.MergeSerializer, 409: shapes.RefusalSerializer}
    )
    def post(self, request: Request, pk: int) -> Response:
        """The merge as it then stands; 409 with the reason when it is too late."""
        merge = get_object_or_404(Merge, pk=pk)
        try:
            self.service(merge, person(request), origin(request))
        except merge_services.RefusedError as error:
            return refused(error.reasons)
        merge.refresh_from_db()
        return Response(shapes.MergeSerializer(merge).data, status=status.HTTP_202_ACCEPTED)


class MergeCancel(_MergeAct):
    """Take a merge back before its overlays are touched."""


class MergeResume(_MergeAct):
    """Go on with a merge that needs attention."""

    service = staticmethod(merge_services.resume)


class Activity(APIView):
    """What runs and what has just ended, as the socket sends it."""

    @extend_schema(responses=shapes.LiveSerializer)
    def get(self, request: Request) -> Response:
        """The whole state now."""
        return Response(merge_selectors.activity_live())


class OwnLesson(APIView):
    """How the lesson of the person who asks stands, as their socket sends it."""

    @extend_schema(responses=shapes.LiveSerializer)
    def get(self, request: Request) -> Response:
        """The whole state now."""
        return Response(lesson_live(person(request).pk))
