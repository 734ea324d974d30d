"""Putting work into the queue of a storage host, in the caller's transaction."""

from django.db import transaction
from procrastinate import App
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import AlreadyEnqueued

SCAN = "chains.scan"
MERGE = "chains.merge"
PURGE = "chains.purge"
NOTIFY = "chains.notify"
LESSON = "chains.lesson"

# In a worker the shared app speaks over connections of its own: a job would be seen before the
# transaction that asks for it is committed. This one always speaks over Django's.
_app = App(connector=DjangoConnector())


def enqueue(task: str, storage_host: str, pk: int) -> None:
    """Queue a task by its name, once: a second request while it waits is the same request."""
    try:
        # A savepoint: the unique violation would poison the caller's transaction.
        with transaction.atomic():
            _app.configure_task(task, queue=storage_host, queueing_lock=f"{task}:{pk}").defer(pk=pk)
    except AlreadyEnqueued:
        pass
