"""What `qemu-img check` says of a volume: leaked and overlapping space. On demand, by a worker."""

import asyncio
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import Any

from chains.core.chain import read_chain
from chains.core.errors import StrataError
from chains.core.findings import Code
from chains.core.names import display
from chains.inventory.scan import scan_domain, scan_paths
from chains.inventory.selectors import family_of
from chains.models import DomainKind, Volume
from chains.qemu import qemu_img
from chains.qemu.command import CommandError, Limits, Result, io_of, start
from chains.storage.locks import in_use

LOOK_SECONDS = 0.5
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
    if volume.domain.kind == DomainKind.OVIRT_BLOCK:
        raise CheckError("Volumes of a block domain are read only through their extents: no check.")
    if volume.format != "qcow2":
        raise CheckError("A raw volume has no tables that could be checked.")
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
        said = _ask(path, alive)
    except CommandError as error:
        raise CheckError(str(error)) from error
    except OSError as error:
        raise CheckError(f"{display(volume.path)} can not be read ({error.strerror}).") from error
    now = read_chain(volume.domain.path, volume.path).layers[0].fingerprint.to_text()
    if now != chain.layers[0].fingerprint.to_text():
        raise CheckError(
            "The volume was written while it was checked: shut its VM down, and again."
        )
    Volume.objects.filter(pk=volume.pk).update(check_result={**said, "fingerprint": now})
    if volume.domain.kind == DomainKind.DIRECTORY:
        scan_paths(volume.domain, [volume.path, *_family(volume)])
    else:
        scan_domain(volume.domain)


def _family(volume: Volume) -> list[str]:
    return [row.path for row in family_of(volume)]


def _ask(path: str, alive: Callable[[], None]) -> dict[str, Any]:
    """Run the tool in a thread with an event loop of its own; `alive` is called in this one, while the
    tool reads on (one that waits for storage that hangs does not), and may raise to stop it.
    """
    stop, heard = Event(), Event()
    with ThreadPoolExecutor(1) as aside:
        answer = aside.submit(lambda: asyncio.run(_run(path, stop, heard)))
        try:
            while not answer.done():
                wait([answer], LOOK_SECONDS)
                if heard.is_set():
                    heard.clear()
                    alive()
        finally:
            stop.set()
    return _read(answer.result())


async def _run(path: str, stop: Event, heard: Event) -> Result:
    limits = Limits(address_space=ADDRESS_SPACE, cpu_seconds=CPU_SECONDS, background=True)
    child = start(qemu_img.check(path), cwd=os.path.dirname(path), limits=limits, keep_tail=True)
    read = None
    try:
        while not child.ended and not stop.is_set():
            await child.wait_at_most(LOOK_SECONDS)
            now = io_of(child.pid)
            if now != read:
                read = now
                heard.set()
    finally:
        if not child.ended:
            await child.stop()
    return await child.wait()


def _read(result: Result) -> dict[str, Any]:
    try:
        found = json.loads(result.stdout)
    except ValueError:
        said = result.warnings.splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise CheckError(f"qemu-img check failed: {said[0][-500:]}") from None
    return {key.replace("-", "_"): int(found.get(key, 0)) for key in KEYS}
