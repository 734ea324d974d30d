"""What the lower parts wrote in English, in the reader's language."""

from django.utils.translation import get_language


def prose(text: object) -> str:
    """The text in the reader's language; as it is where nothing is known of it."""
    written = str(text)
    if (get_language() or "en").startswith("en"):
        return written
    return written
