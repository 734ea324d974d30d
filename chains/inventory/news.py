"""News of a change, sent in the transaction that makes it: PostgreSQL delivers it at commit."""

import json

from django.db import connection

CHANNEL = "strata"


def publish(kind: str, pk: int, seq: int) -> None:
    """Tell every web process that row `pk` of this kind now stands at `seq`."""
    payload = json.dumps({"kind": kind, "id": pk, "seq": seq})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


def next_activity_seq() -> int:
    """A number that never runs backwards, whichever process asks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('chains_activity_seq')")
        row = cursor.fetchone()
    return int(row[0])


def let_go() -> None:
    """Give this thread's connection back, if it is in no transaction: before something that may take for
    ever, like storage that hangs. The next query takes another.
    """
    if not connection.in_atomic_block:
        connection.close()
