"""The addresses of the sockets."""

from django.urls import path

from chains.live.consumers import ActivityConsumer, MergeConsumer

websocket_urlpatterns = [
    path("ws/activity/", ActivityConsumer.as_asgi()),
    path("ws/merges/<int:pk>/", MergeConsumer.as_asgi()),
]
