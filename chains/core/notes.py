"""What the management system of a domain says of a volume: a witness beside the image's own header."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Notes(NamedTuple):
    """What a domain knows of one volume beside its header. All text is as it was found: hostile.

    `metadata` is what the management system wrote of the volume (of oVirt: its keys, with `status`
    "ok", "invalid" or "cleared"); `tags` is what the LV's tags say. Both are None where there is
    nothing of the kind, and must be what JSON holds: short, names made portable.
    `passing` says in a few words why the volume is about to come or to go ("is being removed");
    nothing but its age is then judged. `stamp` tells the source of these notes from what it becomes:
    while it is the same, a driver may give the notes of the scan before again.
    """

    disk_key: str = ""  # what the domain calls the disk: an image's uuid, a VM's id
    disk_name: str = ""  # what people call it
    vm: str = ""  # the name of the VM that owns it
    metadata: Mapping[str, Any] | None = None
    tags: Mapping[str, Any] | None = None
    passing: str = ""
    allocated: int | None = None  # bytes that the domain gave it: the size of an LV; None for files
    created: float | None = None  # seconds since 1970
    stamp: str = ""
    engine: Mapping[str, Any] | None = None  # what the engine of the VMs says of disk and volume
