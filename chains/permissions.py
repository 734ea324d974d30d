"""The one rule of who may do what; pages, API, sockets and commands all ask it."""

from enum import StrEnum
from typing import Any

from chains.models import Role


class Action(StrEnum):
    """What somebody may want to do."""

    VIEW = "view"
    SCAN = "scan"
    MERGE = "merge"
    LEARN = "run the lesson"
    MANAGE_DOMAINS = "manage domains"
    MANAGE_PEOPLE = "manage people"


_ALLOWED: dict[str, frozenset[Action]] = {
    Role.AUDITOR: frozenset({Action.VIEW}),
    Role.OPERATOR: frozenset({Action.VIEW, Action.SCAN, Action.MERGE, Action.LEARN}),
    Role.ADMIN: frozenset(Action),
}


def allows(user: Any, action: Action) -> bool:
    """Whether this user may do it; nobody who is not signed in or not active may do anything."""
    if not getattr(user, "is_authenticated", False) or not user.is_active:
        return False
    return action in _ALLOWED.get(user.role, frozenset())
