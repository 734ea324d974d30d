"""Damage that knows the format: fields, table entries, extensions, names, cuts and packed columns."""

import random
import struct
import zlib
from collections.abc import Callable

from tests.core.fuzz.seeds import IMAGES, What, pack, unpack

MAX_INPUT = 64 * 1024
# Offset and width of the header's fields (QEMU, docs/interop/qcow2).
FIELDS = (
    (4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4),
    (64, 8), (72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 1),
)  # fmt: skip
NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 9, 16, 21, 22, 63, 64, 72, 104, 112, 511, 512, 513, 1023, 1024, 4096, 65536,
    2**20, 2**21, 2**22, 2**31, 2**32 - 1, 2**32, 2**40, 2**50, 2**55, 2**56 - 512, 2**62 - 1, 2**62,
    2**63 - 512, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 512, 2**64 - 1,
)  # fmt: skip
NAMES = (
    b"base.raw", b"mid.qcow2", b"mutant.img", b"alias", b"./mutant.img", b"loop", b"out", b"..", b".",
    b"/etc/passwd", b"//dev/null", b"/proc/self/fd/0", b"json:{}", b"nbd://x", b"a:b", b"./a:b",
    b"x\n\xff", b"base.raw/", b"\0", b"x" * 1023, b"over-raw.qcow2", b"v3",
)  # fmt: skip
EXTENSIONS = (0xE2792ACA, 0x6803F857, 0x23852875, 0x0537BE77, 0x44415441, 0, 0x12345678)
FORMATS = (b"raw", b"qcow2", b"vmdk", b"raw\0", b"", b"x" * 15, b"x" * 16)
Luck = random.Random


def mutate(data: bytes, luck: Luck, plain: Callable[[bytes], bytes] | None = None) -> bytes:
    """Damage an input once or more; `plain` is a mutator that knows nothing of the format."""
    what, growth, content = unpack(data)
    for _ in range(luck.choice((1, 1, 1, 2, 3, 5))):
        chance = luck.random()
        if chance < 0.04:
            what = luck.choice(tuple(What) if chance < 0.005 else tuple(IMAGES))
        elif chance < 0.08:
            growth = luck.choice((0, 9, 16, 20, 30, 36, 40, 50, luck.randrange(63)))
        elif chance < 0.25 and plain is not None:
            content = plain(content)
        elif what in IMAGES and content.startswith(b"QFI\xfb") and len(content) >= 104:
            content = luck.choice(IMAGE_DAMAGE)(bytearray(content), luck)
        elif what in (What.EXTENT_MAP, What.READ_MAP) and chance < 0.9:
            content = _columns(content, luck)
        else:
            content = _bytes(bytearray(content), luck)
    return pack(what, growth, content[: MAX_INPUT - 2])


def _number(luck: Luck, *others: int) -> int:
    choice = luck.choice((*NUMBERS, *others, *others, luck.getrandbits(luck.randrange(1, 65))))
    return (choice + luck.choice((0, 0, 0, -1, 1, 8, -512, 512))) % 2**64


def _put(content: bytearray, offset: int, value: bytes) -> bytes:
    end = offset + len(value)
    if offset >= 0 and end <= MAX_INPUT:
        content.extend(bytes(max(0, end - len(content))))
        content[offset:end] = value
    return bytes(content)


def _cluster(content: bytearray) -> int:
    bits = int.from_bytes(content[20:24], "big")
    return 1 << bits if 9 <= bits <= 16 else 512


def _header(content: bytearray, luck: Luck) -> bytes:
    offset, width = luck.choice(FIELDS)
    number = _number(luck, len(content), _cluster(content))
    return _put(content, offset, (number % 2 ** (8 * width)).to_bytes(width, "big"))


def _feature(content: bytearray, luck: Luck) -> bytes:
    at = luck.choice((79, 79, 79, 87, 95, 72))
    content[at] ^= 1 << luck.randrange(8)
    return bytes(content)


def _l1_entry(content: bytearray, luck: Luck) -> bytes:
    l1 = int.from_bytes(content[40:48], "big")
    return _entry(content, luck, l1, int.from_bytes(content[36:40], "big"))


