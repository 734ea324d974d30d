"""What oVirt writes beside its volumes and domains: `.meta` records, metadata slots, `dom_md/metadata`.

All of it is text, one KEY=value a line; all of it is hostile. Nothing here raises for any input, and
nothing grows beyond the few kilobytes that are looked at. Sources: vdsm,
lib/vdsm/storage/{volumemetadata,constants,sd,fileSD,persistent}.py; the JSON in a description:
ovirt-engine, MetadataDiskDescriptionHandler.java.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chains.core.layer import FIRST_MOMENT, LAST_MOMENT
from chains.core.names import brief, portable

BLANK_UUID = "00000000-0000-0000-0000-000000000000"
UUID = re.compile("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
BLOCK = 512  # bytes of what SIZE counts, and of a record as oVirt writes it
MAX_RECORD = 8 * BLOCK  # bytes looked at: more than any record, should a longer one be met
MAX_DOMAIN = 128 * 1024  # bytes of dom_md/metadata looked at: pools and physical volumes add lines
MAX_TEXT = 256  # characters of any text that is stored
MAX_ERRORS = 8
OK, INVALID, CLEARED = "ok", "invalid", "cleared"
CHECKSUM = "_SHA_CKSUM"

_CHOICES = {
    "FORMAT": ("RAW", "COW"),
    "TYPE": ("SPARSE", "PREALLOCATED", "UNKNOWN"),
    "VOLTYPE": ("LEAF", "INTERNAL", "SHARED"),
    "LEGALITY": ("LEGAL", "ILLEGAL", "FAKE"),
}
# Without one of these (and SIZE or CAP) vdsm refuses the volume; all others have a default.
_NEEDED = ("DOMAIN", "IMAGE", "PUUID", *_CHOICES, "DISKTYPE", "DESCRIPTION", "CTIME")
# The alias stands first, and may be all that is left of a description that was cut.
_CUT_ALIAS = re.compile(r'\{\s*"DiskAlias"\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class VolumeMetadata:
    """One volume as oVirt describes it; text is "" and a number None where it is not said.

    `capacity` is the virtual size in bytes (CAP, or SIZE of 512-byte blocks); `ctime` is in seconds
    since 1970. `status` is "ok", "invalid" (vdsm would refuse the volume: `errors` say why) or
    "cleared" (what an old delete leaves of a volume). `parent` is BLANK_UUID for a root layer.
    """

    status: str
    errors: tuple[str, ...] = ()
    domain: str = ""
    image: str = ""
    parent: str = ""
    capacity: int | None = None
    format: str = ""  # RAW, COW
    type: str = ""  # SPARSE, PREALLOCATED
    voltype: str = ""  # LEAF, INTERNAL, SHARED (a template)
    disktype: str = ""  # DATA, OVFS, MEMD …; "1" and "2" of old engines
    alias: str = ""  # DiskAlias of a description in JSON: what people call the disk
    description: str = ""  # DiskDescription, or the text as it stands
    legality: str = ""  # LEGAL, ILLEGAL, FAKE
    ctime: int | None = None
    generation: int = 0
    sequence: int = 0
    mtime: int | None = None  # obsolete: always 0
    pool: str = ""  # obsolete: always empty

    @property
    def created(self) -> float | None:
        """When the volume was made, in seconds since 1970; None for what no calendar has."""
        moment = self.ctime
        return float(moment) if moment and FIRST_MOMENT <= moment < LAST_MOMENT else None

    def to_json(self) -> dict[str, Any]:
        """Return what a row stores: the fields by name, text cut short and fit for JSON."""
        said = {name: _stored(value) for name, value in vars(self).items() if name != "errors"}
        return said | {"errors": [_stored(error) for error in self.errors]}


def parse_volume(data: bytes) -> VolumeMetadata:
    """Parse a `.meta` file or a slot of the metadata volume, with or without its NUL padding."""
    errors: list[str] = []
    if len(data.rstrip(b"\0")) > MAX_RECORD:
        errors.append(f"It is longer than {MAX_RECORD} bytes; oVirt writes {BLOCK} at most.")
    said = _pairs(data[:MAX_RECORD].rstrip(b"\0"), errors, "EOF")
    if "NONE" in said and not said.keys() & set(_NEEDED):
        return VolumeMetadata(CLEARED)
    missing = [key for key in _NEEDED if key not in said]
    if "CAP" not in said and "SIZE" not in said:
        missing.append("CAP")
    if missing:
        names = f"These keys are missing: {', '.join(missing)}."
        errors.append(names if said else "The record is empty.")
    for key, values in _CHOICES.items():
        if key in said and said[key] not in values:
            errors.append(f"{key} is “{brief(said[key], 40)}”, not one of {', '.join(values)}.")
    blocks = _number(said, "SIZE", errors)
    capacity = _number(said, "CAP", errors)
    if capacity is None and blocks is not None:
        capacity = blocks * BLOCK
    ctime = _number(said, "CTIME", errors)
    generation = _number(said, "GEN", errors)
    sequence = _number(said, "SEQ", errors)
    alias, description = _described(said.get("DESCRIPTION", ""))
    return VolumeMetadata(
        status=INVALID if errors else OK,
        errors=tuple(errors[:MAX_ERRORS]),
        domain=said.get("DOMAIN", ""),
        image=said.get("IMAGE", ""),
        parent=said.get("PUUID", ""),
        capacity=capacity,
        format=said.get("FORMAT", ""),
        type=said.get("TYPE", ""),
        voltype=said.get("VOLTYPE", ""),
        disktype=said.get("DISKTYPE", ""),
        alias=alias,
        description=description,
        legality=said.get("LEGALITY", ""),
        ctime=ctime,
        generation=generation or 0,
        sequence=sequence or 0,
        mtime=_number(said, "MTIME", []),
        pool=said.get("POOL_UUID", ""),
    )


@dataclass(frozen=True)
class DomainMetadata:
    """A storage domain as its own metadata describes it; sizes in bytes.

    `checksum` is "ok", "missing" (vdsm takes it with a warning) or "wrong" (vdsm refuses the
    domain). `errors` name what could not be read.
    """

    checksum: str
    errors: tuple[str, ...] = ()
    version: int | None = None
    uuid: str = ""
    type: str = ""  # NFS, LOCALFS, POSIXFS, GLUSTERFS, CIFS, ISCSI, FCP
    domain_class: str = ""  # Data, Iso, Backup (an export domain)
    role: str = ""  # Regular, Master
    pools: tuple[str, ...] = ()
    description: str = ""
    pool_description: str = ""  # of a Master: what its datacenter is called
    remote_path: str = ""
    block_size: int | None = None
    alignment: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a row stores: the fields by name, text cut short and fit for JSON."""
        said = {name: _stored(value) for name, value in vars(self).items()}
        lists = ("errors", "pools")
        said |= {name: [_stored(text) for text in getattr(self, name)[:64]] for name in lists}
        said["class"] = said.pop("domain_class")
        return said


