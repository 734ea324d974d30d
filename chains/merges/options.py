"""How a merge is carried out, beside its plan."""

from dataclasses import dataclass

from chains.core.errors import StrataError
from chains.core.states import Verification
from chains.core.units import binary, parse_size
from chains.models import Batch, StorageDomain

LEAST_RATE = 64 * 1024
MOST_RATE = 2**50


@dataclass(frozen=True)
class Options:
    """`rate` is the most bytes a second: None for the domain's own, 0 for no limit."""

    verification: Verification = Verification.MOVED
    rate: int | None = None
    batch: Batch | None = None

    def rate_in(self, domain: StorageDomain) -> int | None:
        """The most bytes a second there; None is no limit."""
        return (domain.rate if self.rate is None else self.rate) or None


def parse_rate(text: str) -> int | None:
    """Read a limit like ``50M``; ``none`` and ``0`` are 0, nothing is None. Raises StrataError."""
    words = text.strip().lower().removesuffix("/s")
    if not words:
        return None
    rate = 0 if words == "none" else parse_size(words)
    check_rate(rate)
    return rate


def check_rate(rate: int) -> None:
    """Raises StrataError for a limit that no merge can be held to; 0 is none."""
    if rate and not LEAST_RATE <= rate <= MOST_RATE:
        raise StrataError(f"A limit is {binary(LEAST_RATE)} a second or more; 0 is none.")


DEFAULT = Options()
