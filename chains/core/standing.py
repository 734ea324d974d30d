"""How a storage domain stands, in words: what it is, and how far its guests may outgrow it."""

from collections.abc import Mapping
from typing import Any

from chains.core.names import brief

BLOCK_KIND = "ovirt-block"
OVIRT_KINDS = frozenset({"ovirt-file", BLOCK_KIND})


def is_block(kind: str) -> bool:
    """Whether its volumes are logical volumes; files otherwise."""
    return kind == BLOCK_KIND


def details(kind: str, profile: str, facts: Mapping[str, Any]) -> list[str]:
    """What the last scan found out about the domain itself, a few words each, fit to be shown."""
    if kind not in OVIRT_KINDS:
        found = str(facts.get("profile") or "")
        if not found:
            return []
        how = "found by looking" if profile == "auto" else "as it was set"
        return [f"made by {brief(found, 40)} ({how})" if found != "plain" else "no known maker"]
    said = [f"V{facts['version']}"] if facts.get("version") is not None else []
    said += [brief(str(facts[key]), 60) for key in ("class", "type", "role") if facts.get(key)]
    if facts.get("group"):
        said.append(f"group {brief(str(facts['group']), 60)}")
    if isinstance(facts.get("devices"), int):
        said.append(f"{facts['devices']} device{'' if facts['devices'] == 1 else 's'}")
    name = facts.get("description") or facts.get("name")
    return [*said, f"“{brief(str(name), 80)}”"] if name else said


def overcommit(virtual: int, capacity: int | None) -> float | None:
    """How many times the domain its guests may come to write; None while its capacity is not known."""
    return round(virtual / capacity, 4) if capacity else None


def overcommit_words(virtual: int, capacity: int | None) -> str:
    """The same in words."""
    ratio = overcommit(virtual, capacity)
    if ratio is None:
        return "not known: the domain has not been scanned"
    if ratio <= 1:
        share = "less than 1" if 0 < ratio < 0.01 else f"{ratio * 100:.0f}"
        return f"all that guests may come to write fits: {share} % of the domain"
    return f"guests may come to write {_times(ratio)} × what fits"


def _times(ratio: float) -> str:
    if ratio >= 10:
        return f"{ratio:.0f}"
    # What is only just too much must not read as if it fitted.
    return f"{max(ratio, 1.01):.2f}" if ratio < 1.1 else f"{ratio:.1f}"