def parse_domain(data: bytes) -> DomainMetadata:
    """Parse `dom_md/metadata` of a file domain."""
    errors: list[str] = []
    if len(data) > MAX_DOMAIN:
        errors.append(f"It is longer than {MAX_DOMAIN} bytes.")
    return domain_metadata(_pairs(data[:MAX_DOMAIN].rstrip(b"\0"), errors), errors)


def domain_metadata(said: Mapping[str, str], errors: Sequence[str] = ()) -> DomainMetadata:
    """Take the description of a domain from its keys, however they are stored."""
    wrong = list(errors)
    if not said:
        wrong.append("It holds no keys.")
    version = _number(said, "VERSION", wrong)
    return DomainMetadata(
        checksum=_seal(said),
        version=version,
        uuid=said.get("SDUUID", ""),
        type=said.get("TYPE", ""),
        domain_class=said.get("CLASS", ""),
        role=said.get("ROLE", ""),
        pools=tuple(filter(None, said.get("POOL_UUID", "").split(","))),
        description=said.get("DESCRIPTION", ""),
        pool_description=said.get("POOL_DESCRIPTION", ""),
        remote_path=said.get("REMOTE_PATH", ""),
        block_size=_number(said, "BLOCK_SIZE", wrong),
        alignment=_number(said, "ALIGNMENT", wrong),
        errors=tuple(wrong[:MAX_ERRORS]),
    )


def _seal(said: Mapping[str, str]) -> str:
    """Compare the checksum (vdsm, lib/vdsm/storage/persistent.py): no separators, itself left out.

    Where one key starts another (PV1, PV10) it matters whether keys or whole lines are sorted;
    both are taken, for a checksum that fits by chance is not to be feared.
    """
    declared = said.get(CHECKSUM)
    if declared is None:
        return "missing"
    keys = sorted(key for key in said if key != CHECKSUM)
    lines = [f"{key}={said[key]}" for key in keys]
    for order in (lines, sorted(lines)):
        text = "".join(order).encode("ascii", "xmlcharrefreplace")
        if hashlib.sha1(text, usedforsecurity=False).hexdigest() == declared:
            return "ok"
    return "wrong"


def _pairs(data: bytes, errors: list[str], end: str | None = None) -> dict[str, str]:
    """Return the keys and their values, of a key that comes again the last; lines up to `end`."""
    said: dict[str, str] = {}
    for number, text in enumerate(_lines(data), 1):
        if text is None:
            errors.append(f"Line {number} is not UTF-8.")
            continue
        if end is not None and text.startswith(end):
            break
        key, equals, value = text.partition("=")
        if equals:
            said[key.strip()] = value.strip()
    return said


def _lines(data: bytes) -> Iterator[str | None]:
    """Decode line by line, None for one that is not UTF-8; all at once when there is none."""
    try:
        yield from data.decode().split("\n")
        return
    except UnicodeDecodeError:
        pass
    for line in data.split(b"\n"):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            yield None


def _number(said: Mapping[str, str], key: str, errors: list[str]) -> int | None:
    text = said.get(key)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    errors.append(f"{key} is “{brief(text, 40)}”, which is no number that oVirt writes.")
    return None


def _described(text: str) -> tuple[str, str]:
    """Split DESCRIPTION into alias and description: engines since 3.3 write JSON there.

    What is not ASCII stands there as hex of UTF-16LE, and `Enc` has a bit for each such field.
    """
    if not text.startswith("{"):
        return "", text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        cut = _CUT_ALIAS.match(text)
        return (_unquoted(cut[1]), "") if cut else ("", text)
    alias, description = found.get("DiskAlias"), found.get("DiskDescription")
    coded = str(found.get("Enc"))
    bits = int(coded) if coded in {"1", "2", "3"} else 0
    return _text(alias, bool(bits & 1)), _text(description, bool(bits & 2))


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def _text(value: object, coded: bool) -> str:
    if not isinstance(value, str):
        return ""
    if coded:
        try:
            return bytes.fromhex(value).decode("utf-16-le")
        except ValueError:
            return value
    return value


def _stored(value: Any) -> Any:
    """Make a text fit for a row: PostgreSQL takes no NUL, and JSON no lone surrogate."""
    if not isinstance(value, str) or (
        value.isascii() and value.isprintable() and len(value) <= MAX_TEXT
    ):
        return value
    return portable(value[:MAX_TEXT]).replace("\0", "\\x00")
