"""The fence: one worker at a time works on a disk family, whatever each of them believes.

A PostgreSQL advisory lock on a connection of its own. It is free the moment the worker or its
connection dies, so a free lock with an unfinished merge is an orphan (see recovery.py).
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable

import psycopg
from django.db import connection

SPACE = 7211  # the first key of the advisory lock, ours alone in this database
HEARTBEAT_SECONDS = 1.0
ANSWER_SECONDS = 10
# A host that dies, or is cut off, says no good-bye: the server frees its locks when it has not been heard
# of for so long. A worker that is merely cut off notices before, and has stopped its tool by then.
NOTICED = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=25000"
)


def key(family: str) -> int:
    """The lock's second key, a signed 32-bit number."""
    digest = hashlib.sha256(family.encode()).digest()
    return int.from_bytes(digest[:4], "big", signed=True)


def is_held(family: str) -> bool:
    """Whether some worker works on this family now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [SPACE, key(family)])
        row = cursor.fetchone()
        if row[0]:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [SPACE, key(family)])
    return not row[0]


@contextlib.asynccontextmanager
async def hold(
    conninfo: str, families: Iterable[str], on_loss: Callable[[], None]
) -> AsyncIterator[bool]:
    """Yields whether the fences are ours; calls `on_loss` if their connection dies while they are held.

    All of them or none: the connection that got only some of them is closed at once.
    """
    async with await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, options=NOTICED
    ) as held:
        for number in sorted({key(family) for family in families}):
            cursor = await held.execute("SELECT pg_try_advisory_lock(%s, %s)", [SPACE, number])
            row = await cursor.fetchone()
            if row is None or not row[0]:
                yield False
                return
        watch = asyncio.create_task(_watch(held, on_loss))
        try:
            yield True
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch


async def _watch(held: psycopg.AsyncConnection, on_loss: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await held.execute("SELECT 1")
        except (psycopg.Error, TimeoutError):
            on_loss()
            return


def conninfo() -> str:
    """How psycopg reaches the database that Django uses."""
    parameters = connection.get_connection_params()
    wanted = {
        "host",
        "port",
        "user",
        "password",
        "dbname",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
    }
    return psycopg.conninfo.make_conninfo(
        **{name: value for name, value in parameters.items() if name in wanted and value}
    )
