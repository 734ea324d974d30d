"""The one Django app."""

from django.apps import AppConfig


class ChainsConfig(AppConfig):
    """Registers the system checks, and what records changes of people, when Django is up."""

    name = "chains"
    verbose_name = "Strata"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register what Django finds only when it is imported."""
        from chains import checks  # noqa: F401  the import registers them
        from chains.diagrams import tongue
        from chains.inventory import people
        from chains.words import prose

        people.connect()
        # Drawings are made for pages, in the language that is active then; for programs it is English.
        tongue.speak_with(prose.prose)
