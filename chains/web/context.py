"""What every page is given."""

from typing import Any

from django.http import HttpRequest

from chains import VERSION
from chains.permissions import Action, allows


def common(request: HttpRequest) -> dict[str, Any]:
    """The version, and what this person may do: a page shows no button that would be refused."""
    user = getattr(request, "user", None)
    return {
        "version": VERSION,
        "may_scan": allows(user, Action.SCAN),
        "may_merge": allows(user, Action.MERGE),
        "may_manage": allows(user, Action.MANAGE_DOMAINS),
    }
