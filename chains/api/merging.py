"""Planning merges, undoing them, and what domains allow them."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api import serializers as shapes
from chains.api.asking import base_and_top, manner
from chains.api.parsers import BoundedJSONParser
from chains.api.views import origin, person, refused
from chains.core.plans import PlanError
from chains.inventory import selectors
from chains.inventory.asking import BadRequestError
from chains.merges import describe, policies, services
from chains.merges.scoped import NothingToJoinError
from chains.merges.situation import AUTO, plans_from_inventory
from chains.models import Merge, StorageDomain
from chains.permissions import Action


class MergePlan(APIView):
    """What a merge would do, cost and remove, by every way. Nothing is changed."""

    actions = {"POST": Action.VIEW}
    parser_classes = [BoundedJSONParser]

    @extend_schema(
        request=shapes.MergeRequestSerializer,
        responses={200: shapes.PlanSerializer, 409: shapes.RefusalSerializer},
    )
    def post(self, request: Request) -> Response:
        """The plans, refused ones included; 409 when base and top are not two layers of one chain."""
        asked = shapes.MergeRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        facts = asked.validated_data
        try:
            base, top = base_and_top(facts)
            found = plans_from_inventory(base, top)
        except (PlanError, NothingToJoinError) as error:
            return refused([str(error)])
        if found[0].bytes_to_copy is None:
            services.request_maps(top, person(request))
        wanted, how = facts["strategy"], manner(facts)
        chosen = next((p for p in found if wanted in {AUTO, p.strategy}), found[0])
        chain = selectors.chain_of(top)
        return Response(describe.answer(found, chain, chosen, how))


class MergeUndo(APIView):
    """Take a merge back, while what it kept aside is there."""

    actions = {"POST": Action.MERGE}

    @extend_schema(
        request=None, responses={201: shapes.MergeSerializer, 409: shapes.RefusalSerializer}
    )
    def post(self, request: Request, pk: int) -> Response:
        """The merge that takes it back, queued; 409 with the reason when it can not be undone."""
        merge = get_object_or_404(Merge.objects.select_related("domain"), pk=pk)
        try:
            back = services.request_undo(merge, person(request), origin(request))
        except services.RefusedError as error:
            return refused(error.reasons)
        return Response(shapes.MergeSerializer(back).data, status=status.HTTP_201_CREATED)


class MergePurge(APIView):
    """Give back at once what a merge keeps aside."""

    actions = {"POST": Action.MERGE}

    @extend_schema(
        request=None, responses={202: shapes.MergeSerializer, 409: shapes.RefusalSerializer}
    )
    def post(self, request: Request, pk: int) -> Response:
        """The merge as it then stands; 409 when it keeps nothing aside."""
        merge = get_object_or_404(Merge.objects.select_related("domain"), pk=pk)
        try:
            services.request_purge(merge, person(request), origin(request))
        except services.RefusedError as error:
            return refused(error.reasons)
        merge.refresh_from_db()
        return Response(shapes.MergeSerializer(merge).data, status=status.HTTP_202_ACCEPTED)


class DomainPolicy(APIView):
    """What a domain allows its merges."""

    actions = {"POST": Action.MANAGE_DOMAINS}
    parser_classes = [BoundedJSONParser]

    @extend_schema(request=shapes.PolicySerializer, responses={200: shapes.DomainSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Change what is given; the domain as it then stands."""
        domain = get_object_or_404(StorageDomain, pk=pk)
        asked = shapes.PolicySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        now = policies.Policy.of(domain)
        wanted = policies.Policy(**{**now.__dict__, **asked.validated_data})
        try:
            policies.set_policy(domain, wanted, person(request), origin(request))
        except BadRequestError as error:
            return Response({"detail": str(error)}, status=status.HTTP_400_BAD_REQUEST)
        return Response(shapes.DomainSerializer(domain).data)


class DomainPause(APIView):
    """Let no queued merge of a domain start."""

    actions = {"POST": Action.MERGE}
    paused = True

    @extend_schema(request=None, responses={200: shapes.DomainSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """The domain as it then stands."""
        domain = get_object_or_404(StorageDomain, pk=pk)
        policies.set_paused(domain, self.paused, person(request), origin(request))
        return Response(shapes.DomainSerializer(domain).data)


class DomainResume(DomainPause):
    """Let them start again."""

    paused = False
