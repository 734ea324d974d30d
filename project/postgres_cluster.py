"""One PostgreSQL data directory: made, cleared of what a crash left, started and stopped."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from project.postgres_places import Places, PostgresError, check_sockets
from project.supervisor import die_with_parent

SUPERUSER = "strata"
PORT = 5432  # only a part of the socket's name: nothing listens on the network
STOP_SECONDS = 30.0
SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "unix_socket_permissions": "0700",
    "jit": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def environment() -> dict[str, str]:
    """The children's environment: no PG* variable and no locale of the caller's gets in."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": "/usr/bin:/bin", **kept, "LC_ALL": "C", "TZ": "UTC"}


def living(directory: Path, places: Places) -> list[int]:
    """PostgreSQL's processes that work in this directory, as all of a cluster's do.

    A number in a pid file proves nothing, for numbers are used again. Root without CAP_SYS_PTRACE
    (a container) may not ask where another user's process works, so there the command line counts.
    """
    found = []
    wanted = {str(directory), str(directory.resolve())}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if (entry / "comm").read_bytes() != b"postgres\n":
                continue
            here = str((entry / "cwd").readlink()) in wanted
        except PermissionError:
            with suppress(OSError):
                arguments = os.fsdecode((entry / "cmdline").read_bytes()).split("\0")
                if entry.stat().st_uid == places.uid and wanted.intersection(arguments):
                    found.append(int(entry.name))
            continue
        except OSError:
            continue
        if here:
            found.append(int(entry.name))
    return found


def end_leftovers(directory: Path, places: Places, patience: float = STOP_SECONDS) -> None:
    """Waits until nobody works in the directory: first asks for a clean stop, then insists."""
    begun = time.monotonic()
    asked = killed = False
    while left := living(directory, places):
        waited = time.monotonic() - begun
        if not asked and (server := _recorded_server(directory)) in left:
            # Only the server itself: its helpers give this signal meanings of their own, and those
            # that lost their server end unasked.
            _send(server, signal.SIGINT)
            asked = True
        if waited > patience + 5:
            break
        if waited >= patience and not killed:
            for pid in left:
                _send(pid, signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    else:
        return
    raise PostgresError(f"a process that still works in {directory} can not be stopped")


def _recorded_server(directory: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int((directory / "postmaster.pid").read_text().splitlines()[0])
    return 0


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def is_ready(places: Places) -> bool:
    """Whether the server says in its pid file that it accepts connections."""
    with suppress(OSError, IndexError):
        return (places.data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    return False


def make_cluster(places: Places, binaries: Path) -> None:
    """Runs initdb into a draft and renames it: cut off at any moment, it is simply done again."""
    if (places.data / "PG_VERSION").exists():
        return
    end_leftovers(places.draft, places, patience=0)
    shutil.rmtree(places.draft, ignore_errors=True)
    try:
        places.draft.mkdir(mode=0o700)
        os.chown(places.draft, places.uid, places.gid)
    except OSError as error:
        raise PostgresError(f"{places.draft} can not be made: {error.strerror}") from None
    argv = [
        str(binaries / "initdb"),
        f"--pgdata={places.draft}",
        f"--username={SUPERUSER}",
        "--auth=trust",  # whoever may enter the socket directory (mode 0700) is the owner
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    done = subprocess.run(  # type: ignore[call-overload]
        argv,
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        preexec_fn=die_with_parent(signal.SIGKILL),
        **places.switch_user(),
    )
    if done.returncode:
        raise PostgresError(f"initdb failed: {_why(os.fsdecode(done.stderr)) or done.returncode}")
    places.draft.rename(places.data)


def check_version(places: Places, binaries: Path) -> None:
    """Raises PostgresError when the data were written by another major version."""
    written = (places.data / "PG_VERSION").read_text().strip()
    done = subprocess.run(
        [str(binaries / "postgres"), "--version"], check=False, capture_output=True, text=True
    )
    runs = done.stdout.split()[-1].split(".")[0] if done.stdout else "?"
    if written != runs:
        raise PostgresError(
            f"the data in {places.data} were written by PostgreSQL {written}, this is PostgreSQL "
            f"{runs}: dump them with the old version, or remove that directory to start afresh"
        )


def clear_leftovers(places: Places) -> None:
    """Removes what a dead server left behind; a live one is stopped first."""
    end_leftovers(places.data, places)
    socket = places.sockets / f".s.PGSQL.{PORT}"
    check_sockets(places, make=True)
    for path in (places.data / "postmaster.pid", socket, socket.with_name(socket.name + ".lock")):
        path.unlink(missing_ok=True)


def start(places: Places, binaries: Path, log: int) -> "subprocess.Popen[bytes]":
    """Starts the server as a child that stops cleanly when this process dies."""
    argv = [str(binaries / "postgres"), "-D", str(places.data), "-k", str(places.sockets)]
    argv += ["-h", "", "-p", str(PORT)]
    for name, value in SETTINGS.items():
        argv += ["-c", f"{name}={value}"]
    process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
        argv,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment(),
        preexec_fn=die_with_parent(signal.SIGINT),  # noqa: PLW1509 - the keeper has one thread
        **places.switch_user(),
    )
    return process


def stop(process: "subprocess.Popen[bytes]") -> None:
    """A fast shutdown: sessions are cut, everything committed is kept."""
    for number, patience in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0)):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def failure_in(log: Path, offset: int) -> str:
    """PostgreSQL's own reason for not starting: its last FATAL line since this place in the log."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(offset)
        return _why(file.read(64_000).decode(errors="replace"))
    return ""


def _why(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    line = (marked or lines or [""])[-1]
    for mark in ("FATAL:", "PANIC:", "error:"):
        line = line.partition(mark)[2].strip() if mark in line else line
    return line
