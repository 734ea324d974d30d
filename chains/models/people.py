"""People and the record of what they did."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.postgres.indexes import GinIndex
from django.db import models, transaction
from django.db.models.functions import Now


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

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Together with the audit record that the change is worth, or not at all."""
        with transaction.atomic():
            super().save(*args, **kwargs)


class AuditRecord(models.Model):
    """Who did what, when, from where, with which plan and result.

    Written once: triggers of the database refuse every change, and seal each record at its commit.
    """

    at = models.DateTimeField(db_default=Now(), help_text="by the database's clock")
    actor = models.CharField(max_length=150)
    origin = models.CharField(
        max_length=64, help_text="the address of the browser, «command line» or «worker»"
    )
    action = models.CharField(max_length=64)
    subject = models.TextField()
    result = models.CharField(max_length=16, blank=True, help_text="one of inventory.audit.Result")
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["at", "id"], name="audit_by_time"),
            models.Index(fields=["actor", "at", "id"], name="audit_by_actor"),
            models.Index(fields=["action", "at", "id"], name="audit_by_action"),
            models.Index(fields=["origin", "at", "id"], name="audit_by_origin"),
            models.Index(fields=["result", "at", "id"], name="audit_by_result"),
            GinIndex(fields=["subject"], name="audit_words", opclasses=["gin_trgm_ops"]),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.action} {self.subject}"


class AuditSeal(models.Model):
    """One link of the chain over the audit records: written by the database alone, at each commit.

    `hash` is over the record, `sealed_at` and `previous`: core/seals.py says how. Numbers have no gaps.
    """

    seq = models.BigIntegerField(primary_key=True)
    record = models.OneToOneField(
        AuditRecord, on_delete=models.DO_NOTHING, db_constraint=False, related_name="seal"
    )
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    sealed_at = models.DateTimeField()

    class Meta:
        ordering = ["seq"]

    def __str__(self) -> str:
        return f"seal {self.seq} of record {self.record_id}"
