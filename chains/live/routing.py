"""The addresses of the sockets."""

from typing import Any, cast

from django.urls import path

from chains.live.consumers import ActivityConsumer, MergeConsumer

# channels routes applications through Django's `path`, whose type knows only views.
websocket_urlpatterns: list[Any] = [
    path("ws/activity/", cast(Any, ActivityConsumer.as_asgi())),
    path("ws/merges/<int:pk>/", cast(Any, MergeConsumer.as_asgi())),
]
