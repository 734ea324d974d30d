"""People and the record of what they did."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models


class Role(models.TextChoices):
    """What a person may do; see chains/permissions.py."""

    AUDITOR = "auditor", "auditor"
    OPERATOR = "operator", "operator"
    ADMIN = "admin", "admin"


class People(UserManager["User"]):
    """Makes people; a superuser is an admin, or two rules would speak of one person."""

    def create_superuser(
        self,
        username: str,
        email: str | None = None,
        password: str | None = None,
        **extra_fields: Any,
    ) -> "User":
        """For `manage.py createsuperuser`."""
        extra_fields.setdefault("role", Role.ADMIN)
        return super().create_superuser(username, email, password, **extra_fields)


class User(AbstractUser):
    """A person who signs in, with one role."""

    objects: ClassVar[People] = People()

    role = models.CharField(max_length=16, choices=Role.choices, default=Role.AUDITOR)


class AuditRecord(models.Model):
    """Who did what, when, from where, with which plan. Written once, never changed."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=150)
    origin = models.CharField(
        max_length=64, help_text="the address of the browser, or «command line»"
    )
    action = models.CharField(max_length=64)
    subject = models.TextField()
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.action} {self.subject}"
