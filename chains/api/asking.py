"""What a call asks to merge: base and top, or a disk and a scope."""

from typing import Any

from django.shortcuts import get_object_or_404

from chains.core.states import Verification
from chains.merges.options import Options
from chains.merges.scoped import run_of_disk
from chains.models import Disk, Volume


def base_and_top(facts: dict[str, Any]) -> tuple[Volume, Volume]:
    """Of a valid MergeRequestSerializer; raises Http404, NothingToJoinError."""
    if "wish" in facts:
        disk = get_object_or_404(Disk.objects.select_related("active"), pk=facts["disk"])
        run = run_of_disk(disk, facts["wish"])
        return run.base, run.top
    return get_object_or_404(Volume, pk=facts["base"]), get_object_or_404(Volume, pk=facts["top"])


def manner(facts: dict[str, Any]) -> Options:
    """How it is carried out: of a valid MannerSerializer."""
    return Options(Verification(facts["verification"]), facts["rate"])
