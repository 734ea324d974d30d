"""Calling what blocks from the event loop."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
T = TypeVar("T")


async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Storage may hang: it is never touched on the event loop."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def db(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Django's database calls, on a connection that outlives a restart of the server."""
    return await database_sync_to_async(function)(*args, **kwargs)
