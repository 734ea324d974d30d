"""The outbox: a notice is written with the state that it tells of, and delivered at least once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from chains import tasks
from chains.core.states import MergeState
from chains.inventory import jobs
from chains.merges import channels, delivery, journal, services
from chains.models import Merge, Notice, StorageDomain
from tests import images, receivers
from tests.receivers import Hook

Make = Callable[..., Merge]


@pytest.fixture
def hook(settings) -> Iterator[Hook]:
    with receivers.hooked() as found:
        settings.WEBHOOK_URL, settings.WEBHOOK_SECRET = found.url, receivers.SECRET
        yield found


@pytest.fixture
def waiting(domain: StorageDomain, asked: Make) -> Merge:
    """A merge that nobody has begun."""
    images.lesson(Path(domain.path))
    return asked("base.img", "snap1.img")


def told(merge: Merge) -> list[str]:
    return list(merge.notices.values_list("event", flat=True))


def deliver() -> int:
    """What a worker's housekeeping does, and the end of all that it began."""

    async def all_due() -> int:
        begun = await delivery.send_due()
        await asyncio.gather(*begun)
        return len(begun)

    return asyncio.run(all_due())


def make_due() -> None:
    Notice.objects.filter(due_at__isnull=False).update(due_at=timezone.now())


def test_a_merge_that_is_carried_out_is_told_of(
    domain: StorageDomain, merged: Make, hook: Hook, settings
) -> None:
    settings.PUBLIC_URL = "https://strata.example"
    images.lesson(Path(domain.path))
    with receivers.relayed() as (relay, port):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.NOTIFY_EMAIL = ["ops@example.org"]
        merge = merged("base.img", "snap1.img")
        assert merge.state == "succeeded"
        assert hook.heard == [], "a merge waits for nobody"
        assert ProcrastinateJob.objects.filter(
            task_name=jobs.NOTIFY, args={"pk": merge.pk}, queue_name="here"
        ).exists()
        assert deliver() == 2
    ((_, headers, body),) = hook.heard
    assert receivers.signed(headers, body)
    notice = Notice.objects.get(channel="webhook")
    assert headers["X-Strata-Delivery"] == str(notice.pk)
    assert json.loads(body)["id"] == notice.pk
    assert json.loads(body)["merge"] | {"bytes_total": merge.bytes_total} == {
        **notice.body["merge"], "id": merge.pk, "state": "succeeded", "disk": "snap2.img",
        "url": f"https://strata.example/merges/{merge.pk}/", "bytes_total": merge.bytes_total,
    }  # fmt: skip
    assert relay.mails[0]["Subject"] == f"[Strata] merge {merge.pk} of snap2.img: succeeded"
    assert [row.sent_at is not None for row in merge.notices.all()] == [True, True]
    assert [(row.due_at, row.error, row.attempts) for row in merge.notices.all()] == [
        (None, "", 1), (None, "", 1),
    ]  # fmt: skip
    assert deliver() == 0, "nothing is told twice"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_the_other_ends(waiting: Merge, hook: Hook, state: str) -> None:
    journal.set_state(waiting.pk, MergeState(state), "Why.")
    journal.set_state(waiting.pk, MergeState(state), "Said again.")
    assert told(waiting) == [state]
    deliver()
    assert hook.heard[0][1]["X-Strata-Event"] == f"merge.{state}"
    assert json.loads(hook.heard[0][2])["merge"]["message"] == "Why."


def test_attention_is_told_of_each_time_that_it_is_needed(waiting: Merge, hook: Hook) -> None:
    journal.set_state(waiting.pk, MergeState.RUNNING)
    for _ in range(2):
        journal.set_state(waiting.pk, MergeState.ATTENTION, "Look.")
        journal.set_state(waiting.pk, MergeState.ATTENTION, "Look.")
        services.resume(waiting, None, "test")
        journal.set_state(waiting.pk, MergeState.RUNNING)
    journal.set_state(waiting.pk, MergeState.SUCCEEDED)
    assert told(waiting) == ["attention", "attention", "succeeded"]


