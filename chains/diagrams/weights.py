"""How wide an arrow is: by the bytes on disk of the overlay that it starts at."""

from __future__ import annotations

from typing import Final

WEIGHTS: Final = (
    (1 << 20, 1.0),
    (1 << 24, 1.7),
    (1 << 28, 2.5),
    (1 << 32, 3.5),
    (1 << 36, 4.7),
    (1 << 40, 6.0),
    (1 << 63, 7.5),
)
"""Below so many bytes, so many points; sixteen times as much is one step more."""


def weight(on_disk: int) -> int:
    """The step of ``WEIGHTS`` that so many bytes are in."""
    return next(step for step, (limit, _) in enumerate(WEIGHTS) if on_disk < limit)
