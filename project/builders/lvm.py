"""Physical volumes of LVM2 as files, written byte by byte: no root, no device-mapper, no LVM tools.

What a group of oVirt's looks like: extents of 128 MiB, 128 MiB of metadata area on every device, of
which only the first is in use, special volumes, tags. Smaller extents make faster tests.
"""

import hashlib
import itertools
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024**2
SECTOR = 512
MDA_OFFSET = 4096
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SD = "3386c6f2-926f-42c4-839c-38287fac8998"
BLANK = "00000000-0000-0000-0000-000000000000"
DOMAIN_TAGS = (
    "RHAT_storage_domain", f"MDT_SDUUID={SD}", "MDT_VERSION=5", "MDT_CLASS=Data", "MDT_TYPE=ISCSI",
    "MDT_ROLE=Regular", "MDT_DESCRIPTION=block&32&domain&44&1",
)  # fmt: skip

Place = tuple[int, int, int]  # number of the PV, first extent there, how many


def uuid_of(name: str) -> str:
    """An identifier that is the same in every run, without hyphens."""
    digest = hashlib.sha256(name.encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:32])


def hyphens(uuid: str) -> str:
    cuts = [0, 6, 10, 14, 18, 22, 26, 32]
    return "-".join(uuid[a:b] for a, b in itertools.pairwise(cuts))


def crc(content: bytes) -> int:
    """LVM2's checksum, bit by bit, for what it is compared with takes it from zlib."""
    if len(content) > 4096:
        return zlib.crc32(content, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    value = 0xF597A6CF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    return value


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def listed(items: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, items))}]"


def record(**keys: object) -> bytes:
    """A volume's metadata as vdsm writes it: sorted lines, EOF, zero bytes up to a sector."""
    lines = [f"{key}={keys[key]}" for key in sorted(keys)]
    return ("\n".join([*lines, "EOF"]) + "\n").encode().ljust(SECTOR, b"\0")


@dataclass
class Lv:
    name: str
    tags: tuple[str, ...]
    places: list[Place]
    kind: str = "striped"
    created: int = 1_600_000_000


