"""What oVirt writes in the tags of a volume group and its LVs, and in the metadata volume's slots.

Facts: vdsm, lib/vdsm/storage/blockSD.py (lvmTagEncode, the MDT_ tags, where slots lie),
lib/vdsm/storage/blockVolume.py and constants.py (the tags of an LV).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

from chains.core.names import portable

UNINITIALIZED = "OVIRT_VOL_INITIALIZING"
READY, UNREADY = "RHAT_storage_domain", "RHAT_storage_domain_UNREADY"
RECORD = 512
_KEY = "MDT_"
_PREFIXES = {"image": "IU_", "parent": "PU_", "slot": "MD_"}
_REMOVED = "_remove_me_"
_REMOVED_ZERO = "_remove_me_ZERO_"
_ENCODED = re.compile(r"&([0-9]{1,7})&")
_MIB = 1024**2
# Records are read together when they lie so near to one another.
WINDOW = _MIB
MAX_SLOT = 2**31


def storable(text: str) -> str:
    """Make text fit for JSON, and for a database, which holds no zero bytes."""
    return portable(text).replace("\0", "\\x00")


def decoded(text: str) -> str:
    """Undo the way in which characters that LVM forbids in tags are written: `&ord&`."""
    return _ENCODED.sub(_char, text)


def _char(match: re.Match[str]) -> str:
    code = int(match[1])
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else match[0]


def domain_keys(tags: Iterable[str]) -> dict[str, str]:
    """The domain's own metadata: of `MDT_KEY=VALUE` the keys and values, fit for JSON."""
    found = {}
    for tag in tags:
        key, sign, value = tag.removeprefix(_KEY).partition("=")
        if tag.startswith(_KEY) and sign and key:
            found[storable(key)] = storable(decoded(value))
    return found


def is_volume(tags: Iterable[str]) -> bool:
    """Whether an LV with these tags is a volume of oVirt, or becomes one."""
    return any(tag == UNINITIALIZED or tag.startswith(tuple(_PREFIXES.values())) for tag in tags)


def read_tags(tags: tuple[str, ...]) -> dict[str, Any]:
    """What they say: `image`, `parent`, `slot` (None for what is not there), and all as they are."""
    found: dict[str, Any] = dict.fromkeys(_PREFIXES)
    for tag in tags:
        for key, prefix in _PREFIXES.items():
            if tag.startswith(prefix) and found[key] is None:
                found[key] = storable(tag.removeprefix(prefix))
    slot = found["slot"] or ""
    fits = slot.isascii() and slot.isdigit() and len(slot) <= 10 and int(slot) < MAX_SLOT
    found["slot"] = int(slot) if fits else None
    for start in (_REMOVED_ZERO, _REMOVED):
        found["image"] = found["image"].removeprefix(start) if found["image"] else found["image"]
    return {**found, "raw": [storable(tag) for tag in tags]}


def passing_of(tags: Iterable[str]) -> str:
    """Say in a few words why a volume is about to come or to go; "" when it is not."""
    for tag in tags:
        if tag == UNINITIALIZED:
            return "is being created"
        if tag.startswith(f"IU_{_REMOVED_ZERO}"):
            return "is being wiped and removed"
        if tag.startswith(f"IU_{_REMOVED}"):
            return "is being removed"
    return ""


def slot_offset(version: int, slot: int) -> int:
    """Where a slot lies on the metadata volume, in bytes."""
    return _MIB + slot * 8192 if version >= 5 else slot * RECORD


def read_slots(
    read: Callable[[int, int], bytes], size: int, version: int, slots: Iterable[int]
) -> Iterator[tuple[int, bytes]]:
    """Read the records of these slots from a metadata volume of `size` bytes, many in one call.

    `read(length, offset)` raises OSError. Slots beyond the end are left out.
    """
    wanted = sorted({(slot_offset(version, slot), slot) for slot in slots})
    wanted = [(at, slot) for at, slot in wanted if at + RECORD <= size]
    while wanted:
        start = wanted[0][0]
        near = [(at, slot) for at, slot in wanted if at + RECORD <= start + WINDOW]
        wanted = wanted[len(near) :]
        content = read(near[-1][0] + RECORD - start, start)
        for at, slot in near:
            yield slot, content[at - start : at - start + RECORD]


def stamp_of(tags: Iterable[str], record: bytes | None) -> str:
    """What tells tags and record from what they become."""
    digest = blake2b(record or b"", digest_size=12)
    for tag in tags:
        digest.update(tag.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
