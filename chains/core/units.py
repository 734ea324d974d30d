"""Byte counts in binary units, as people read them."""

from __future__ import annotations

from typing import Final

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