@dataclass
class Group:
    """A volume group; `write` makes the files of its devices, `fill` puts bytes into a volume."""

    folder: Path
    name: str = SD
    extent: int = 1 * MIB
    devices: int = 2
    extents: int = 200  # of each device
    mda: int = 128 * MIB
    version: int = 5
    tags: tuple[str, ...] = DOMAIN_TAGS
    seqno: int = 7
    in_use: tuple[int, ...] = (0,)  # devices whose metadata area is
    text_at: int = SECTOR  # where in its area the text begins
    lvs: dict[str, Lv] = field(default_factory=dict)
    extra: str = ""  # more lines of text in the group

    def __post_init__(self) -> None:
        self.next = [0] * self.devices
        if self.version != 5:
            self.tags = tuple(
                f"MDT_VERSION={self.version}" if tag.startswith("MDT_VERSION") else tag
                for tag in self.tags
            )

    @property
    def pe_start(self) -> int:
        return -(-(MDA_OFFSET + self.mda) // MIB) * MIB

    def path(self, number: int) -> Path:
        return self.folder / f"pv{number}"

    def uuid(self, number: int) -> str:
        return uuid_of(f"{self.name} pv{number}")

    def lv(self, name: str, size: int, *tags: str, places: list[Place] | None = None) -> Lv:
        """Add a volume: at `places`, or behind what the first device holds."""
        if places is None:
            count = -(-size // self.extent)
            places = [(0, self.next[0], count)]
        for number, start, count in places:
            self.next[number] = max(self.next[number], start + count)
        self.lvs[name] = found = Lv(name, tags, places)
        return found

    def specials(self) -> None:
        """What oVirt makes first; the metadata volume lies at the very start."""
        self.lv("metadata", 32 * MIB)
        for name in ("ids", "inbox", "outbox", "leases", "xleases", "master"):
            self.lv(name, 1 * MIB)

    def volume(
        self, name: str, size: int, slot: int, image: str, parent: str = BLANK, *,
        places: list[Place] | None = None,
    ) -> Lv:  # fmt: skip
        """A volume with the three tags that oVirt gives it."""
        return self.lv(name, size, f"MD_{slot}", f"PU_{parent}", f"IU_{image}", places=places)

    def text(self) -> str:
        """The metadata, as LVM2 writes it into its areas."""
        lines = [
            f"{self.name} {{", f'id = "{hyphens(uuid_of(self.name))}"', f"seqno = {self.seqno}",
            'format = "lvm2"', 'status = ["RESIZEABLE", "READ", "WRITE"]', "flags = []",
            f"tags = {listed(self.tags)}", f"extent_size = {self.extent // SECTOR}\t\t# of sectors",
            "max_lv = 0", "max_pv = 0", "metadata_copies = 0", self.extra, "physical_volumes {",
        ]  # fmt: skip
        for number in range(self.devices):
            lines += [
                f"pv{number} {{", f'id = "{hyphens(self.uuid(number))}"',
                f'device = "/dev/mapper/lun{number}"', 'status = ["ALLOCATABLE"]', "flags = []",
                f"dev_size = {self.size(number) // SECTOR}", f"pe_start = {self.pe_start // SECTOR}",
                f"pe_count = {self.extents}", "}",
            ]  # fmt: skip
        lines += ["}", "logical_volumes {"]
        for lv in self.lvs.values():
            lines += [*self._lv_lines(lv), "}"]
        lines += ["}", "}", "# Generated by LVM2 version 2.03.16(2)", ""]
        lines += ['contents = "Text Format Volume Group"', "version = 1", 'description = ""', ""]
        lines += ['creation_host = "a \\"host\\""', "creation_time = 1600000000 # some day", ""]
        return "\n".join(lines)

    def _lv_lines(self, lv: Lv) -> list[str]:
        lines = [
            f"{lv.name} {{", f'id = "{hyphens(uuid_of(lv.name))}"',
            'status = ["READ", "WRITE", "VISIBLE"]', "flags = []", f"tags = {listed(lv.tags)}",
            f"creation_time = {lv.created}", 'creation_host = "host"',
            f"segment_count = {len(lv.places)}",
        ]  # fmt: skip
        at = 0
        for number, (pv, start, count) in enumerate(lv.places):
            lines += [
                f"segment{number + 1} {{", f"start_extent = {at}", f"extent_count = {count}", "",
                f'type = "{lv.kind}"', "stripe_count = 1\t# linear", "", "stripes = [",
                f'"pv{pv}", {start}', "]", "}",
            ]  # fmt: skip
            at += count
        return lines

    def size(self, number: int) -> int:
        del number
        return self.pe_start + self.extents * self.extent + MIB

    def write(self) -> None:
        """Write labels and metadata, over what the files hold already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = self.text().encode() + b"\0"
        for number in range(self.devices):
            self.path(number).touch()
            with self.path(number).open("r+b") as file:
                file.truncate(self.size(number))
                file.seek(SECTOR)
                file.write(self._label(number))
                used = text if number in self.in_use else b""
                file.seek(MDA_OFFSET)
                file.write(self._mda_header(used))
                if used:
                    first = min(len(used), self.mda - self.text_at)
                    file.seek(MDA_OFFSET + self.text_at)
                    file.write(used[:first])
                    file.seek(MDA_OFFSET + SECTOR)
                    file.write(used[first:])

    def _label(self, number: int) -> bytes:
        header = self.uuid(number).encode() + struct.pack("<Q", self.size(number))
        header += struct.pack("<QQQQ", self.pe_start, 0, 0, 0)
        header += struct.pack("<QQQQ", MDA_OFFSET, self.mda, 0, 0)
        header += struct.pack("<IIQQ", 2, 1, 0, 0)  # the extension: version, "in use"
        body = struct.pack("<I8s", 32, b"LVM2 001") + header
        body = body.ljust(SECTOR - 20, b"\0")
        return struct.pack("<8sQI", b"LABELONE", 1, crc(body)) + body

    def _mda_header(self, text: bytes) -> bytes:
        body = b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ", 1, MDA_OFFSET, self.mda)
        if text:
            body += struct.pack("<QQII", self.text_at, len(text), crc(text), 0)
        body = body.ljust(SECTOR - 4, b"\0")
        return struct.pack("<I", crc(body)) + body

    def fill(self, name: str, content: bytes | Path, offset: int = 0) -> None:
        """Put bytes (or those of a file) into a volume, through its extents; holes stay holes."""
        data = content.read_bytes() if isinstance(content, Path) else content
        at = 0
        for pv, start, count in self.lvs[name].places:
            length = count * self.extent
            low, high = max(at, offset), min(at + length, offset + len(data))
            if low < high:
                self._put(pv, start * self.extent + low - at, data[low - offset : high - offset])
            at += length
        assert offset + len(data) <= at, f"{name} is too small"

    def _put(self, pv: int, at: int, data: bytes) -> None:
        with self.path(pv).open("r+b") as file:
            for begin in range(0, len(data), MIB):
                part = data[begin : begin + MIB]
                if len(part) < MIB or part.count(0) < len(part):
                    file.seek(self.pe_start + at + begin)
                    file.write(part)

    def slot(self, number: int, content: bytes) -> None:
        """Write a volume's metadata into its slot."""
        at = MIB + number * 8192 if self.version >= 5 else number * SECTOR
        self.fill("metadata", content, at)
