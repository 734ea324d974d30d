"""What somebody typed into a form that was refused: it comes back with the reason, and nothing is lost.

Kept in the session until the page with the form is shown again: the form's answer is a redirect, so that
reloading the page sends nothing twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.http import HttpRequest

_KEY = "draft"


@dataclass(frozen=True)
class Draft:
    """The words of a form that was refused, and why; without words it is none."""

    words: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


def keep(request: HttpRequest, form: str, words: Mapping[str, str], why: str) -> None:
    """Remember what was typed into `form`, which names it and the row that it is about."""
    request.session[_KEY] = {"form": form, "words": dict(words), "why": why}


def take(request: HttpRequest, form: str) -> Draft:
    """What was typed into this form, once."""
    found = request.session.get(_KEY)
    if not found or found["form"] != form:
        return Draft()
    del request.session[_KEY]
    return Draft(found["words"], found["why"])
