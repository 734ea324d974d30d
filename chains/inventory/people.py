"""What happens to people and their tokens, recorded wherever it is done: page, command or script.

Who signs in, or tries to, is recorded with the address that it came from.
"""

from typing import Any, Final

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_delete, post_save, pre_save
from rest_framework.authtoken.models import Token

from chains.inventory import audit
from chains.inventory.audit import Result
from chains.models import User

# Of these the record tells the value; of what is personal only that it has changed.
_TOLD: Final = ("username", "role", "is_active", "is_staff", "is_superuser")
_PERSONAL: Final = ("first_name", "last_name", "email", "password")
# Written by Django itself when somebody signs in: the moment, and the hash in a newer format.
_BY_DJANGO: Final = (frozenset({"last_login"}), frozenset({"password"}))
_BEFORE = "_audited_before"


def connect() -> None:
    """Listen from now on; again is once."""
    pre_save.connect(_look, User, dispatch_uid="audit")
    post_save.connect(_person_saved, User, dispatch_uid="audit")
    post_delete.connect(_person_deleted, User, dispatch_uid="audit")
    post_save.connect(_token_saved, Token, dispatch_uid="audit")
    post_delete.connect(_token_deleted, Token, dispatch_uid="audit")
    user_logged_in.connect(_signed_in, dispatch_uid="audit")
    user_logged_out.connect(_signed_out, dispatch_uid="audit")
    user_login_failed.connect(_refused, dispatch_uid="audit")


def _record(action: str, subject: str, **details: Any) -> None:
    """By whom this request or process acts for."""
    acting = audit.acting.get()
    who = acting.who()
    audit.record(who if isinstance(who, User) else None, acting.origin, action, subject, **details)


def _look(instance: User, **kwargs: Any) -> None:
    setattr(instance, _BEFORE, User.objects.filter(pk=instance.pk).first())


def _person_saved(
    instance: User, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    if update_fields in _BY_DJANGO:
        return
    before = getattr(instance, _BEFORE, None)
    if created or before is None:
        facts = {name: getattr(instance, name) for name in _TOLD}
        _record("add person", instance.get_username(), person=instance.pk, **facts)
        return
    changes: dict[str, Any] = {
        name: [getattr(before, name), getattr(instance, name)]
        for name in _TOLD if getattr(before, name) != getattr(instance, name)
    }  # fmt: skip
    personal = [name for name in _PERSONAL if getattr(before, name) != getattr(instance, name)]
    if personal:
        changes["changed"] = personal
    if changes:
        _record("change person", before.get_username(), person=instance.pk, **changes)


def _person_deleted(instance: User, **kwargs: Any) -> None:
    _record("remove person", instance.get_username(), role=instance.role)


def _token_saved(instance: Token, created: bool, **kwargs: Any) -> None:
    if created:
        _record("add token", instance.user.get_username(), person=instance.user_id)


def _token_deleted(instance: Token, **kwargs: Any) -> None:
    _record("remove token", instance.user.get_username(), person=instance.user_id)


def _origin(request: Any) -> str:
    return audit.acting.get().origin if request is None else audit.origin_of(request.META)


def _signed_in(request: Any, user: User, **kwargs: Any) -> None:
    audit.record(user, _origin(request), "sign in", user.get_username(), role=user.role)


def _signed_out(request: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        audit.record(user, _origin(request), "sign out", user.get_username())


def _refused(credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
    """The name as it was typed, and never the password; whether there is such a person is not told."""
    name = str(credentials.get("username") or "")
    audit.record(name, _origin(request), "sign in", name, Result.REFUSED)
