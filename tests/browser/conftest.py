"""The real thing: web process, worker, PostgreSQL, images, and Debian's chromium."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests import images

MIB = images.MIB
HOST = "browser-tests"
PASSWORD = "strata-Test-9137"
# Mebibytes of data to copy, and a second's worth: a bar that is there for a while.
RATE = 24
DISKS = {
    "look": 16,
    "merge": 48,
    "reload": 64,
    "restart": 128,
    "cancel": 96,
    "flow": 64,
    "stopped": 96,
}
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# The real tool, but slowed down as a slow storage would: small images are copied for seconds.
SLOW = f"""#!/bin/sh
if [ "$1" = convert ]; then shift; exec {{real}} convert -r {RATE}M "$@"; fi
exec {{real}} "$@"
"""


# One process for all of it: to start one costs more than what it does here.
FILL = f"""
import json, sys
from django.core.management import call_command
from chains.models import Disk, Role, User
call_command("migrate", verbosity=0)
for role in Role.values:
    User.objects.create_user(role, password={PASSWORD!r}, role=role)
call_command("add_domain", "lab", ROOT, stdout=sys.stderr)
call_command("scan_domain", "lab", stdout=sys.stderr)
print(json.dumps(list(Disk.objects.values_list("name", "pk"))))
"""


class Site:
    """A running Strata; `stop_web` and `start_web` are what a restart does."""

    def __init__(self, place: Path, database: str) -> None:
        self.place = place
        self.environment = {
            **os.environ, "DATABASE_URL": database, "STRATA_VAR": str(place / "var"),
            "STRATA_STORAGE_HOST": HOST, "STRATA_DEBUG": "0",
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        }  # fmt: skip
        self.root = place / "domain"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.disks: dict[str, int] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        with (self.place / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def start_web(self) -> None:
        """Returns when it answers."""
        self.start("web", "run_web", "--port", str(self.port))
        deadline = time.monotonic() + 30
        while True:
            try:
                http = HTTPConnection("127.0.0.1", self.port, timeout=2)
                http.request("GET", "/login/")
                assert http.getresponse().status == 200
            except OSError:
                assert time.monotonic() < deadline, self.log("web")
                time.sleep(0.02)
            else:
                return

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        os.killpg(process.pid, number)
        process.wait(15)

    def log(self, name: str) -> str:
        return (self.place / f"{name}.log").read_text()

    def fill(self) -> None:
        """Tables, people and the domain, by the commands."""
        script = FILL.replace("ROOT", repr(str(self.root)))
        argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "shell", "-v0", "-c", script]
        done = subprocess.run(argv, env=self.environment, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        self.disks = {name.split("/")[0]: pk for name, pk in json.loads(done.stdout)}

    def build(self) -> None:
        """The images, and a slow qemu-img for the worker."""
        real = shutil.which("qemu-img")
        tool = self.place / "bin" / "qemu-img"
        tool.parent.mkdir()
        tool.write_text(SLOW.format(real=real))
        tool.chmod(0o755)
        for name, size in DISKS.items():
            folder = self.root / name
            images.raw(
                folder / "base.img", 256 * MIB, f"write -P 1 0 {size}M", "write -P 1 200M 1M"
            )
            images.overlay(
                folder / "snap1.img", "base.img", "raw", "write -P 2 2M 4M", "write -P 2 210M 64k"
            )
            images.overlay(folder / "snap2.img", "snap1.img", "qcow2", "write -P 3 4M 4M")


@pytest.fixture(scope="module")
def database(django_db_modify_db_settings: None) -> Iterator[str]:
    """A database beside the tests' own: what the processes of the site commit stays in it."""
    server, prefix = os.environ["DATABASE_URL"], "test_strata_site_"
    name = f"{prefix}{os.getpid()}"
    drop = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
    with psycopg.connect(make_conninfo(server, dbname="postgres"), autocommit=True) as link:
        for (old,) in link.execute("SELECT datname FROM pg_database").fetchall():
            pid = old.removeprefix(prefix)
            if old != pid and not Path(f"/proc/{pid}").exists():
                link.execute(sql.SQL(drop).format(sql.Identifier(old)))
        link.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(server, dbname=name)
        link.execute(sql.SQL(drop).format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def site(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Images, people, a scanned domain; a worker and a web process that run."""
    found = Site(tmp_path_factory.mktemp("site"), database)
    found.build()
    found.fill()
    try:
        found.start("worker", "run_worker")
        found.start_web()
        yield found
    finally:
        for name in list(found.processes):
            found.kill(name, signal.SIGTERM)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if path is None:
        pytest.fail(
            "these tests drive chromium: apt-get install chromium, or leave them out with -m 'not browser'"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield browser
        browser.close()


class Watched:
    """A page, and all that it complained of or fetched from elsewhere."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        page.on(
            "console",
            lambda said: said.type in {"error", "warning"} and self.errors.append(said.text),
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._look(request.url, site))

    def _look(self, url: str, site: Site) -> None:
        if not url.startswith((site.url, "data:", "blob:")):
            self.elsewhere.append(url)


Enter = Callable[..., Page]


def _visit(site: Site, chromium: Browser) -> Iterator[Enter]:
    """Signs somebody in, in a browser of their own; every page is watched, unless its line is cut."""
    contexts, watched = [], []

    def enter(name: str, *, quiet: bool = True) -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        watched.append((Watched(page, site), quiet))
        page.goto(f"{site.url}/login/")
        page.fill("#id_username", name)
        page.fill("#id_password", PASSWORD)
        page.click("main button[type=submit]")
        page.wait_for_url(f"{site.url}/")
        return page

    yield enter
    for context in contexts:
        context.close()
    for one, quiet in watched:
        assert one.elsewhere == []
        assert not quiet or one.errors == []


@pytest.fixture
def sign_in(site: Site, chromium: Browser) -> Iterator[Enter]:
    """For one test."""
    yield from _visit(site, chromium)


@pytest.fixture(scope="module")
def enter(site: Site, chromium: Browser) -> Iterator[Enter]:
    """For all tests of a module."""
    yield from _visit(site, chromium)