def _l2_entry(content: bytearray, luck: Luck) -> bytes:
    l1 = int.from_bytes(content[40:48], "big")
    count = min(int.from_bytes(content[36:40], "big"), 64, max(0, len(content) - l1) // 8)
    entries = struct.unpack_from(f">{count}Q", content, l1) if count else ()
    tables = [entry & 0x00FF_FFFF_FFFF_FE00 for entry in entries if entry]
    if not tables:
        return _l1_entry(content, luck)
    return _entry(content, luck, luck.choice(tables), _cluster(content) // 8)


def _entry(content: bytearray, luck: Luck, table: int, count: int) -> bytes:
    """Overwrite one entry of a table: with nonsense, with a neighbour, or with other marks."""
    at = table + 8 * luck.randrange(max(1, min(count, luck.choice((4, 64, 2**22)))))
    there = int.from_bytes(content[at : at + 8], "big")
    cluster = _cluster(content)
    inside = luck.randrange(0, len(content) + 4 * cluster) // cluster * cluster
    marks = luck.choice((0, 1 << 63, 1 << 62, 3 << 62, 1, 1 << 56))
    match luck.randrange(5):
        case 0:
            value = _number(luck, len(content))
        case 1:
            value = int.from_bytes(content[at + 8 : at + 16], "big")
        case 2:
            value = there ^ (1 << luck.choice((0, 1, 8, 9, 16, 31, 32, 55, 56, 61, 62, 63)))
        case 3:
            value = inside | marks
        case _:
            value = (there & ~(1 << 62)) | marks
    return _put(content, at, value.to_bytes(8, "big"))


def _extension(content: bytearray, luck: Luck) -> bytes:
    """Put an extension where the first one stands, with a true or a false length."""
    value = luck.choice((*FORMATS, *NAMES, luck.randbytes(luck.choice((24, 48, 96)))))
    length = len(value) if luck.random() < 0.8 else _number(luck) % 2**32
    text = struct.pack(">II", luck.choice(EXTENSIONS), length) + value + bytes(-len(value) % 8)
    at = int.from_bytes(content[100:104], "big")
    end = luck.choice((b"", bytes(8)))
    return _put(content, at if at < 4096 and content[7] == 3 else 72, text + end)


def _name(content: bytearray, luck: Luck) -> bytes:
    name = luck.choice(NAMES)
    at = _cluster(content) - len(name) if luck.random() < 0.8 else luck.randrange(4096)
    if at < 112:
        return bytes(content)
    return _put(bytearray(_put(content, at, name)), 8, struct.pack(">QI", at, len(name)))


def _cut(content: bytearray, luck: Luck) -> bytes:
    tables = [int.from_bytes(content[at : at + 8], "big") for at in (40, 48, 64)]
    ends = [72, 104, 112, *tables, *(at + _cluster(content) for at in tables), len(content)]
    return bytes(content[: max(0, luck.choice(ends) + luck.choice((-8, -1, 0, 0, 1, 8)))])


def _move(content: bytearray, luck: Luck) -> bytes:
    """Copy one cluster over another."""
    cluster = _cluster(content)
    source, target = (luck.randrange(len(content) // cluster + 1) * cluster for _ in range(2))
    return _put(content, target, bytes(content[source : source + cluster]))


def _bytes(content: bytearray, luck: Luck) -> bytes:
    if not content:
        return luck.randbytes(luck.randrange(1, 64))
    at = luck.randrange(len(content))
    match luck.randrange(4):
        case 0:
            content[at] ^= 1 << luck.randrange(8)
        case 1:
            content[at : at + 8] = _number(luck).to_bytes(8, "big")
        case 2:
            del content[at : at + luck.randrange(1, 9)]
        case _:
            content[at:at] = luck.randbytes(luck.randrange(1, 9))
    return bytes(content)


IMAGE_DAMAGE: tuple[Callable[[bytearray, Luck], bytes], ...] = (
    _header, _header, _feature, _l1_entry, _l1_entry, _l2_entry, _l2_entry, _l2_entry, _extension,
    _name, _cut, _move, _bytes,
)  # fmt: skip


def _columns(content: bytes, luck: Luck) -> bytes:
    """Damage a packed map below its compression, so that what is in the columns is looked at."""
    try:
        tag, count, unit, facts = struct.unpack_from(">4sQQQ", content)
        at = 28 + 8 * facts
        numbers = list(struct.unpack_from(f">{facts}q", content, 28))
        blocks = []
        while at < len(content):
            width, length = struct.unpack_from(">BQ", content, at)
            packed = content[at + 9 : at + 9 + length]
            blocks.append((width, bytearray(zlib.decompressobj().decompress(packed, MAX_INPUT))))
            at += 9 + length
    except (struct.error, zlib.error, OverflowError, MemoryError):
        return _bytes(bytearray(content), luck)
    match luck.randrange(8):
        case 0:
            count = _number(luck, count)
        case 1:
            unit = _number(luck, unit)
        case 2 if numbers:
            numbers[luck.randrange(len(numbers))] = _number(luck) - 2**63
        case 3 if blocks:
            at = luck.randrange(len(blocks))
            blocks[at] = (luck.choice((0, 1, 2, 4, 8, 255)), blocks[at][1])
        case 4:
            # Very many equal runs, which pack into next to nothing.
            count = 2 ** luck.randrange(10, 21)
            blocks = [
                (width, bytearray(luck.choice((b"\1", b"\0")) * count)) for width, _ in blocks
            ]
        case _ if blocks:
            _, column = luck.choice(blocks)
            width = luck.choice((1, 2, 4, 8))
            for _ in range(luck.randrange(1, 4)):
                where = luck.randrange(len(column) + 1) // width * width
                column[where : where + width] = _number(luck).to_bytes(8, "little")[:width]
    parts = [struct.pack(">4sQQQ", tag, count % 2**64, unit % 2**64, len(numbers))]
    parts += [struct.pack(">q", number) for number in numbers]
    for width, column in blocks:
        packed = zlib.compress(column, 1)
        parts.append(struct.pack(">BQ", width, len(packed)) + packed)
    return b"".join(parts)
