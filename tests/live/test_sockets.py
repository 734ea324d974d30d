"""The sockets: the state as it stands, every change after it, and nobody who may not look."""

import asyncio
import threading
import time

import pytest
from django.db import connections

from chains.core.progress import Progress
from chains.core.states import MergeState
from chains.inventory import audit, scanning, trail
from chains.inventory import services as inventory
from chains.lessons import services as lessons
from chains.live import consumers
from chains.live.routing import websocket_urlpatterns
from chains.merges import journal
from chains.models import Merge, User
from tests.live.conftest import in_database, listeners, terminate
from tests.state import changed, table_state

# Every socket with who may open it: anonymous, auditor, operator, admin.
SOCKETS = {
    "ws/activity/": (False, True, True, True),
    "ws/merges/<int:pk>/": (False, True, True, True),
    "ws/audit/": (False, True, True, True),
    "ws/lesson/": (False, True, True, True),
}
ROLES = ("anonymous", "auditor", "operator", "admin")


def address(route, merge):
    return "/" + route.replace("<int:pk>", str(merge.pk))


def test_every_socket_is_in_the_table():
    assert {str(route.pattern) for route in websocket_urlpatterns} == {*SOCKETS, ""}


async def test_an_address_that_leads_nowhere(listen, merge):
    async with listen("/ws/nope/") as socket:
        assert await socket.closed() == consumers.NOT_FOUND


@pytest.mark.parametrize("route", SOCKETS)
@pytest.mark.parametrize("role", ROLES)
async def test_who_may_listen(route, role, merge, listen):
    async with listen(address(route, merge), role) as socket:
        if SOCKETS[route][ROLES.index(role)]:
            assert (await socket.json())["type"] in {"merge", "activity", "audit", "lesson"}
        else:
            assert await socket.closed() == consumers.NOT_ALLOWED


@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b""])
async def test_a_page_of_another_site_may_not_listen(origin, merge, listen):
    async with listen("/ws/activity/", origin=origin) as socket:
        assert not socket.accepted


async def test_a_merge_that_is_not_there(merge, listen):
    async with listen("/ws/merges/987654321/") as socket:
        assert await socket.closed() == consumers.NOT_FOUND


async def test_the_first_message_is_the_row_as_it_stands(merge, listen):
    await in_database(journal.set_state)(merge.pk, MergeState.RUNNING)
    await in_database(journal.report)(merge.pk, Progress(420, 1000, 42.0, 7.0, 80.0))
    async with listen(f"/ws/merges/{merge.pk}/") as socket:
        first = await socket.json()
    assert (first["type"], first["id"], first["seq"]) == ("merge", merge.pk, 2)
    assert (first["state"], first["percent"], first["bytes_done"]) == ("running", 42.0, 420)
    assert (first["throughput"], first["seconds_left"]) == (7.0, 80.0)
    assert [step["name"] for step in first["steps"]] == [
        "preflight", "copy", "verify", "switch", "remove",
    ]  # fmt: skip
    assert not first["finished"]


async def test_a_change_is_delivered_to_everybody(merge, listen):
    path = f"/ws/merges/{merge.pk}/"
    async with (
        listen(path) as one,
        listen(path, "operator") as two,
        listen("/ws/activity/") as all_,
    ):
        for socket in (one, two, all_):
            await socket.json()
        begun = time.monotonic()
        await in_database(journal.set_state)(merge.pk, MergeState.RUNNING)
        for socket in (one, two):
            assert (await socket.until(lambda m: m["state"] == "running"))["seq"] == 1
        assert time.monotonic() - begun < 1.0
        news = await all_.until(lambda m: m["operations"][0]["state"] == "running")
        assert news["operations"][0]["url"] == f"/merges/{merge.pk}/"
        assert len(await in_database(listeners)()) == 1, "one connection however many sockets"
    for _ in range(40):
        if not await in_database(listeners)():
            break
        await asyncio.sleep(0.05)
    assert not await in_database(listeners)(), "the last one out closes it"


def apart(work):
    """As another process would: on a connection and in a thread of its own."""
    try:
        work()
    finally:
        connections.close_all()


async def test_a_burst_never_runs_backwards_and_ends_with_the_end(merge, listen):
    await in_database(journal.set_state)(merge.pk, MergeState.RUNNING)

    def work():
        for done in range(1, 200):
            journal.report(merge.pk, Progress(done * 5, 1000, done / 2, None, None))
        journal.set_state(merge.pk, MergeState.SUCCEEDED)

    async with listen(f"/ws/merges/{merge.pk}/") as socket:
        running = asyncio.create_task(asyncio.to_thread(apart, work))
        seen = [await socket.json()]
        while not seen[-1].get("finished"):
            message = await socket.json(10)
            if message["type"] == "merge":
                seen.append(message)
        await running
    seqs, percents = [m["seq"] for m in seen], [m["percent"] for m in seen]
    assert seqs == sorted(seqs)
    assert percents == sorted(percents)
    assert len(set(seqs)) > 5, "the bar was seen moving"
    assert (seen[-1]["state"], seen[-1]["percent"], seen[-1]["seq"]) == ("succeeded", 100.0, 201)


async def test_the_activity_never_runs_backwards(merge, listen):
    def work():
        for done in range(1, 60):
            journal.report(merge.pk, Progress(done, 1000, float(done), None, None))

    async with listen("/ws/activity/") as socket:
        running = asyncio.create_task(asyncio.to_thread(apart, work))
        seen = [await socket.json()]
        while seen[-1]["operations"][0]["percent"] < 59:
            seen.append(await socket.json(5))
        await running
    seqs = [m["seq"] for m in seen]
    assert seqs == sorted(set(seqs))


