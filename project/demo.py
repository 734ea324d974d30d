"""The whole of Strata on one machine: database, demo domain, people, worker and web process."""

import http.client
import io
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from project import demo_domain, demo_kinds, postgres, supervisor
from project.demo_accounts import Login, ensure_accounts
from project.postgres_commands import require, use
from project.postgres_places import open_lock, try_lock
from project.postgres_schema import migrate_if_needed

DOMAIN, KINDS, LAB = "demo", "demo-kinds", "Lab"
ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared with, and only on request
WEB_GRACE, WORKER_GRACE, SCAN_GRACE = 6.0, 15.0, 1.0
READY_SECONDS = 60.0
PAST_SECONDS = 10.0  # how long the address waits for the past that the domains are given
HOPELESS = 3  # deaths of the web process before its first answer
DATABASE_CHECK_SECONDS = 2.0


class DemoError(Exception):
    """The demo can not be run; the text says why in one line."""

    def __init__(self, text: str, returncode: int = 1) -> None:
        super().__init__(text)
        self.returncode = returncode


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    host: str
    port: int
    fresh: bool


def run(options: Options, say: Callable[[str], None]) -> None:
    """Until Ctrl-C or SIGTERM; then everything is stopped in order. Raises DemoError."""
    var = Path(settings.VAR_DIR)
    with _only_one(var):
        check_address(options.host, options.port)
        if options.fresh:
            _wipe(var)
        if url := os.environ.get("DATABASE_URL", ""):
            require(url)
            _run(options, var, None, say)
        else:
            say("Starting the database ...")
            with postgres.acquire(var) as lease:
                use(lease.app_url)
                _run(options, var, lease, say)
            lease.wait_stopped()
    say("Stopped.")


@contextmanager
def _only_one(var: Path) -> Iterator[None]:
    lock = open_lock(var / "demo.lock")
    try:
        if not try_lock(lock, LOCK_EX):
            raise DemoError(f"a demo is already running in {var}: stop it first")
        yield
    finally:
        os.close(lock)


def check_address(host: str, port: int) -> None:
    """Raises DemoError, with exit code 2, when the web process could not listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DemoError(
            f"can not listen on {host} port {port} ({why}): choose another with --port", 2
        ) from None


def _wipe(var: Path) -> None:
    """Removes what the demo has made, and never anything in a database that was here before it."""
    if os.environ.get("DATABASE_URL", ""):
        raise DemoError(
            "--fresh removes only the demo's own database, but DATABASE_URL is set: unset it",
            2,
        )
    postgres.destroy(var)
    for name in (DOMAIN, f"{DOMAIN}.new", KINDS, f"{KINDS}.new"):
        if (var / name).exists():
            shutil.rmtree(var / name)


def _run(
    options: Options, var: Path, lease: postgres.Lease | None, say: Callable[[str], None]
) -> None:
    migrate_if_needed(lease.url if lease is not None else "")
    if not (var / DOMAIN).exists():
        say("Making the demo's images ...")
    demo_domain.build(var / DOMAIN)
    demo_kinds.build(var / KINDS)
    logins = ensure_accounts(var / "demo-passwords")
    _register(DOMAIN, var / DOMAIN, "directory", LAB)
    for place in demo_kinds.PLACES:
        _register(place.name, var / KINDS / place.path, place.kind, place.datacenter)
    # From here on only the children speak to the database.
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's own, not in the stubs' base
    with supervisor.Supervisor(say) as processes:
        _serve(options, logins, lease, processes, say)


def demo_names() -> list[str]:
    """What the demo's domains are called."""
    return [DOMAIN, *(place.name for place in demo_kinds.PLACES)]


def _register(name: str, path: Path, kind: str, datacenter: str) -> None:
    from chains.inventory.services import request_planned
    from chains.models import StorageDomain

    known = StorageDomain.objects.filter(name=name).first()
    if known is None:
        call_command(
            "add_domain", name, str(path), kind=kind, datacenter=datacenter, stdout=io.StringIO()
        )
    elif known.path != str(path.resolve()):
        raise DemoError(
            f"there is a domain {name} at {known.path_text}, not at {path}: "
            "start with --fresh, or remove it"
        )
    # The name of a container changes from run to run; the demo's worker is always this machine's.
    StorageDomain.objects.filter(name=name).update(storage_host=settings.STORAGE_HOST)
    if name != DOMAIN:  # which is scanned before the address is told
        request_planned(StorageDomain.objects.get(name=name))


def _serve(
    options: Options,
    logins: list[Login],
    lease: postgres.Lease | None,
    processes: supervisor.Supervisor,
    say: Callable[[str], None],
) -> None:
    environment = child_environment(options.host)
    worker = supervisor.Child("worker", manage("run_worker"), environment, grace=WORKER_GRACE)
    listen = manage("run_web", "--host", options.host, "--port", str(options.port))
    web = supervisor.Child("web", listen, environment, grace=WEB_GRACE)
    processes.add(worker)
    processes.add(web)
    if lease is not None:
        processes.watch(lease.ensure, every=DATABASE_CHECK_SECONDS)
    scan = supervisor.spawn(manage("scan_domain", DOMAIN), environment, quiet=True)
    story = [sys.executable, "-m", "project.demo_history"]
    past = supervisor.spawn(
        story, {**environment, "PYTHONPATH": str(settings.BASE_DIR)}, quiet=True
    )
    try:
        processes.run(lambda: web.deaths >= HOPELESS or _answers(options), READY_SECONDS)
        if not (processes.stopping or _answers(options)):
            raise DemoError("the web process does not answer; what it said is above")
        # The pages have something to show when their address is told.
        processes.run(lambda: scan.poll() is not None)
        processes.run(lambda: past.poll() is not None, PAST_SECONDS)
    finally:
        supervisor.stop(scan, SCAN_GRACE)
        supervisor.stop(past, SCAN_GRACE)
    if not processes.stopping:
        if scan.returncode:
            say(f"The first scan failed; manage.py scan_domain {DOMAIN} says why.")
        say(welcome(options, logins))
    processes.run()
    say("Stopping ...")


def manage(*arguments: str) -> list[str]:
    """The command line of one of Strata's own commands."""
    return [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]


def child_environment(host: str) -> dict[str, str]:
    """What the children run with: the pages answer to the name that was asked for."""
    allowed = list(settings.ALLOWED_HOSTS)
    if host in ANYWHERE:
        allowed = ["*"]
    elif host not in allowed:
        allowed.append(f"[{host}]" if ":" in host else host)
    return {**os.environ, "STRATA_ALLOWED_HOSTS": ",".join(allowed), "PYTHONUNBUFFERED": "1"}


def _answers(options: Options) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)  # noqa: S104
    client = http.client.HTTPConnection(host, options.port, timeout=5)
    try:
        client.request("GET", "/login/")
        return client.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def welcome(options: Options, logins: list[Login]) -> str:
    """What a person needs to begin."""
    host = "localhost" if options.host in {*ANYWHERE, "127.0.0.1"} else options.host
    host = f"[{host}]" if ":" in host else host
    lines = ["", f"Strata runs at  http://{host}:{options.port}/", ""]
    for login in logins:
        password = login.password or "(its own password, not the demo's)"
        lines.append(f"  {login.name:<10} {password}")
    if options.host in ANYWHERE:
        lines += ["", "It listens on every address of this machine and answers to any host name."]
    lines += ["", "Ctrl-C stops it. The next start keeps everything; --fresh begins anew.", ""]
    return "\n".join(lines)
