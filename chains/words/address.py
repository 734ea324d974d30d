"""Where the browser finds the words of the scripts: an address that changes with them."""

import hashlib
from functools import cache
from pathlib import Path

from django.conf import settings
from django.urls import reverse
from django.utils.translation import get_language

DOMAIN = "djangojs"


def spoken() -> str:
    """The reader's language, one of those that there are."""
    language = get_language() or settings.LANGUAGE_CODE
    return language if language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


@cache
def version(language: str) -> str:
    """What tells one edition of the words from another."""
    known = hashlib.sha256()
    for folder in settings.LOCALE_PATHS:
        file = Path(folder, language, "LC_MESSAGES", f"{DOMAIN}.mo")
        known.update(file.read_bytes() if file.exists() else b"")
    return known.hexdigest()[:12]


def words_address() -> str:
    """With the language in it: what a browser has kept is never of another one."""
    language = spoken()
    return reverse("words", args=[language, version(language)])
