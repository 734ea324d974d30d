"""The addresses of the sockets."""

from typing import Any, cast

from django.urls import path, re_path

from chains.live.consumers import (
    ActivityConsumer,
    AuditConsumer,
    LessonConsumer,
    MergeConsumer,
    NoSuchConsumer,
)

# channels routes applications through Django's `path`, whose type knows only views.
websocket_urlpatterns: list[Any] = [
    path("ws/activity/", cast(Any, ActivityConsumer.as_asgi())),
    path("ws/audit/", cast(Any, AuditConsumer.as_asgi())),
    path("ws/merges/<int:pk>/", cast(Any, MergeConsumer.as_asgi())),
    path("ws/lesson/", cast(Any, LessonConsumer.as_asgi())),
    re_path("", cast(Any, NoSuchConsumer.as_asgi())),
]