def test_only_what_the_settings_ask_for(waiting: Merge, hook: Hook, settings) -> None:
    settings.NOTIFY_ON = ["attention"]
    journal.set_state(waiting.pk, MergeState.FAILED)
    assert told(waiting) == []


def test_without_a_channel_nothing_is_written(waiting: Merge) -> None:
    journal.set_state(waiting.pk, MergeState.FAILED)
    assert told(waiting) == []


def test_a_change_that_does_not_happen_is_not_told_of(waiting: Merge, hook: Hook) -> None:
    with transaction.atomic():
        journal.set_state(waiting.pk, MergeState.FAILED)
        assert told(waiting) == ["failed"]
        transaction.set_rollback(True)
    assert told(waiting) == []
    assert not ProcrastinateJob.objects.filter(task_name=jobs.NOTIFY, args={"pk": waiting.pk})


def test_a_receiver_that_fails_is_asked_again(waiting: Merge, hook: Hook) -> None:
    hook.answers = [500, "redirect", 200]
    journal.set_state(waiting.pk, MergeState.FAILED)
    for wait, words in ((10, "500 Internal"), (20, "302 Found, a redirect")):
        assert deliver() == 1
        notice = waiting.notices.get()
        assert words in notice.error
        assert notice.sent_at is None
        assert notice.due_at is not None
        assert abs(notice.due_at - timezone.now() - timedelta(seconds=wait)) < timedelta(seconds=3)
        assert deliver() == 0, "not before its time"
        make_due()
    assert deliver() == 1
    notice = waiting.notices.get()
    assert (notice.error, notice.due_at, notice.attempts) == ("", None, 3)
    bodies = {body for _, _, body in hook.heard}
    assert len(hook.heard) == 3
    assert len(bodies) == 1, "a receiver can tell the second time by the id"


def test_the_waits_grow_to_an_hour_and_end_within_a_day() -> None:
    waits = [delivery.wait_after(attempts) for attempts in range(1, 40)]
    given = [wait for wait in waits if wait is not None]
    assert given[:4] == [10, 20, 40, 80]
    assert max(given) == 3600
    assert 23 * 3600 < sum(given) <= 24 * 3600
    assert set(waits[len(given) :]) == {None}


def test_in_the_end_it_is_given_up_and_the_reason_is_kept(waiting: Merge, hook: Hook) -> None:
    hook.answers = [503]
    journal.set_state(waiting.pk, MergeState.FAILED)
    waiting.notices.update(attempts=delivery.MOST_ATTEMPTS - 1)
    deliver()
    notice = waiting.notices.get()
    assert (notice.due_at, notice.sent_at) == (None, None)
    assert "503" in notice.error
    assert deliver() == 0


def test_who_is_cut_short_while_it_sends_leaves_the_notice_to_others(
    waiting: Merge, hook: Hook
) -> None:
    journal.set_state(waiting.pk, MergeState.FAILED)
    assert len(delivery.claim(5)) == 1  # and now the worker dies
    assert deliver() == 0, "an attempt may be going on"
    due = waiting.notices.get().due_at
    assert due is not None
    assert due - timezone.now() > timedelta(seconds=delivery.GIVEN_UP_ON_SECONDS)
    make_due()
    assert deliver() == 1
    assert len(hook.heard) == 1


def test_two_workers_make_one_delivery(waiting: Merge, hook: Hook) -> None:
    journal.set_state(waiting.pk, MergeState.FAILED)
    row = waiting.notices.get()
    Notice.objects.bulk_create(
        Notice(merge=waiting, channel="webhook", event="failed", body=row.body, due_at=row.due_at)
        for _ in range(39)
    )
    start = threading.Barrier(4)
    claimed: list[int] = []

    def work() -> None:
        start.wait(10)
        while rows := delivery.claim(2):
            claimed.extend(row.pk for row in rows)
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert sorted(claimed) == sorted(Notice.objects.values_list("pk", flat=True))


