"""Children are tended while the supervisor lives, and gone when it is gone."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from project.supervisor import Child, Supervisor
from tests.project.servers import BASE_DIR, alive, wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen(['/bin/sleep', '60']);"
        "open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(60)"
    ),
]
PARENT = f"""
import sys
from project.supervisor import Child, Supervisor
with Supervisor(print) as processes:
    child = Child("sleeping", {SLEEP!r}, {{}}, grace=5)
    processes.add(child)
    processes.run(lambda: child.process is not None)
    print(child.process.pid, flush=True)
    processes.run()
print("ended", flush=True)
"""


def test_a_dead_child_is_started_again_with_growing_pauses():
    said = []
    with Supervisor(said.append) as processes:
        child = Child("failing", [sys.executable, "-c", "raise SystemExit(7)"], {}, grace=1)
        processes.add(child)
        processes.run(lambda: child.deaths == 3, timeout=20)
    assert said == [
        "the failing process ended with exit code 7; it starts again in 0.5 s",
        "the failing process ended with exit code 7; it starts again in 1.0 s",
        "the failing process ended with exit code 7; it starts again in 2.0 s",
    ]


def test_a_killed_child_is_named():
    said = []
    with Supervisor(said.append) as processes:
        child = Child("sleeping", SLEEP, {}, grace=5)
        processes.add(child)
        processes.run(lambda: child.process is not None)
        first = child.process.pid
        os.kill(first, signal.SIGKILL)
        processes.run(lambda: child.process is not None and child.process.pid != first)
        second = child.process.pid
    assert said == ["the sleeping process was killed by signal 9; it starts again in 0.5 s"]
    assert not alive(second)


def test_a_stubborn_child_is_killed_with_all_that_it_started(tmp_path):
    said = []
    note = tmp_path / "pid"
    with Supervisor(said.append) as processes:
        processes.add(Child("stubborn", [*STUBBORN, str(note)], {}, grace=0.3))
        processes.run(lambda: note.exists() and note.read_text())
    assert said == ["the stubborn process did not end in time and was killed"]
    assert wait_until(lambda: not alive(int(note.read_text())))


def test_a_signal_ends_the_run():
    before = signal.getsignal(signal.SIGTERM)
    with Supervisor(print) as processes:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert not processes.run(timeout=10)
        assert processes.stopping
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_same_complaint_is_made_once():
    said, calls = [], []

    def check():
        calls.append(1)
        if len(calls) < 4:
            raise RuntimeError("gone")

    with Supervisor(said.append) as processes:
        processes.watch(check, every=0)
        processes.run(lambda: len(calls) > 4, timeout=10)
    assert said == ["gone"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_child_is_left_behind(number):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    parent.send_signal(number)
    out, _ = parent.communicate(timeout=10)
    assert out == ("" if number == signal.SIGKILL else "ended\n")
    assert wait_until(lambda: not alive(pid))
