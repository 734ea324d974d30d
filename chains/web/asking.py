"""What the forms of pages ask for: a scope, the layers of a disk that it means, the manner of a merge."""

from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from chains.core.errors import StrataError
from chains.core.scopes import Scope
from chains.core.states import Verification
from chains.merges.options import Options, parse_rate
from chains.merges.scoped import run_of_disk
from chains.models import Disk, Volume


@dataclass(frozen=True)
class AskedScope:
    """The fields of a form as they were sent."""

    kind: str
    age: str
    depth: str

    @classmethod
    def of(cls, asked: QueryDict, default: str = "") -> "AskedScope":
        """From an address, or a form."""
        kind, age, depth = (
            asked.get(name, "").replace("\x00", "")[:40] for name in ("scope", "age", "depth")
        )
        return cls(kind or default, age, depth)

    def scope(self) -> Scope:
        """Raises StrataError."""
        return Scope.from_words(self.kind, self.age, self.depth)


def chosen(
    disk: Disk, volumes: list[Volume], asked: QueryDict
) -> tuple[Volume, Volume, dict[str, Any]]:
    """base and top as they were picked or as a scope finds them, and what the page says of the scope."""
    base, top = _pick(volumes, asked.get("base"), -1), _pick(volumes, asked.get("top"), -2)
    wish = AskedScope.of(asked)
    if not wish.kind:
        return base, top, {"scope": wish}
    try:
        run = run_of_disk(disk, wish.scope())
    except StrataError as error:
        return base, top, {"scope": wish, "nothing": str(error)}
    return run.base, run.top, {"scope": wish, "note": run.note}


def options(asked: QueryDict) -> Options:
    """Raises StrataError for what is no rate or no verification."""
    ways = {way.value: way for way in Verification}
    way = ways.get(asked.get("verification", Verification.MOVED))
    if way is None:
        raise StrataError(_("There is no such verification."))
    return Options(way, parse_rate(asked.get("rate", "")))


def _pick(volumes: list[Volume], wanted: str | None, default: int) -> Volume:
    for volume in volumes:
        if str(volume.pk) == wanted:
            return volume
    return volumes[default] if len(volumes) > 1 else volumes[0]
