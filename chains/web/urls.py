"""Addresses of the pages."""

from django.urls import path

from chains.web import views

urlpatterns = [
    path("", views.domains, name="domains"),
    path("domains/<int:pk>/", views.domain, name="domain"),
    path("domains/<int:pk>/scan/", views.domain_scan, name="domain-scan"),
    path("volumes/<int:pk>/", views.volume, name="volume"),
    path("disks/<int:pk>/", views.disk, name="disk"),
    path("disks/<int:pk>/merge/", views.merge_plan, name="merge-plan"),
    path("merges/<int:pk>/", views.merge, name="merge"),
    path("merges/<int:pk>/cancel/", views.merge_cancel, name="merge-cancel"),
    path("merges/<int:pk>/resume/", views.merge_resume, name="merge-resume"),
    path("activity/", views.activity, name="activity"),
]
