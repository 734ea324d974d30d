"""Batches: planning many merges at once, asking for them, following and cancelling them."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api import batch_shapes as shapes
from chains.api.asking import manner
from chains.api.parsers import BoundedJSONParser
from chains.api.serializers import RefusalSerializer
from chains.api.views import of_domain, origin, person, refused
from chains.inventory.asking import BadRequestError
from chains.merges import batches
from chains.merges.batch_plans import plan_batch
from chains.merges.choosing import Selection
from chains.merges.services import RefusedError
from chains.models import Batch, StorageDomain
from chains.permissions import Action


def _selection(facts: dict[str, Any]) -> Selection:
    return Selection(
        tuple(dict.fromkeys(facts["disks"])) if "disks" in facts else None, facts["query"],
        facts["deeper_than"], facts["snapshots_older_than"], facts["all"],
    )  # fmt: skip


def _senseless(error: BadRequestError) -> Response:
    return Response({"detail": str(error)}, status=status.HTTP_400_BAD_REQUEST)


class BatchPlan(APIView):
    """What a scope would do on many disks. Nothing is changed."""

    actions = {"POST": Action.VIEW}
    parser_classes = [BoundedJSONParser]

    @extend_schema(
        request=shapes.BatchRequestSerializer, responses={200: shapes.BatchPlanSerializer}
    )
    def post(self, request: Request) -> Response:
        """A row for each disk, with its plan or the reasons why there is none, and the totals."""
        asked = shapes.BatchRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        facts = asked.validated_data
        domain = get_object_or_404(StorageDomain, pk=facts["domain"])
        try:
            found = plan_batch(
                domain, _selection(facts), facts["wish"], person(request), options=manner(facts)
            )
        except BadRequestError as error:
            return _senseless(error)
        return Response(found.to_json())


class Batches(generics.ListAPIView[Batch]):
    """Batches, the newest first, of one domain with `?domain=ID`; POST asks for one."""

    actions = {"POST": Action.MERGE}
    parser_classes = [BoundedJSONParser]
    serializer_class = shapes.BatchSerializer

    def get_queryset(self) -> Any:
        """In a stable order."""
        return of_domain(batches.batches(), self.request)

    @extend_schema(
        request=shapes.BatchOrderSerializer,
        responses={201: shapes.BatchDetailSerializer, 409: RefusalSerializer},
    )
    def post(self, request: Request) -> Response:
        """The batch, its merges queued; 409 with the reasons when not one was started."""
        asked = shapes.BatchOrderSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        facts = asked.validated_data
        domain = get_object_or_404(StorageDomain, pk=facts["domain"])
        try:
            batch = batches.request_batch(
                domain, _selection(facts), facts["wish"], person(request), origin(request),
                confirmed=facts.get("confirmed"), options=manner(facts),
            )  # fmt: skip
        except BadRequestError as error:
            return _senseless(error)
        except RefusedError as error:
            return refused(error.reasons)
        found = batches.detail(batches.batches().get(pk=batch.pk))
        return Response(found, status=status.HTTP_201_CREATED)


class BatchDetail(APIView):
    """One batch with its merges, and what was left out."""

    @extend_schema(responses=shapes.BatchDetailSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """How it stands now."""
        return Response(batches.detail(get_object_or_404(batches.batches(), pk=pk)))


class BatchCancel(APIView):
    """Cancel what is left of a batch."""

    actions = {"POST": Action.MERGE}

    @extend_schema(
        request=None, responses={202: shapes.BatchDetailSerializer, 409: RefusalSerializer}
    )
    def post(self, request: Request, pk: int) -> Response:
        """The batch as it then stands; 409 when none of its merges can be cancelled any more."""
        batch = get_object_or_404(batches.batches(), pk=pk)
        try:
            batches.cancel_batch(batch, person(request), origin(request))
        except RefusedError as error:
            return refused(error.reasons)
        return Response(batches.detail(batch), status=status.HTTP_202_ACCEPTED)
