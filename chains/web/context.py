"""What every page is given."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from chains import VERSION
from chains.permissions import Action, allows
from chains.web.reader import zone_of


def common(request: HttpRequest) -> dict[str, Any]:
    """The version, the zone of the times, and what this person may do: a page shows no button that would be refused."""
    user = getattr(request, "user", None)
    return {
        "version": VERSION,
        # Not Django's tag: that would translate the names of the languages too.
        "languages": settings.LANGUAGES,
        "zone": zone_of(request),
        "zone_name": timezone.get_current_timezone_name(),
        # Maintenance windows are kept by workers, in the zone of the site.
        "site_zone": settings.TIME_ZONE,
        "may_scan": allows(user, Action.SCAN),
        "may_merge": allows(user, Action.MERGE),
        "may_manage": allows(user, Action.MANAGE_DOMAINS),
    }
