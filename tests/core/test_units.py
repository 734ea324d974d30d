"""How byte counts are written for people."""

from __future__ import annotations

import pytest

from chains.core.units import binary, position


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (200704, "196 KiB"),
        (1048575, "1 MiB"),
        (1048576, "1 MiB"),
        (1073741824, "1 GiB"),
        (1610612736, "1.5 GiB"),
        (1234567890, "1.15 GiB"),
        (12345678901, "11.5 GiB"),
        (123456789012, "115 GiB"),
        (1000 * 1024**3, "1000 GiB"),
        (1000 * 1024**3 + 1, "1000 GiB"),
        (1024**4, "1 TiB"),
        (2**63 - 1, "8 EiB"),
        (5000 * 1024**6, "5000 EiB"),
        (-1536, "-1.5 KiB"),
    ],
)
def test_binary_units(count: int, text: str) -> None:
    assert binary(count) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"), (512, "512 B"), (65536, "64 KiB"), (5 * 2**30, "5 GiB"),
        (162 * 2**20 + 2**19, "166,400 KiB"), (2**49 + 65536, "549,755,813,952 KiB"),
        (2**30 - 65536, "1,048,512 KiB"), (1000, "1,000 B"),
    ],
)  # fmt: skip
def test_a_position_is_exact(n: int, text: str) -> None:
    assert position(n) == text
