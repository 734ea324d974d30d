"""The audit trail: who did what, from where, with which plan and result; and each record by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from chains.inventory import exports, lists, paging, trail
from chains.models import Batch, Disk, Finding, Merge, Scan, StorageDomain, User, Volume
from chains.permissions import Action
from chains.web.downloads import download, wanted
from chains.web.guard import needs
from chains.words.numbers import duration, signed_binary

# How many names the field of the person proposes.
PROPOSED = 200
ACTION_WORDS: Final = {
    "sign in": _("sign in"), "sign out": _("sign out"), "add person": _("add person"),
    "change person": _("change person"), "remove person": _("remove person"),
    "add token": _("add token"), "remove token": _("remove token"), "add domain": _("add domain"),
    "change domain": _("change domain"), "remove domain": _("remove domain"),
    "change thresholds": _("change thresholds"), "scan": _("scan"), "cancel scan": _("cancel scan"),
    "block map": _("block map"), "cancel block map": _("cancel block map"), "check": _("check"),
    "cancel check": _("cancel check"), "acknowledge finding": _("acknowledge finding"),
    "reopen finding": _("reopen finding"), "merge": _("merge"), "cancel merge": _("cancel merge"),
    "resume merge": _("resume merge"), "undo merge": _("undo merge"), "purge": _("purge"),
    "batch": _("batch"), "cancel batch": _("cancel batch"), "pause queue": _("pause queue"),
    "resume queue": _("resume queue"), "lesson": _("lesson"),
    "start lesson over": _("start lesson over"),
}  # fmt: skip
RESULT_WORDS: Final = {
    "done": _("done"), "asked": _("asked for"), "started": _("started"),
    "succeeded": _("succeeded"), "failed": _("failed"), "cancelled": _("cancelled"),
    "attention": _("needs attention"), "refused": _("refused"),
}  # fmt: skip
_TONES: Final = {
    "succeeded": "ok", "done": "ok", "failed": "critical", "refused": "critical",
    "attention": "warning", "asked": "accent", "started": "accent",
}  # fmt: skip
_FACTS: Final = {
    "account": _("Account on the machine"), "after": _("After"), "asked_by": _("Asked for by"),
    "base": _("Base"), "before": _("Before"), "bytes": _("Bytes"), "bytes_done": _("Copied and compared"),
    "bytes_to_copy": _("To copy"), "changed": _("Changed"), "commands": _("Commands"),
    "digest": _("Digest of the plan"), "domain_name": _("Domain"), "grown": _("Grown by"),
    "is_active": _("Active"), "is_staff": _("Staff"), "is_superuser": _("Superuser"),
    "keep": _("Keeps old layers"), "keep_seconds": _("Keeps old layers for"), "kind": _("Kind"),
    "layers": _("Layers, top first"), "left_out": _("Left out"), "merges": _("Merges"),
    "merges_at_once": _("Merges at once"), "message": _("Message"), "name": _("Name"),
    "options": _("Options"), "path": _("Path"), "plan": _("Plan"), "plans": _("Plans"),
    "profile": _("Profile"), "rate": _("At most, a second"), "read": _("Read"),
    "read_only": _("Read-only"), "reason": _("Reason"), "removes": _("Removes"),
    "restore_points": _("Restore points that vanish"), "role": _("Role"),
    "scan_every": _("Scanned every"), "scope": _("Scope"), "seconds": _("Took"),
    "space_needed": _("Needed at the peak"), "space_won": _("Won at the end"), "started": _("Started"),
    "storage_host": _("Storage host"), "strategy": _("Strategy"), "top": _("Top"),
    "undo": _("Undo"), "until": _("Until"), "username": _("User name"),
    "verification": _("Verification"), "window": _("Maintenance window"), "worker": _("Worker"),
    "written": _("Written"),
}  # fmt: skip
_BYTES: Final = frozenset({
    "bytes", "bytes_done", "bytes_to_copy", "space_needed", "space_won", "read", "written", "grown",
    "rate",
})  # fmt: skip
_SECONDS: Final = frozenset({"seconds", "keep_seconds"})
# What a record refers to: the address of its page, and where it is looked up.
_PLACES: Final[dict[str, tuple[str, type[Model], str, Any]]] = {
    "domain": ("domain", StorageDomain, "name", _("Domain")), "disk": ("disk", Disk, "name", _("Disk")),
    "volume": ("volume", Volume, "path_text", _("Volume")), "merge": ("merge", Merge, "pk", _("Merge")),
    "undo": ("merge", Merge, "pk", _("Merge that undoes it")), "batch": ("batch", Batch, "pk", _("Batch")),
    "finding": ("finding", Finding, "code", _("Finding")), "scan": ("", Scan, "pk", _("Scan")),
    "person": ("", User, "username", _("Person")),
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One detail: a text, or more lines, or facts in it."""

    word: Any
    text: str = ""
    lines: list[str] = field(default_factory=list)
    facts: list["Fact"] = field(default_factory=list)
    commands: bool = False


