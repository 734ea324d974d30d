"""The API asks the one permission rule."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from chains.permissions import Action, allows


class ByRole(BasePermission):
    """A view names the action of each method in `actions`; a method that it does not name is for nobody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Reading needs VIEW unless the view says otherwise."""
        named: dict[str, Action] = getattr(view, "actions", {})
        method = request.method or ""
        if method in {"GET", "HEAD", "OPTIONS"}:
            return allows(request.user, named.get("GET", Action.VIEW))
        return method in named and allows(request.user, named[method])
