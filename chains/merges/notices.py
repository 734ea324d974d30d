"""Notices: what is told to the outside of a merge that ended or needs attention.

They are written in the transaction that changes the merge's state, one row for each channel, so none
is lost whatever happens to the worker; delivery.py sends them. docs/wire-formats.md describes the body.
"""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from chains.core.names import brief, display, portable
from chains.core.states import MergeState
from chains.core.units import binary
from chains.inventory.jobs import NOTIFY, enqueue
from chains.models import Merge, Notice

WEBHOOK, EMAIL = "webhook", "email"
VERSION = 1
TEST = "test"
_WORDS = {f"merge.{state}": state.value for state in MergeState} | {
    f"merge.{MergeState.ATTENTION}": "needs attention"
}


def channels() -> list[str]:
    """The channels that the settings name."""
    named = {WEBHOOK: settings.WEBHOOK_URL, EMAIL: settings.NOTIFY_EMAIL}
    return [channel for channel, target in named.items() if target]


def write(pk: int) -> None:
    """Put the notices of the state that this merge has just come to into the outbox, in the caller's
    transaction.
    """
    told = channels()
    if not told:
        return
    merge = Merge.objects.select_related("domain", "requested_by").get(pk=pk)
    if merge.state not in settings.NOTIFY_ON:
        return
    body = body_of(merge, timezone.now(), settings.PUBLIC_URL)
    Notice.objects.bulk_create(
        Notice(merge=merge, channel=channel, event=merge.state, body=body, due_at=Now())
        for channel in told
    )
    enqueue(NOTIFY, merge.domain.storage_host, pk)


def body_of(merge: Merge, at: datetime, public_url: str) -> dict[str, Any]:
    """What is told of a merge as it stands; the notice's `id` joins it when it is sent."""
    return {
        "version": VERSION, "event": f"merge.{merge.state}", "at": _iso(at),
        "merge": {
            "id": merge.pk, "url": f"{public_url}/merges/{merge.pk}/" if public_url else None,
            "disk": portable(merge.disk_name), "domain": portable(merge.domain.name),
            "base": portable(merge.base_text), "top": portable(merge.top_text),
            "strategy": merge.strategy, "state": merge.state, "message": portable(merge.message),
            "requested_by": merge.requested_by.get_username() if merge.requested_by else None,
            "requested_at": _iso(merge.requested_at), "started_at": _iso(merge.started_at),
            "finished_at": _iso(merge.finished_at),
            "bytes_done": merge.bytes_done, "bytes_total": merge.bytes_total,
        },
    }  # fmt: skip


def test_body(at: datetime) -> dict[str, Any]:
    """What `manage.py test_notice` tells: a body like any other, about no merge."""
    return {"version": VERSION, "id": 0, "event": TEST, "at": _iso(at), "merge": None}


def subject(body: dict[str, Any]) -> str:
    """The subject of a body's mail: one line, whatever the names hold."""
    merge = body["merge"]
    if merge is None:
        return "[Strata] test"
    return f"[Strata] merge {merge['id']} of {brief(merge['disk'], 80)}: {_WORDS[body['event']]}"


def text(body: dict[str, Any]) -> str:
    """A body as a mail says it."""
    merge = body["merge"]
    if merge is None:
        return "This is a test: mail from Strata arrives.\n"
    rows = {
        "Storage domain": merge["domain"], "Disk": merge["disk"],
        "Base": merge["base"], "Top": merge["top"], "Strategy": merge["strategy"],
        "Asked for by": merge["requested_by"] or "the command line",
        "Asked for": _clock(merge["requested_at"]), "Started": _clock(merge["started_at"]),
        "Ended": _clock(merge["finished_at"]),
        "Read and written": f"{binary(merge['bytes_done'])} of {binary(merge['bytes_total'])}",
    }  # fmt: skip
    return "\n\n".join(
        part
        for part in (
            f"Merge {merge['id']}: {_WORDS[body['event']]}.",
            display(merge["message"]),
            "\n".join(f"{name + ':':<18}{display(value)}" for name, value in rows.items()),
            merge["url"] or "",
        )
        if part
    )


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at is not None else None


def _clock(at: str | None) -> str:
    if at is None:
        return "–"
    return timezone.localtime(datetime.fromisoformat(at)).strftime("%Y-%m-%d %H:%M:%S %Z")
