"""Read images in a process of its own, that may start no other: what came of it, and what it cost.

As a command: python -m tests.core.measured ROOT USER PATH … prints a line of JSON for each path.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from chains.core.chain import read_chain
from chains.core.errors import ReadError
from chains.core.reads import read_chain_maps, resolve
from tests.core.fuzz.targets import peak

BASE_DIR = Path(__file__).resolve().parent.parent.parent
# A fence well above what is asserted: an image that kills the machine shall fail, not do it.
ADDRESS_SPACE = 2 * 1024**3
STARTS = ("subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn", "os.system")
ROOT_USER, NOBODY_USER = 0, 65534


class Answer(NamedTuple):
    """ "fine" or the code of what stopped the reading, seconds of CPU, bytes of memory at the peak."""

    code: str
    seconds: float
    memory: int


def outcome(root: str, path: str) -> str:
    """Read a chain to the end: "fine", or the code of what stopped it."""
    try:
        resolve(read_chain_maps(read_chain(root, path)))
    except ReadError as error:
        return str(error.finding.code)
    return "fine"


def measure(root: Path, *paths: str, user: int = ROOT_USER) -> list[Answer]:
    """Read the chains of some images; `user` counts only where the tests run as root."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.measured", root, str(user), *paths],
        cwd=BASE_DIR, capture_output=True, timeout=60 * len(paths), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return [Answer(*json.loads(line)) for line in done.stdout.splitlines()]


def assert_cheap(root: Path, expected: dict[str, str], seconds: float = 1.0) -> None:
    """Hold images (path → what comes of them) to a second of CPU time and 200 MB each."""
    answers = measure(root, *expected)
    found = dict(zip(expected, answers, strict=True))
    wrong = {path: answer for path, answer in found.items() if answer.code != expected[path]}
    assert not wrong, wrong
    for path, answer in found.items():
        assert answer.seconds < seconds, (path, answer)
        assert answer.memory < 200 * 10**6, (path, answer)


def _refuse_to_start(event: str, _: object) -> None:
    if event in STARTS:
        raise AssertionError(f"{event}: a process was started")


def main() -> None:
    """Do what the command line says."""
    root, user, *paths = sys.argv[1:]
    sys.addaudithook(_refuse_to_start)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    changes = os.getuid() == ROOT_USER and int(user) != ROOT_USER
    if changes:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    for path in paths:
        # (Who changed its user may not reset its own peak.)
        start, before = peak(afresh=not changes), time.process_time()
        code = outcome(root, path)
        print(json.dumps((code, time.process_time() - before, peak() - start)))  # noqa: T201


if __name__ == "__main__":
    main()
