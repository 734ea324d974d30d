"""System checks: a missing or old tool is one clear line at start, not a surprise at the first merge."""

import asyncio
import shutil
from typing import Any

from django.core.checks import CheckMessage, Error, register

from chains.qemu import qemu_img
from chains.qemu.command import CommandError


@register("tools")
def tools(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """qemu-img and dot are there, and new enough."""
    found: list[CheckMessage] = []
    try:
        version = asyncio.run(qemu_img.version())
        if version < qemu_img.OLDEST:
            wanted = ".".join(map(str, qemu_img.OLDEST))
            found.append(
                Error(
                    f"qemu-img {version[0]}.{version[1]} is too old: install {wanted} or newer (apt-get install qemu-utils)",
                    id="strata.E002",
                )
            )
    except CommandError as error:
        found.append(Error(f"{error} (apt-get install qemu-utils)", id="strata.E001"))
    if shutil.which("dot") is None:
        found.append(
            Error(
                "dot is not installed on this machine (apt-get install graphviz)", id="strata.E003"
            )
        )
    return found
