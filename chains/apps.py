"""The one Django app."""

from django.apps import AppConfig


class ChainsConfig(AppConfig):
    """Registers the system checks when Django is up."""

    name = "chains"
    verbose_name = "Strata"
    default_auto_field = "django.db.models.BigAutoField"
