"""How a merge is carried out, beside its plan."""

from dataclasses import dataclass

from chains.core.states import Verification
from chains.models import Batch


@dataclass(frozen=True)
class Options:
    """How a merge is carried out, beside its plan; `rate` is bytes a second, None for the domain's own."""

    verification: Verification = Verification.MOVED
    rate: int | None = None
    batch: Batch | None = None


DEFAULT = Options()
