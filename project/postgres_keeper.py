"""The process that owns the embedded PostgreSQL: `python -m project.postgres_keeper VAR REPORT_FD`.

It starts the server, starts it again when it dies, and stops it as soon as nobody holds the users'
lock any more. The kernel frees that lock however its holders end, so no server is ever left over.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from project import postgres_cluster as cluster
from project.postgres_places import (
    Places,
    PostgresError,
    find_binaries,
    find_places,
    open_lock,
    try_lock,
    wait_lock,
)

TICK = 0.25
LOG_LIMIT = 1_000_000
HOPELESS = 3  # starts in a row that may fail before the caller is told why
LONGEST_PAUSE = 5.0


class Keeper:
    """Keeps one server running while it has users."""

    def __init__(self, places: Places, report: int) -> None:
        self.places = places
        self.report = report
        self.log = open_lock(places.log)
        fcntl.fcntl(self.log, fcntl.F_SETFL, os.O_APPEND)
        self.users = open_lock(places.users_lock)
        self.ending = False
        self.ready = False
        self.failures = 0

    def say(self, text: str) -> None:
        """One line into the log."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        os.write(self.log, f"{stamp} [keeper] {text}\n".encode())

    def tell(self, text: str) -> None:
        """One line to the process that waits for the server; there is nobody the second time."""
        if self.report >= 0:
            with suppress(OSError):
                os.write(self.report, text.encode())
            os.close(self.report)
            self.report = -1

    def end(self, _number: int, _frame: FrameType | None) -> None:
        """The machine shuts down, or somebody asks: stop cleanly, users or not."""
        self.ending = True

    def unused(self) -> bool:
        """True once nobody is left; from then on newcomers wait until this process is gone."""
        return self.ending or try_lock(self.users, fcntl.LOCK_EX)

    def run(self) -> None:
        """Until the last user has gone. Raises PostgresError when the server can not be started."""
        try:
            self.serve(find_binaries(self.places))
            cluster.clear_leftovers(self.places)
        finally:
            with suppress(OSError):
                self.places.sockets.rmdir()

    def serve(self, binaries: Path) -> None:
        """Starts the server, again and again if it must be, until it is no longer needed."""
        cluster.make_cluster(self.places, binaries)
        cluster.check_version(self.places, binaries)
        while not self.unused():
            cluster.clear_leftovers(self.places)
            offset = os.lseek(self.log, 0, os.SEEK_END)
            process = cluster.start(self.places, binaries, self.log)
            self.watch(process)
            if process.returncode is None:
                cluster.stop(process)
                break
            self.pause(process.returncode, offset)

    def watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Returns when the server has died, or when it is no longer needed."""
        self.ready = False
        while process.poll() is None:
            if not self.ready and cluster.is_ready(self.places):
                self.ready = True
                self.failures = 0
                self.tell("")
            if self.unused():
                return
            time.sleep(TICK)

    def pause(self, code: int, offset: int) -> None:
        """Between the server's death and its next start; longer each time that it dies unready."""
        why = cluster.failure_in(self.places.log, offset)
        self.say(f"PostgreSQL ended with {code} {why}")
        self.failures += not self.ready
        if self.failures >= HOPELESS and self.report >= 0:
            raise PostgresError(f"PostgreSQL does not start: {why or f'exit code {code}'}")
        deadline = time.monotonic() + min(0.2 * self.failures**2, LONGEST_PAUSE)
        while time.monotonic() < deadline and not self.unused():
            time.sleep(TICK)


def main() -> int:
    """Detaches from whoever started it, then keeps the server."""
    var, report = Path(sys.argv[1]), int(sys.argv[2])
    if os.fork():  # an orphan from the start: it never becomes anybody's zombie
        return 0
    os.chdir("/")
    os.umask(0o077)
    places = find_places(var)
    lock = open_lock(places.keeper_lock)
    if not wait_lock(lock, fcntl.LOCK_EX, 1.0):
        return 0  # another keeper is there, and will do
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    keeper = Keeper(places, report)
    if os.lseek(keeper.log, 0, os.SEEK_END) > LOG_LIMIT:
        os.ftruncate(keeper.log, 0)
    os.lseek(keeper.log, 0, os.SEEK_END)
    signal.signal(signal.SIGTERM, keeper.end)
    signal.signal(signal.SIGINT, keeper.end)
    try:
        keeper.run()
    except PostgresError as error:
        keeper.say(str(error))
        keeper.tell(str(error))
        return 1
    except Exception as error:
        keeper.say(repr(error))
        keeper.tell(f"the database can not be started: {error}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
