"""Scans, block maps and checks: following one, stopping it, asking for a check."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api import serializers as shapes
from chains.api.views import origin, person, refused
from chains.core.errors import StrataError
from chains.inventory import scanning, services, volumes
from chains.models import Scan, Volume
from chains.permissions import Action


class CheckSerializer(serializers.Serializer[Any]):
    """What is known of a volume's checks; docs/wire-formats.md describes it."""

    result = serializers.DictField(allow_null=True)
    verdict = serializers.CharField()
    current = serializers.BooleanField()
    running = serializers.IntegerField(allow_null=True)
    failed = serializers.CharField()


class ScanDetail(generics.RetrieveAPIView[Scan]):
    """One scan, block map or check."""

    queryset = Scan.objects.all()
    serializer_class = shapes.ScanSerializer


class ScanCancel(APIView):
    """Stop a scan, a block map or a check; what was known stays as it was."""

    actions = {"POST": Action.SCAN}

    @extend_schema(
        request=None, responses={202: shapes.ScanSerializer, 409: shapes.RefusalSerializer}
    )
    def post(self, request: Request, pk: int) -> Response:
        """The scan as it then stands; 409 when it has ended."""
        scan = get_object_or_404(Scan.objects.select_related("domain"), pk=pk)
        try:
            scanning.cancel_scan(scan, person(request), origin(request))
        except StrataError as error:
            return refused([str(error)])
        scan.refresh_from_db()
        return Response(shapes.ScanSerializer(scan).data, status=status.HTTP_202_ACCEPTED)


class VolumeCheck(APIView):
    """What qemu-img check says of a volume."""

    actions = {"POST": Action.SCAN}

    @extend_schema(responses=CheckSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """The last result, and whether the file is still the one that was checked."""
        volume = get_object_or_404(Volume.objects.select_related("domain"), pk=pk)
        return Response(volumes.check_of(volume).to_json())

    @extend_schema(
        request=None, responses={202: shapes.ScanSerializer, 409: shapes.RefusalSerializer}
    )
    def post(self, request: Request, pk: int) -> Response:
        """The check that was queued, or the one that waits or runs; 409 for one that can not be checked."""
        volume = get_object_or_404(Volume.objects.select_related("domain"), pk=pk)
        try:
            scan = services.request_check(volume, person(request), origin(request))
        except StrataError as error:
            return refused([str(error)])
        return Response(shapes.ScanSerializer(scan).data, status=status.HTTP_202_ACCEPTED)
