"""The record of who did what: the one way to write it. The database seals it, see trail.py."""

import os
import pwd
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.utils import timezone

from chains.core.names import display
from chains.inventory import news
from chains.models import AuditRecord, User

NEWS = "audit"
COMMAND_LINE, WORKER = "command line", "worker"
STRATA = "strata"
# What may come from outside is cut: nobody fills the table with a long name or path.
ACTOR, ORIGIN, SUBJECT, TEXT, ITEMS, DEEP = 150, 64, 1000, 2000, 100, 6

ACTIONS: Final = (
    "sign in", "sign out", "add person", "change person", "remove person", "add token",
    "remove token", "add domain", "change domain", "remove domain", "change thresholds", "scan",
    "cancel scan", "block map", "cancel block map", "check", "cancel check", "acknowledge finding",
    "reopen finding", "merge", "cancel merge", "resume merge", "undo merge", "purge", "batch",
    "cancel batch", "pause queue", "resume queue", "lesson", "start lesson over",
)  # fmt: skip


class Result(StrEnum):
    """What came of it. What was asked of a worker has a record more when it begins and when it ends."""

    DONE = "done"
    ASKED = "asked"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ATTENTION = "attention"
    REFUSED = "refused"


@dataclass(frozen=True)
class Acting:
    """Who makes the changes of this request or process, and from where; nobody is the command line."""

    who: Callable[[], Any] = lambda: None
    origin: str = COMMAND_LINE


acting: ContextVar[Acting] = ContextVar("acting", default=Acting())  # noqa: B039 - it is frozen


def origin_of(meta: Mapping[str, Any]) -> str:
    """Where a request came from: the address of the client, as the server knows it."""
    return str(meta.get("REMOTE_ADDR") or "unknown")


def seconds_since(moment: datetime) -> float:
    """How long something took that ends now."""
    return round((timezone.now() - moment).total_seconds(), 3)


def record(
    actor: User | str | None, origin: str, action: str, subject: str,
    result: Result = Result.DONE, **details: Any,
) -> AuditRecord:  # fmt: skip
    """Write one audit record, in the caller's transaction, and tell of it at the commit."""
    if action not in ACTIONS:
        raise ValueError(f"no audit record is called {action}")
    if actor is None and origin == COMMAND_LINE:
        details["account"] = _account()
    row = AuditRecord.objects.create(
        actor=_text(_name(actor), ACTOR), origin=_text(origin, ORIGIN), action=action,
        subject=_text(subject, SUBJECT), result=result.value, details=_plain(details),
    )  # fmt: skip
    news.publish(NEWS, row.pk, row.pk)
    return row


def _name(actor: User | str | None) -> str:
    if actor is None:
        return STRATA
    return actor if isinstance(actor, str) else actor.get_username()


def _account() -> str:
    """Who runs the command, as the machine knows him; behind sudo, who called it."""
    if given := os.environ.get("SUDO_USER", ""):
        return given
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _text(text: str, most: int) -> str:
    """Fit to be stored, sealed and shown: no lone surrogate, nothing hidden, not too long."""
    shown = display(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _plain(value: Any, depth: int = 0) -> Any:
    """A detail as JSON has it, cut to what somebody may read."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3)
    if depth < DEEP and isinstance(value, Mapping):
        return {_text(str(k), ORIGIN): _plain(v, depth + 1) for k, v in list(value.items())[:ITEMS]}
    if depth < DEEP and isinstance(value, list | tuple | set | frozenset):
        items = list(value)
        more = [f"… and {len(items) - ITEMS} more"] if len(items) > ITEMS else []
        return [_plain(item, depth + 1) for item in items[:ITEMS]] + more
    return _text(str(value), TEXT)
