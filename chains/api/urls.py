"""Addresses of the REST API. `schema/` is its OpenAPI document."""

from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, path

from chains.api import batches, inventory, lists, merging, scans, sprawl, trail, views

_ROUTES = {
    "schema/": (views.Schema, "api-schema"),
    "domains/": (views.Domains, "api-domains"),
    "domains/<int:pk>/": (views.Domain, "api-domain"),
    "domains/<int:pk>/scan/": (views.DomainScan, "api-domain-scan"),
    "domains/<int:pk>/history/": (inventory.DomainPast, "api-domain-history"),
    "domains/<int:pk>/thresholds/": (inventory.DomainThresholds, "api-domain-thresholds"),
    "domains/<int:pk>/schedule/": (inventory.DomainSchedule, "api-domain-schedule"),
    "thresholds/": (inventory.AllThresholds, "api-thresholds"),
    "domains/<int:pk>/policy/": (merging.DomainPolicy, "api-domain-policy"),
    "domains/<int:pk>/pause/": (merging.DomainPause, "api-domain-pause"),
    "domains/<int:pk>/resume/": (merging.DomainResume, "api-domain-resume"),
    "disks/": (lists.Disks, "api-disks"),
    "disks/<int:pk>/": (views.DiskDetail, "api-disk"),
    "disks/<int:pk>/reads/": (views.DiskReads, "api-disk-reads"),
    "volumes/": (lists.Volumes, "api-volumes"),
    "volumes/<int:pk>/": (views.VolumeDetail, "api-volume"),
    "volumes/<int:pk>/check/": (scans.VolumeCheck, "api-volume-check"),
    "scans/<int:pk>/": (scans.ScanDetail, "api-scan"),
    "scans/<int:pk>/cancel/": (scans.ScanCancel, "api-scan-cancel"),
    "findings/": (lists.Findings, "api-findings"),
    "findings/<int:pk>/acknowledge/": (lists.FindingAcknowledge, "api-finding-acknowledge"),
    "findings/<int:pk>/reopen/": (lists.FindingReopen, "api-finding-reopen"),
    "merges/": (views.Merges, "api-merges"),
    "merges/plan/": (merging.MergePlan, "api-merge-plan"),
    "merges/<int:pk>/": (views.MergeDetail, "api-merge"),
    "merges/<int:pk>/live/": (views.MergeLive, "api-merge-live"),
    "merges/<int:pk>/cancel/": (views.MergeCancel, "api-merge-cancel"),
    "merges/<int:pk>/resume/": (views.MergeResume, "api-merge-resume"),
    "merges/<int:pk>/undo/": (merging.MergeUndo, "api-merge-undo"),
    "merges/<int:pk>/purge/": (merging.MergePurge, "api-merge-purge"),
    "batches/": (batches.Batches, "api-batches"),
    "batches/plan/": (batches.BatchPlan, "api-batch-plan"),
    "batches/<int:pk>/": (batches.BatchDetail, "api-batch"),
    "batches/<int:pk>/cancel/": (batches.BatchCancel, "api-batch-cancel"),
    "audit/": (trail.Records, "api-audit"),
    "audit/head/": (trail.Head, "api-audit-head"),
    "sprawl/": (sprawl.Sprawl, "api-sprawl"),
    "activity/": (views.Activity, "api-activity"),
    "lesson/": (views.OwnLesson, "api-lesson"),
}

# The login middleware redirects to a page; the API answers for itself: ByRole is its rule, and 401.
urlpatterns: list[URLPattern] = [
    path(route, login_not_required(view.as_view()), name=name)
    for route, (view, name) in _ROUTES.items()
]
