"""The sockets: each follows one topic, for as long as its person may look."""

import asyncio
import contextlib
import json
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from chains.live.hub import ACTIVITY, AUDIT, LESSON, Message, Topic, hub, read
from chains.models import User
from chains.permissions import Action, allows

# A client that hears nothing for longer takes the socket for dead.
ALIVE_SECONDS = 15.0
# RFC 6455 leaves 4000–4999 to applications.
NOT_ALLOWED, NOT_FOUND = 4403, 4404


class TopicConsumer(AsyncWebsocketConsumer):
    """Sends the newest state of a topic, and a sign of life between."""

    topic: Topic = ACTIVITY
    pump: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Subscribe first, then send the row as it stands: nothing falls between."""
        self.newest: Message | None = None
        self.wake = asyncio.Event()
        await self.accept()
        if not await self._allowed():
            await self.close(code=NOT_ALLOWED)
            return
        first = await database_sync_to_async(read)(self.topic)
        if first is None:
            await self.close(code=NOT_FOUND)
            return
        await hub().subscribe(self.topic, self._offer)
        self.pump = asyncio.create_task(self._pump())

    async def disconnect(self, code: int) -> None:
        """Leave the hub."""
        hub().unsubscribe(self.topic, self._offer)
        if self.pump is not None:
            self.pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.pump

    async def _allowed(self) -> bool:
        """Asked of the database each time: a person can be shut out while the socket is open."""
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            return False
        fresh = await _reload(user.pk)
        return allows(fresh, Action.VIEW)

    def _offer(self, message: Message) -> None:
        self.newest = message
        self.wake.set()

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while True:
            # Not wait_for: before Python 3.12 it may swallow the cancellation of disconnect().
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_SECONDS):
                    await self.wake.wait()
            self.wake.clear()
            if loop.time() - checked >= ALIVE_SECONDS:
                checked = loop.time()
                if not await self._allowed():
                    await self.close(code=NOT_ALLOWED)
                    return
            message, self.newest = self.newest, None
            await self.send(text_data=json.dumps(message or {"type": "alive"}))

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        """Nothing is asked of a client, and nothing that it says is heeded."""


async def _reload(pk: int) -> User | None:
    found: User | None = await database_sync_to_async(User.objects.filter(pk=pk).first)()
    return found


class ActivityConsumer(TopicConsumer):
    """What runs, and what has just ended."""


class AuditConsumer(TopicConsumer):
    """Where the chain of the audit records stands."""

    topic = AUDIT


class MergeConsumer(TopicConsumer):
    """One merge."""

    async def connect(self) -> None:
        """The topic is in the address."""
        self.topic = f"merge:{self.scope['url_route']['kwargs']['pk']}"
        await super().connect()


class LessonConsumer(TopicConsumer):
    """The lesson of the person who listens: nobody else's."""

    async def connect(self) -> None:
        """Whose it is the session says."""
        self.topic = f"{LESSON}{getattr(self.scope.get('user'), 'pk', None) or 0}"
        await super().connect()


class NoSuchConsumer(AsyncWebsocketConsumer):
    """An address that leads nowhere."""

    async def connect(self) -> None:
        """Accepted first: a browser is told the code of a socket only when it was open."""
        await self.accept()
        await self.close(code=NOT_FOUND)
