"""People and the record of what they did."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Role(models.TextChoices):
    """What a person may do; see chains/permissions.py."""

    AUDITOR = "auditor", "auditor"
    OPERATOR = "operator", "operator"
    ADMIN = "admin", "admin"


class User(AbstractUser):
    """A person who signs in, with one role."""

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
