"""Byte counts in binary units and lengths of time, as people read and write them."""

from __future__ import annotations

import re
from typing import Final

from chains.core.errors import StrataError

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP: Final = 1024


def binary(n: int) -> str:
    """Write ``n`` bytes in binary units: ``1 GiB``, ``196 KiB``, ``1.5 GiB``, ``0 B``.

    A count that is a whole number of its unit has no decimals; any other is rounded to three
    significant digits. A value that rounds up to 1024 of a unit is written as 1 of the next.
    """
    if n < 0:
        return f"-{binary(-n)}"
    exponent = 0
    while exponent < len(_UNITS) - 1 and n >= _STEP ** (exponent + 1):
        exponent += 1
    text = _digits(n, _STEP**exponent)
    if text == str(_STEP) and exponent < len(_UNITS) - 1:
        exponent, text = exponent + 1, "1"
    return f"{text} {_UNITS[exponent]}"


def position(n: int) -> str:
    """Write a place on a disk exactly: ``5 GiB``, ``166,400 KiB``, ``562,950,019,022,848 B``."""
    for exponent in range(len(_UNITS) - 1, 0, -1):
        whole, rest = divmod(n, _STEP**exponent)
        if whole and not rest:
            return f"{whole:,} {_UNITS[exponent]}"
    return f"{n:,} {_UNITS[0]}"


def _digits(n: int, unit: int) -> str:
    """``n / unit`` in at most three significant digits, whole numbers in full."""
    whole, rest = divmod(n, unit)
    if not rest:
        return str(whole)
    decimals = max(0, 3 - len(str(whole)))
    text = f"{n / unit:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZES: Final = {letter: 1024**power for power, letter in enumerate("bkmgtp")}


def parse_seconds(text: str) -> int:
    """Read a length of time like ``24h``, ``7d``, ``90 min``, ``0``; raises StrataError."""
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*([a-z]*)\s*", text.lower())
    unit = None if found is None else found[2] or ("s" if found[1].strip("0") == "" else None)
    if found is None or unit not in _SECONDS:
        raise StrataError(f"“{text[:40]}” is no length of time: write it like 24h, 7d or 90min.")
    return int(found[1]) * _SECONDS[unit]


def parse_size(text: str) -> int:
    """Read a number of bytes like ``50M``, ``1.5 GiB``, ``1048576``; raises StrataError."""
    found = re.fullmatch(
        r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([bkmgtp]?)(?:i?b)?\s*", text.lower()
    )
    if found is None:
        raise StrataError(f"“{text[:40]}” is no size: write it like 50M or 1.5 GiB.")
    return int(float(found[1]) * _SIZES[found[2] or "b"])


def span(seconds: int) -> str:
    """Write a length of time as `parse_seconds` reads it, in its largest whole unit: ``1d``, ``90min``."""
    for unit in ("d", "h", "min"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s" if seconds else "0"
