"""What a domain allows its merges: how long old layers are kept, how many at once, when, how fast."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from chains.core import windows
from chains.core.errors import StrataError
from chains.core.units import binary, parse_seconds, span
from chains.inventory import audit
from chains.inventory.asking import BadRequestError, check
from chains.merges import queue
from chains.merges.options import check_rate, parse_rate
from chains.models import StorageDomain, User
from chains.permissions import Action

LONGEST_KEEP = 366 * 86_400
MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Policy:
    """Seconds, a count, a window as people write it ("" is always), bytes a second (None is no limit)."""

    keep_seconds: int
    merges_at_once: int
    window: str
    rate: int | None

    @classmethod
    def of(cls, domain: StorageDomain) -> "Policy":
        """The domain's own."""
        return cls(domain.keep_seconds, domain.merges_at_once, domain.window, domain.rate)

    @classmethod
    def from_words(cls, words: dict[str, str], now: "Policy") -> "Policy":
        """Read what a form or a command line says; what is not said stays. Raises BadRequestError."""
        try:
            keep = parse_seconds(words["keep"]) if words.get("keep") else now.keep_seconds
            rate = parse_rate(words["rate"]) or None if "rate" in words else now.rate
            at_once = words.get("merges_at_once", "").strip() or str(now.merges_at_once)
            if not (at_once.isascii() and at_once.isdecimal() and len(at_once) < 6):
                raise BadRequestError("Merges at once is a whole number.")
            return cls(keep, int(at_once), words.get("window", now.window).strip(), rate)
        except BadRequestError:
            raise
        except StrataError as error:
            raise BadRequestError(str(error)) from None

    def to_words(self) -> dict[str, str]:
        """As `from_words` reads it."""
        return {
            "keep": span(self.keep_seconds), "merges_at_once": str(self.merges_at_once),
            "window": self.window, "rate": f"{binary(self.rate)}/s" if self.rate else "",
        }  # fmt: skip

    def check(self) -> None:
        """Raises BadRequestError, saying what would do."""
        if not 0 <= self.keep_seconds <= LONGEST_KEEP:
            raise BadRequestError("Old layers are kept for 0 (not at all) up to 366 days.")
        if not 1 <= self.merges_at_once <= MOST_AT_ONCE:
            raise BadRequestError(f"Merges at once are 1 to {MOST_AT_ONCE}.")
        if len(self.window) > 200:
            raise BadRequestError("A maintenance window has at most 200 characters.")
        try:
            check_rate(self.rate or 0)
            windows.parse(self.window)
        except StrataError as error:
            raise BadRequestError(str(error)) from None


def set_policy(domain: StorageDomain, policy: Policy, user: User | None, origin: str) -> None:
    """Change it; raises NotAllowedError, BadRequestError. Merges that run go on as they began."""
    check(user, Action.MANAGE_DOMAINS)
    policy.check()
    before = Policy.of(domain)
    values: dict[str, Any] = dict(policy.__dict__)
    with transaction.atomic():
        StorageDomain.objects.filter(pk=domain.pk).update(**values)
        audit.record(user, origin, "change domain", domain.name, domain=domain.pk,
                     before=before.to_words(), after=policy.to_words())  # fmt: skip
    domain.refresh_from_db()
    queue.moved_up(domain.pk)


def set_paused(domain: StorageDomain, paused: bool, user: User | None, origin: str) -> None:
    """Let no queued merge of the domain start, or let them again; raises NotAllowedError."""
    check(user, Action.MERGE)
    with transaction.atomic():
        StorageDomain.objects.filter(pk=domain.pk).update(paused=paused)
        audit.record(user, origin, "pause queue" if paused else "resume queue", domain.name,
                     domain=domain.pk)  # fmt: skip
    domain.refresh_from_db()
    queue.moved_up(domain.pk)
