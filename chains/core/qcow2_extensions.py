"""The extensions behind the header of a qcow2 file: names, pointers, and what is not known here.

Facts of the format are from QEMU's docs/interop/qcow2 ("Header extensions" and the sections that
follow it); the limits are those that QEMU's block/qcow2.c enforces when it opens an image.
"""

import os
import struct
from typing import NamedTuple

from chains.core.errors import StrataError

BACKING_FORMAT = 0xE2792ACA
FEATURE_NAMES = 0x6803F857
BITMAPS = 0x23852875
ENCRYPTION = 0x0537BE77
DATA_FILE = 0x44415441
WORDS = {
    BACKING_FORMAT: "backing format",
    FEATURE_NAMES: "feature name table",
    BITMAPS: "bitmaps",
    ENCRYPTION: "encryption header",
    DATA_FILE: "external data file",
}
MAX_FORMAT_NAME = 15
MAX_FILE_NAME = 1023
# An image has a handful; each takes far more memory than its eight bytes of file.
MAX_EXTENSIONS = 256
# Three bitmasks of 64 bits are all that can be named; a longer table repeats itself.
MAX_FEATURE_NAMES = 3 * 64

_HEAD = struct.Struct(">II")
_BITMAPS = struct.Struct(">IIQQ")
_POINTER = struct.Struct(">QQ")
_FEATURE_NAME = 48


class ExtensionError(StrataError):
    """The extensions are not what any image may hold; the text says how."""


class Extension(NamedTuple):
    """One extension as it lies in the file; `offset` is that of its data."""

    number: int
    offset: int
    length: int


class FeatureName(NamedTuple):
    """How the image itself calls a feature bit; `mask` is 0 incompatible, 1 compatible, 2 autoclear."""

    mask: int
    bit: int
    name: str


class Bitmaps(NamedTuple):
    """How many bitmaps the image says it has, and where their directory lies."""

    total: int
    size: int
    offset: int


class Extensions(NamedTuple):
    """All extensions in the order of the file, and what the known ones say.

    `encryption` is the offset and the length of the header of full disk encryption.
    """

    listed: tuple[Extension, ...] = ()
    backing_format: str | None = None
    data_file: str | None = None
    bitmaps: Bitmaps | None = None
    encryption: tuple[int, int] | None = None
    feature_names: tuple[FeatureName, ...] = ()


def read_extensions(area: bytes, offset: int, end: int) -> Extensions | None:
    """Read the extensions that start at `offset` of the file with `area`, and lie before `end`.

    Returns None when `area` stops before they do. Raises ExtensionError.
    """
    listed: list[Extension] = []
    at, last = 0, end - offset
    while at + _HEAD.size <= last:
        if at + _HEAD.size > len(area):
            return None
        number, length = _HEAD.unpack_from(area, at)
        if number == 0:
            break
        at += _HEAD.size
        if length > last - at:
            raise ExtensionError("A header extension runs out of its area.")
        if at + length > len(area):
            return None
        if len(listed) == MAX_EXTENSIONS:
            raise ExtensionError(f"There are more than {MAX_EXTENSIONS} header extensions.")
        listed.append(Extension(number, offset + at, length))
        at += (length + 7) & ~7
    return _understood(area, offset, tuple(listed))


def _understood(area: bytes, offset: int, listed: tuple[Extension, ...]) -> Extensions:
    backing_format = data_file = bitmaps = encryption = None
    names: tuple[FeatureName, ...] = ()
    for number, start, length in listed:
        data = area[start - offset : start - offset + length]
        if number == BACKING_FORMAT:
            backing_format = _name(data, MAX_FORMAT_NAME)
        elif number == DATA_FILE:
            data_file = _name(data, MAX_FILE_NAME)
        elif number == BITMAPS:
            bitmaps = _bitmaps(data)
        elif number == ENCRYPTION:
            if length != _POINTER.size:
                raise ExtensionError("The pointer to the encryption header has an illegal length.")
            encryption = _POINTER.unpack(data)
        elif number == FEATURE_NAMES:
            names = _feature_names(data)
    return Extensions(listed, backing_format, data_file, bitmaps, encryption, names)


def _name(data: bytes, limit: int) -> str | None:
    if len(data) > limit:
        raise ExtensionError(f"A name in the header extensions is longer than {limit} bytes.")
    if b"\0" in data:
        raise ExtensionError("A name in the header extensions contains a zero byte.")
    return os.fsdecode(data) if data else None


def _bitmaps(data: bytes) -> Bitmaps:
    if len(data) != _BITMAPS.size:
        raise ExtensionError("The extension for bitmaps has an illegal length.")
    count, _, size, offset = _BITMAPS.unpack(data)
    return Bitmaps(count, size, offset)


def _feature_names(data: bytes) -> tuple[FeatureName, ...]:
    count = min(len(data) // _FEATURE_NAME, MAX_FEATURE_NAMES)
    names = []
    for at in range(0, count * _FEATURE_NAME, _FEATURE_NAME):
        name = data[at + 2 : at + _FEATURE_NAME].split(b"\0", 1)[0]
        names.append(FeatureName(data[at], data[at + 1], os.fsdecode(name)))
    return tuple(names)
