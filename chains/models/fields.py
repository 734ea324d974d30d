"""A database column for file names, which are bytes and need not be text."""

import os
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    # To the type checker it is what it is in Python: a str.
    _Stored = models.TextField
else:
    _Stored = models.BinaryField


class FileNameField(_Stored):
    """A file name or path, lossless: `bytea` in the database, `str` as os.fsdecode gives it in Python.

    PostgreSQL's text holds neither bytes that are not UTF-8 nor what Python makes of them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("editable", True)
        super().__init__(*args, **kwargs)

    def get_prep_value(self, value: Any) -> Any:
        """Bytes for the database."""
        return os.fsencode(value) if isinstance(value, str) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Bytes for the database, as psycopg wants them."""
        return super().get_db_prep_value(self.get_prep_value(value), connection, prepared)

    def from_db_value(self, value: Any, *_: Any) -> str | None:
        """The name as Python's file functions take it."""
        return None if value is None else os.fsdecode(bytes(value))

    def to_python(self, value: Any) -> Any:
        """The name as Python's file functions take it."""
        return os.fsdecode(bytes(value)) if isinstance(value, (bytes, memoryview)) else value

    def value_to_string(self, obj: models.Model) -> str:
        """Hexadecimal form for serializers."""
        return os.fsencode(str(self.value_from_object(obj))).hex()
