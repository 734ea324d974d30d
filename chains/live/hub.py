"""One LISTEN connection a web process, and the hub that hands its news to the sockets.

A notification only names a row. The hub reads that row once, however many browsers watch it, and a
client keeps only the newest message: a slow one costs nothing and misses nothing, since every
message is the whole state. When the connection comes back, every client gets a fresh snapshot.
"""

import asyncio
import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psycopg
from channels.db import database_sync_to_async

from chains.inventory import audit, trail
from chains.inventory.news import CHANNEL
from chains.lessons.selectors import lesson_live
from chains.merges import fence
from chains.merges.selectors import activity_live, merge_live
from chains.models import Merge

logger = logging.getLogger(__name__)
Message = dict[str, Any]
Topic = str
ACTIVITY: Topic = "activity"
AUDIT: Topic = audit.NEWS
LISTS = frozenset({ACTIVITY, AUDIT})
LESSON: Topic = "lesson:"  # and the person whose lesson it is
# A burst of changes (a progress bar at ten a second) is one message to the lists.
ACTIVITY_GAP = 0.25
RETRY_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)


def read(topic: Topic) -> Message | None:
    """The whole state that a topic stands for; None when its row is gone."""
    if topic == ACTIVITY:
        return activity_live()
    if topic == AUDIT:
        return trail.message()
    if topic.startswith(LESSON):
        return lesson_live(int(topic.removeprefix(LESSON)))
    try:
        return merge_live(int(topic.removeprefix("merge:")))
    except Merge.DoesNotExist:
        return None


class Hub:
    """Topics and who listens to them; it runs while anybody does."""

    def __init__(self) -> None:
        self._clients: dict[Topic, set[Callable[[Message], None]]] = defaultdict(set)
        self._stale: set[Topic] = set()
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def subscribe(self, topic: Topic, client: Callable[[Message], None]) -> None:
        """From now on `client` is called with every new state; the listening is up on return."""
        self._clients[topic].add(client)
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._listen()),
                asyncio.create_task(self._deliver()),
            ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await self._up.wait()
        self._mark(topic)

    def unsubscribe(self, topic: Topic, client: Callable[[Message], None]) -> None:
        """Forget the client; the last one out closes the connection."""
        self._clients[topic].discard(client)
        if not self._clients[topic]:
            del self._clients[topic]
        if not self._clients:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            self._up.clear()

    def _mark(self, topic: Topic) -> None:
        if topic in self._clients:
            self._stale.add(topic)
            self._wake.set()

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                conninfo = await database_sync_to_async(fence.conninfo)()
                async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as link:
                    await link.execute(f"LISTEN {CHANNEL}")
                    failures = 0
                    self._up.set()
                    for topic in list(self._clients):
                        self._mark(topic)
                    async for notify in link.notifies():
                        self._take(notify.payload)
            except psycopg.Error as error:
                logger.warning(
                    "the live connection to the database was lost: %s", type(error).__name__
                )
            self._up.clear()
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    def _take(self, payload: str) -> None:
        news = json.loads(payload)
        if news["kind"] == audit.NEWS:
            self._mark(AUDIT)
            return
        topic = f"{news['kind']}:{news['id']}"
        self._mark(topic)
        if not topic.startswith(LESSON):  # it is no operation of the site's
            self._mark(ACTIVITY)

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        lists_at = dict.fromkeys(LISTS, 0.0)
        while True:
            await self._wake.wait()
            self._wake.clear()
            topics, self._stale = self._stale, set()
            for topic in topics & LISTS:
                if loop.time() < lists_at[topic]:
                    topics.discard(topic)
                    self._stale.add(topic)
                    loop.call_at(lists_at[topic], self._wake.set)
            for topic in topics:
                if topic in LISTS:
                    lists_at[topic] = loop.time() + ACTIVITY_GAP
                await self._hand_out(topic)

    async def _hand_out(self, topic: Topic) -> None:
        try:
            message = await database_sync_to_async(read)(topic)
        except Exception as error:  # the database is away: the next connection brings it anew
            logger.warning("the state of %s could not be read: %s", topic, type(error).__name__)
            asyncio.get_running_loop().call_later(1.0, self._mark, topic)
            return
        if message is not None:
            for client in list(self._clients.get(topic, ())):
                client(message)


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The hub of this process's event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs.clear()
        _hubs[loop] = Hub()
    return _hubs[loop]
