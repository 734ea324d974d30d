"""The record of who did what."""

from typing import Any

from chains.models import AuditRecord, User


def record(actor: User | None, origin: str, action: str, subject: str, **details: Any) -> None:
    """Write one audit record, in the caller's transaction."""
    AuditRecord.objects.create(
        actor=actor.get_username() if actor else "strata",
        origin=origin,
        action=action,
        subject=subject,
        details=details,
    )