@pytest.mark.parametrize("path", ["/ws/merges/{}/", "/ws/activity/"])
async def test_a_lost_listening_connection_comes_back_with_what_was_missed(path, merge, listen):
    async with listen(path.format(merge.pk)) as socket:
        await socket.json()
        await in_database(terminate)(await in_database(listeners)())
        # Nobody listens now: the news of this change is lost, the change is not.
        await in_database(journal.set_state)(merge.pk, MergeState.RUNNING)

        def is_fresh(message):
            return (message.get("operations") or [message])[0]["state"] == "running"

        await socket.until(is_fresh, 2.0)
        await in_database(journal.report)(merge.pk, Progress(500, 1000, 50.0, None, None))
        await socket.until(lambda m: (m.get("operations") or [m])[0]["percent"] == 50.0, 2.0)


async def test_an_account_that_is_closed_meanwhile_is_shut_out(merge, listen, monkeypatch):
    monkeypatch.setattr(consumers, "ALIVE_SECONDS", 0.2)
    async with listen(f"/ws/merges/{merge.pk}/") as socket:
        await socket.until(lambda m: m["seq"] == 0)
        await in_database(User.objects.filter(username="auditor").update)(is_active=False)
        assert await socket.closed() == consumers.NOT_ALLOWED


async def test_a_busy_socket_is_asked_for_its_right_as_well(merge, listen, monkeypatch):
    """News all the time must not keep somebody in who is shut out."""
    monkeypatch.setattr(consumers, "ALIVE_SECONDS", 0.3)

    enough = threading.Event()

    def work():
        while not enough.wait(0.01):
            journal.report(merge.pk, Progress(1, 1000, 0.1, None, None))

    async with listen(f"/ws/merges/{merge.pk}/") as socket:
        await socket.until(lambda m: m["seq"] == 0)
        await in_database(User.objects.filter(username="auditor").update)(is_active=False)
        running = asyncio.create_task(asyncio.to_thread(apart, work))
        try:
            assert await socket.closed() == consumers.NOT_ALLOWED
        finally:
            enough.set()
            await running


async def test_a_quiet_socket_says_that_it_is_alive(merge, listen, monkeypatch):
    monkeypatch.setattr(consumers, "ALIVE_SECONDS", 0.1)
    async with listen("/ws/activity/") as socket:
        while await socket.json() != {"type": "alive"}:
            pass


async def test_nothing_that_a_client_says_is_heeded(merge, listen):
    async with listen(f"/ws/merges/{merge.pk}/") as socket:
        for text in ('{"cancel": true}', "x" * 100_000, "\x00", "[]"):
            await socket.say(text=text)
        await socket.say(bytes=b"\xff\x00")
        await socket.until(lambda m: m["seq"] == 0)
        await in_database(journal.set_state)(merge.pk, MergeState.RUNNING)
        await socket.until(lambda m: m["state"] == "running")
    assert not (await in_database(Merge.objects.get)(pk=merge.pk)).cancel_requested


GARBAGE = (
    '{"cancel": true}',
    '{"type": "websocket.close"}',
    "DELETE FROM chains_merge",
    "x" * 70_000,
)


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_changes_anything_over_a_socket(role, merge, listen):
    before = await in_database(table_state)()
    for route in SOCKETS:
        async with listen(address(route, merge), role) as socket:
            for text in GARBAGE:
                await socket.say(text=text)
                await socket.say(bytes=text.encode("utf-16"))
            allowed = SOCKETS[route][ROLES.index(role)]
            first = await socket.output()
            assert first["type"] == ("websocket.send" if allowed else "websocket.close")
    assert await in_database(changed)(before) == set()


async def test_a_new_record_is_told_of_once_it_is_sealed(merge, listen):
    async with listen("/ws/audit/") as socket:
        first = await socket.json()
        await in_database(audit.record)("ann", "x", "scan", "d")
        news = await socket.until(lambda m: m["seq"] > first["seq"])
    assert (news["type"], news["records"]) == ("audit", first["records"] + 1)
    assert news["head"] == (await in_database(trail.head)())[1] != first["head"]


async def test_a_scan_is_followed_to_its_end(merge, listen, tmp_path):
    (tmp_path / "a.img").write_bytes(bytes(65536))
    domain = await in_database(inventory.add_domain)("d", str(tmp_path), "directory", "here")
    async with listen("/ws/activity/") as socket:
        await socket.json()
        scan = await in_database(inventory.request_scan)(domain, None, "test", queue=False)

        def states(message):
            return [o["state"] for o in message["operations"] if o["kind"] == "scan"]

        await socket.until(lambda m: states(m) == ["queued"])
        await in_database(scanning.run_scan)(scan.pk)
        last = await socket.until(lambda m: states(m) == ["succeeded"])
    assert last["operations"][-1]["finished"]


async def test_a_lesson_is_told_to_its_person_alone(people, listen):
    learner = people["operator"]
    async with listen("/ws/lesson/", "operator") as own, listen("/ws/lesson/", "admin") as other:
        first = await own.json()
        assert (first["id"], first["state"], first["done"]) == (learner.pk, "ready", 0)
        assert (await other.json())["id"] == people["admin"].pk
        await in_database(lessons.request_step)(learner, 1, "test")
        news = await own.until(lambda m: m["state"] == "queued")
        assert (news["step"], news["busy"]) == (1, True)
        with pytest.raises(TimeoutError):
            await other.json(0.5)
