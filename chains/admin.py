"""Django's admin: people and storage domains, for those who manage them."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from chains.models import AuditRecord, StorageDomain, User
from chains.permissions import Action, allows


@admin.register(User)
class PeopleAdmin(UserAdmin):
    """People and their roles."""

    list_display = ("username", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active", "is_staff")}),
        ("Personal", {"fields": ("first_name", "last_name", "email")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "password1", "password2", "role", "is_staff")}),
    )

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The one rule decides, not Django's table of permissions."""
        return allows(request.user, Action.MANAGE_PEOPLE)

    has_view_permission = has_add_permission = has_change_permission = has_delete_permission = (
        lambda self, request, obj=None: allows(request.user, Action.MANAGE_PEOPLE)
    )


@admin.register(StorageDomain)
class DomainAdmin(admin.ModelAdmin):
    """Storage domains; they are added by `manage.py add_domain`, which looks at the path first."""

    list_display = ("name", "kind", "path_text", "storage_host", "read_only")
    fields = ("name", "kind", "path_text", "storage_host", "read_only")
    readonly_fields = ("kind", "path_text")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Not here."""
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The one rule decides."""
        return allows(request.user, Action.MANAGE_DOMAINS)

    has_view_permission = has_change_permission = has_delete_permission = (
        lambda self, request, obj=None: allows(request.user, Action.MANAGE_DOMAINS)
    )


@admin.register(AuditRecord)
class AuditAdmin(admin.ModelAdmin):
    """Who did what: to read, never to change."""

    list_display = ("at", "actor", "origin", "action", "subject")
    list_filter = ("action",)
    search_fields = ("actor", "subject")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whoever may look may look at this."""
        return allows(request.user, Action.VIEW)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may look may look at this."""
        return allows(request.user, Action.VIEW)

    has_add_permission = has_change_permission = has_delete_permission = (
        lambda self, request, obj=None: False
    )
