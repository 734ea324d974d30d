"""Sockets against the whole ASGI application, and a merge to follow."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.db import connection
from django.test import Client

from chains.core.states import STEPS
from chains.models import Merge, MergeStep, StorageDomain
from project.asgi import application
from tests.web import samples

ORIGIN = b"http://localhost"
IN_TIME = 2.0


@pytest.fixture
def people(transactional_db, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return samples.people()


@pytest.fixture
def cookies(people):
    """The session cookie of each role."""
    found = {"anonymous": ""}
    for name, person in people.items():
        if person is not None:
            client = Client()
            client.force_login(person)
            found[name] = f"sessionid={client.cookies['sessionid'].value}"
    return found


@pytest.fixture
def merge(transactional_db):
    """A merge that waits; no storage is behind it."""
    domain = StorageDomain.objects.create(
        name="here", path="/nowhere", path_text="/nowhere", storage_host="here"
    )
    row = Merge.objects.create(
        domain=domain, disk_name="snap2.img", family="f", base_text="base.img", top_text="snap1.img",
        strategy="convert", plan={}, bytes_total=1000,
    )  # fmt: skip
    MergeStep.objects.bulk_create(
        MergeStep(merge=row, position=n, name=name.value) for n, name in enumerate(STEPS)
    )
    return row


class Socket:
    """A websocket of a browser, without the network. (channels.testing wants a server of its own.)"""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers,
                 "subprotocols": []}  # fmt: skip
        self.line = ApplicationCommunicator(application, scope)
        self.accepted = False

    async def open(self) -> None:
        await self.line.send_input({"type": "websocket.connect"})
        self.accepted = (await self.line.receive_output(5))["type"] == "websocket.accept"

    async def output(self, seconds: float = IN_TIME):
        return await self.line.receive_output(seconds)

    async def json(self, seconds: float = IN_TIME):
        """The next message."""
        output = await self.output(seconds)
        assert output["type"] == "websocket.send", output
        return json.loads(output["text"])

    async def until(self, wanted, seconds: float = IN_TIME):
        """The first message that is wanted; it fails when none comes in time."""
        while True:
            message = await self.json(seconds)
            if message["type"] != "alive" and wanted(message):
                return message

    async def closed(self, seconds: float = IN_TIME) -> int:
        """The code that the server closes it with."""
        while (output := await self.output(seconds))["type"] == "websocket.send":
            pass
        return output["code"]

    async def say(self, **what) -> None:
        await self.line.send_input({"type": "websocket.receive", **what})

    async def leave(self) -> None:
        if not self.line.future.done():
            await self.line.send_input({"type": "websocket.disconnect", "code": 1001})
            async with asyncio.timeout(IN_TIME):  # a consumer that stays would be a leak
                await self.line.future


@pytest.fixture
def listen(cookies):
    """Opens a socket as somebody; nothing has been received from it yet."""

    @asynccontextmanager
    async def open_socket(path, role="auditor", origin=ORIGIN):
        socket = Socket(path, [(b"origin", origin), (b"cookie", cookies[role].encode())])
        await socket.open()
        try:
            yield socket
        finally:
            await socket.leave()

    return open_socket


in_database = database_sync_to_async


def listeners() -> list[int]:
    """The backends that LISTEN in this database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        return [pid for (pid,) in cursor.fetchall()]


def terminate(pids: list[int]) -> None:
    with connection.cursor() as cursor:
        for pid in pids:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
