"""Who may ask for what: the answers that every service of the inventory gives."""

from chains.core.errors import StrataError
from chains.models import User
from chains.permissions import Action, allows


class BadRequestError(StrataError):
    """What was asked makes no sense, whoever asks."""


class NotAllowedError(StrataError):
    """The person's role does not include what was asked."""


def check(user: User | None, action: Action) -> None:
    """Raises NotAllowedError; None is the command line, which owns the machine."""
    if user is not None and not allows(user, action):
        raise NotAllowedError(f"Your role ({user.get_role_display()}) may not {action.value}.")
