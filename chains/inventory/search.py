"""Finding rows by a part of their names, as the trigram indexes can answer it."""

import re
from typing import Any

from django.db.models import BooleanField, F, Func, Value

LONGEST = 200
# Fewer letters than a trigram has are looked for where a name begins: no index knows them elsewhere.
_TRIGRAM = 3


def cleaned(text: str) -> str:
    """What somebody typed, as far as it is looked for."""
    return text.replace("\x00", "").strip()[:LONGEST]


def pattern(text: str) -> str:
    """The same for ILIKE: a short text stands at the beginning, a longer one anywhere."""
    literal = re.sub(r"([\\%_])", r"\\\1", text)
    return f"{literal}%" if len(text) < _TRIGRAM else f"%{literal}%"


def contains(column: str, text: str) -> Any:
    """Whether a column holds this text, however it is capitalized; a short one: begins with it."""
    # Django's icontains compares UPPER(column), which no index is made for.
    return Func(
        F(column), Value(pattern(text)), template="%(expressions)s", arg_joiner=" ILIKE ",
        output_field=BooleanField(),
    )  # fmt: skip