@dataclass(frozen=True)
class Place:
    """What a record refers to; `url` is the name of its page's address, "" where it has none."""

    word: Any
    pk: int
    name: str
    url: str
    gone: bool


@require_safe
@needs(Action.VIEW)
def records(request: HttpRequest) -> HttpResponseBase:
    """Who did what, the newest first."""
    asked = lists.RecordFilter.from_words(request.GET)
    rows, order = asked.rows(), lists.LATEST_FIRST
    if kind := wanted(request):
        parts = paging.walk(trail.with_texts(rows), order)
        return download(
            request, "audit", kind, exports.written(kind, parts, exports.record_columns(kind))
        )
    page = paging.first_page_if_wrong(rows, order, request.GET.get("cursor", ""))
    count, head = trail.head()
    stored = None if asked.is_set else count
    context = {
        # It has one order and one length: its addresses say nothing of them.
        "sort": None, "table": {"rows_word": None},
        "page": page, "asked": asked, "total": lists.total_of(page, rows, order, asked, stored),
        "rows": [_row(row) for row in page.rows], "count": count, "head": head,
        "actions": ACTION_WORDS.items(), "results": RESULT_WORDS.items(),
        "people": User.objects.order_by("username").values_list("username", flat=True)[:PROPOSED],
        "days": {name: request.GET.get(name, "").strip()[:10] for name in ("from", "to")},
    }  # fmt: skip
    return render(request, "web/audit.html", context)


@require_safe
@needs(Action.VIEW)
def record(request: HttpRequest, pk: int) -> HttpResponse:
    """One record: its details in words, what it refers to, and whether it fits its seal."""
    found = get_object_or_404(trail.records(), pk=pk)
    context = _row(found) | {
        "facts": list(_facts(found.details)), "places": list(_places(found.details)),
        "seal": getattr(found, "seal", None), "fits": trail.fits(found),
    }  # fmt: skip
    return render(request, "web/audit_record.html", context)


def _row(row: Any) -> dict[str, Any]:
    tone = _TONES.get(row.result, "")
    return {
        "record": row, "action": ACTION_WORDS.get(row.action, row.action),
        "result": RESULT_WORDS.get(row.result, row.result),
        "tone": f"badge badge-{tone}" if tone else "badge",
    }  # fmt: skip


def _places(details: Mapping[str, Any]) -> Iterator[Place]:
    for name, (url, model, called, word) in _PLACES.items():
        pk = details.get(name)
        if type(pk) is not int:
            continue
        found = model._default_manager.filter(pk=pk).values_list(called, flat=True).first()
        known = str(details.get(f"{name}_name") or pk) if found is None else str(found)
        yield Place(word, pk, known, "" if found is None else url, found is None)


def _facts(details: Mapping[str, Any]) -> Iterator[Fact]:
    for name, value in sorted(details.items(), key=_weight):
        refers = name == "domain_name" or (name in _PLACES and type(value) is int)
        if refers or value is None or value in ("", []):
            continue
        word = _FACTS.get(name, name.replace("_", " "))
        if isinstance(value, Mapping):
            yield Fact(word, facts=list(_facts(value)))
        elif isinstance(value, list) and _is_change(name, value):
            yield Fact(word, f"{_text(name, value[0]) or '–'} → {_text(name, value[1]) or '–'}")
        elif isinstance(value, list):
            yield Fact(word, lines=[_text("", v) for v in value], commands=name == "commands")
        else:
            yield Fact(word, _text(name, value))


def _weight(detail: tuple[str, Any]) -> int:
    """What is short comes first."""
    name, value = detail
    return 3 if name == "commands" else 2 if isinstance(value, Mapping) else isinstance(value, list)


def _is_change(name: str, value: list[Any]) -> bool:
    """Whether a pair is what was before and what came after."""
    known = name not in {"layers", "removes", "commands", "changed"}
    return known and len(value) == 2 and not any(isinstance(v, list | dict) for v in value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    if isinstance(value, int | float) and name in _BYTES:
        return signed_binary(int(value))
    if isinstance(value, int | float) and name in _SECONDS:
        return duration(value) if value or name != "keep_seconds" else str(_("not at all"))
    return str(value)