def test_a_row_that_another_worker_claims_now_is_not_waited_for(waiting: Merge, hook: Hook) -> None:
    journal.set_state(waiting.pk, MergeState.FAILED)
    found: list[Notice] = []

    def other() -> None:
        found.extend(delivery.claim(5))
        connection.close()

    with transaction.atomic():
        assert Notice.objects.select_for_update().get()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    assert found == []


def test_housekeeping_sends_and_waits_for_nobody(
    waiting: Merge, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SECONDS", 1.5)
    hook.answers = ["hang"]
    journal.set_state(waiting.pk, MergeState.FAILED)

    async def house() -> float:
        begun = time.monotonic()
        await tasks.notify(waiting.pk)
        passed = time.monotonic() - begun
        await asyncio.gather(*delivery._sending)
        return passed

    assert asyncio.run(house()) < 1
    assert waiting.notices.get().error == "no answer in time"


def test_no_more_than_a_few_at_a_time(
    waiting: Merge, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "SECONDS", 1)
    hook.answers = ["hang"] * 20
    journal.set_state(waiting.pk, MergeState.FAILED)
    row = waiting.notices.get()
    Notice.objects.bulk_create(
        Notice(merge=waiting, channel="webhook", event="failed", body=row.body, due_at=row.due_at)
        for _ in range(19)
    )

    async def twice() -> list[int]:
        begun = [await delivery.send_due(), await delivery.send_due()]
        await asyncio.gather(*begun[0])
        return [len(part) for part in begun]

    assert asyncio.run(twice()) == [delivery.AT_ONCE, 0]


class Worker:
    """A real worker process of a storage host of its own."""

    def __init__(self, log: Path, url: str) -> None:
        self.log = log
        self.environment = {
            **os.environ, "STRATA_DEBUG": "0", "STRATA_VAR": str(log.parent / "var"),
            "STRATA_WEBHOOK_URL": url, "STRATA_WEBHOOK_SECRET": receivers.SECRET,
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        manage = str(django_settings.BASE_DIR / "manage.py")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, manage, "run_worker", "--storage-host", "notices"],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def worker(tmp_path: Path, hook: Hook) -> Iterator[Worker]:
    found = Worker(tmp_path / "worker.log", hook.url)
    yield found
    if found.process.poll() is None:
        found.kill()


def until(what: Callable[[], bool], worker: Worker) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, worker.log.read_text()
        time.sleep(0.05)


def test_a_worker_is_killed_while_a_receiver_hangs(
    domain: StorageDomain, asked: Make, hook: Hook, worker: Worker
) -> None:
    """Its merges go on meanwhile, and the next worker tells of what nobody has told."""
    hook.answers = ["hang"] * 100
    domain.storage_host = "notices"
    domain.save()
    for name in ("one", "two"):
        images.lesson(Path(domain.path) / name)
    merges = []
    for name in ("one", "two"):
        merges.append(asked(f"{name}/base.img", f"{name}/snap1.img"))
        jobs.enqueue(jobs.MERGE, "notices", merges[-1].pk)
        count = len(merges)
        until(lambda count=count: len(hook.heard) >= count, worker)
    assert Merge.objects.filter(state="succeeded").count() == 2, "while the first receiver hangs"
    worker.kill()
    assert Notice.objects.filter(sent_at=None, due_at__gt=timezone.now(), attempts=1).count() == 2
    hook.answers = []
    make_due()  # the claims of the dead run out
    worker.start()
    until(lambda: not Notice.objects.filter(sent_at=None).exists(), worker)
    assert sorted(json.loads(body)["id"] for _, _, body in hook.heard) == sorted(
        2 * list(Notice.objects.values_list("pk", flat=True))
    )
    assert all(receivers.signed(headers, body) for _, headers, body in hook.heard)
    assert "Traceback" not in worker.log.read_text()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(15) == 0
