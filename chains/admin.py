"""Django's admin: people and storage domains, for those who manage them."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chains.core.states import UNFINISHED, Kept
from chains.inventory import audit
from chains.models import AuditRecord, StorageDomain, User
from chains.permissions import Action, allows

admin.site.site_header = admin.site.site_title = "Strata"
admin.site.index_title = _("People and storage domains")
# Roles stand on the person; groups have no meaning here.
admin.site.unregister(Group)


def _record(request: HttpRequest, action: str, subject: str, **details: Any) -> None:
    user = request.user
    assert isinstance(user, User)
    audit.record(user, audit.origin_of(request.META), action, subject, **details)


@admin.register(User)
class PeopleAdmin(UserAdmin):
    """People and their roles."""

    list_display = ("username", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active", "is_staff")}),
        (_("Personal"), {"fields": ("first_name", "last_name", "email")}),
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

    list_display = ("name", "datacenter", "kind", "path_text", "storage_host", "read_only")
    list_filter = ("datacenter",)
    fields = ("name", "datacenter", "kind", "path_text", "storage_host", "read_only")
    readonly_fields = ("kind", "path_text")
    actions = None  # a domain is deleted on its own page, which knows of its merges

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """With its record, in the transaction that the admin holds."""
        before = StorageDomain.objects.get(pk=obj.pk)
        super().save_model(request, obj, form, change)
        told = {
            name: [getattr(before, name), getattr(obj, name)]
            for name in ("name", "read_only", "storage_host") if name in form.changed_data
        }  # fmt: skip
        if told:
            _record(request, "change domain", before.name, domain=obj.pk, **told)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """With its record; merges, scans and the inventory of it go, the records of them stay."""
        facts = {"kind": obj.kind, "path": obj.path_text, "merges": obj.merges.count()}
        _record(request, "remove domain", obj.name, domain=obj.pk, **facts)
        super().delete_model(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Not here."""
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The one rule decides."""
        return allows(request.user, Action.MANAGE_DOMAINS)

    has_view_permission = has_change_permission = lambda self, request, obj=None: allows(
        request.user, Action.MANAGE_DOMAINS
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not while a merge of its disks is unfinished or keeps old layers aside: its journal would go
        with it.
        """
        open_ = Q(state__in=[state.value for state in UNFINISHED])
        open_ |= Q(kept__in=[Kept.KEPT.value, Kept.UNDOING.value, Kept.PURGING.value])
        busy = obj is not None and obj.merges.filter(open_).exists()
        return allows(request.user, Action.MANAGE_DOMAINS) and not busy


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
