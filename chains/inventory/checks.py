"""What `qemu-img check` says of a volume: leaked and overlapping space. On demand, by a worker."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from chains.core.chain import read_chain
from chains.core.errors import StrataError
from chains.core.findings import Code
from chains.core.names import display
from chains.inventory.scan import scan_domain, scan_paths
from chains.inventory.selectors import family_of
from chains.inventory.volumes import check_refusal
from chains.models import DomainKind, Volume
from chains.qemu import qemu_img
from chains.qemu.command import Child, CommandError, Limits, start
from chains.storage.locks import in_use

ADDRESS_SPACE, CPU_SECONDS = 4 * 1024**3, 3600
# What is kept of the tool's answer; see qemu-img(1), check.
KEYS = (
    "corruptions", "leaks", "check-errors", "total-clusters", "allocated-clusters",
    "fragmented-clusters", "image-end-offset",
)  # fmt: skip


class CheckError(StrataError):
    """The volume can not be checked now; the text says why and what to do."""


def check_volume(volume: Volume, alive: Callable[[], None]) -> None:
    """Run the tool on a volume and store what it says, with the file that it is true of.

    Raises CheckError. Nothing is repaired: the volume is opened for reading only.
    """
    if why := check_refusal(volume):
        raise CheckError(why)
    chain = read_chain(volume.domain.path, volume.path)
    # What QEMU marked as corrupt is just what a check is for; all else could hand the tool foreign files.
    bad = [f for f in chain.findings if f.severity == "critical" and f.code is not Code.CORRUPT]
    if bad:
        raise CheckError(f"No tool is started on this chain: {bad[0].detail}")
    path = os.path.join(volume.domain.path, volume.path)
    try:
        if in_use(path):
            raise CheckError(
                "The volume is open in another process: a check of what changes meanwhile means nothing."
                " Shut its VM down first."
            )
        said = _run(path, alive)
    except OSError as error:
        raise CheckError(f"{display(volume.path)} can not be read ({error.strerror}).") from error
    now = read_chain(volume.domain.path, volume.path).layers[0].fingerprint.to_text()
    if now != chain.layers[0].fingerprint.to_text():
        raise CheckError(
            "The volume was written while it was checked: shut its VM down, and again."
        )
    found = {**said, "fingerprint": now, "at": timezone.now().isoformat()}
    Volume.objects.filter(pk=volume.pk).update(check_result=found)
    if volume.domain.kind == DomainKind.DIRECTORY:
        scan_paths(volume.domain, [volume.path, *_family(volume)])
    else:
        scan_domain(volume.domain)


def _family(volume: Volume) -> list[str]:
    return [row.path for row in family_of(volume)]


def _run(path: str, alive: Callable[[], None]) -> dict[str, Any]:
    """`alive` is called while the tool reads on; one that waits for storage that hangs does not."""
    limits = Limits(address_space=ADDRESS_SPACE, cpu_seconds=CPU_SECONDS, background=True)
    # The loop stands still between two looks: `alive` asks the database, which no running loop may.
    with asyncio.Runner() as loop:
        child = loop.run(_begin(path, limits))
        read = None
        try:
            while not child.ended:
                loop.run(child.wait_at_most(1))
                if child.io != read:
                    read = child.io
                    alive()
            result = loop.run(child.wait())
        except CommandError as error:
            raise CheckError(str(error)) from None
        finally:
            loop.run(child.stop())
    try:
        found = json.loads(result.stdout)
    except ValueError:
        said = result.warnings.splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise CheckError(f"qemu-img check failed: {said[0][-500:]}") from None
    return {key.replace("-", "_"): int(found.get(key, 0)) for key in KEYS}


async def _begin(path: str, limits: Limits) -> Child:
    try:
        return start(qemu_img.check(path), cwd=os.path.dirname(path), limits=limits, keep_tail=True)
    except CommandError as error:
        raise CheckError(str(error)) from None
