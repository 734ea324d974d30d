"""The demo from the first start to kill -9, as a person meets it."""

import http.client
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from project import demo
from project.demo_accounts import ensure_accounts
from project.demo_domain import DemoImageError, build, images
from tests.project.servers import BASE_DIR, wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_of(var: Path) -> list[str]:
    """The command lines of all processes that were started for this var/, and its PostgreSQL's."""
    mark = f"STRATA_VAR={var}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                mark in (entry / "environ").read_bytes().split(b"\0")
                or str(var).encode() in (entry / "cmdline").read_bytes()
            ):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


class Demo:
    """A running demo, and all that it has said."""

    def __init__(self, var: Path, port: int) -> None:
        environment = {name: text for name, text in os.environ.items() if name != "DATABASE_URL"}
        self.process = subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), "demo", "--port", str(port)],
            cwd="/",
            env={**environment, "STRATA_VAR": str(var)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.text = ""

    def wait_ready(self) -> "Demo":
        for line in self.process.stdout:
            self.text += line
            if "Ctrl-C" in line:
                return self
        raise AssertionError(self.text)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.text += self.process.communicate(timeout=40)[0]
        return self.process.returncode

    def logins(self) -> dict[str, str]:
        return dict(re.findall(r"^  (admin|operator|auditor) +(\S+)$", self.text, re.MULTILINE))


def test_from_the_first_start_to_the_last(var, settings):
    port = free_port()
    first = Demo(var, port).wait_ready()
    try:
        assert f"http://localhost:{port}/" in first.text
        logins = first.logins()
        assert set(logins) == {"admin", "operator", "auditor"}
        assert stat.S_IMODE((var / "demo-passwords").stat().st_mode) == 0o600
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/login/")
        assert client.getresponse().status == 200

        settings.VAR_DIR = var
        with pytest.raises(demo.DemoError, match="already running") as caught:
            demo.run(demo.Options("127.0.0.1", free_port(), fresh=True), print)
        assert caught.value.returncode == 1
    finally:
        code = first.end(signal.SIGTERM)
    assert code == 0
    assert "Stopped." in first.text
    assert processes_of(var) == []

    begun = time.monotonic()
    again = Demo(var, port).wait_ready()
    assert time.monotonic() - begun < 20
    assert again.logins() == logins
    again.end(signal.SIGKILL)
    assert wait_until(lambda: not processes_of(var)), processes_of(var)


def test_a_port_in_use_is_told_before_anything_is_started(settings, tmp_path, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(demo.DemoError, match=f"port {port}") as caught:
            demo.run(demo.Options("127.0.0.1", port, fresh=True), print)
    assert caught.value.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["demo.lock"]


def test_an_address_of_another_machine():
    with pytest.raises(demo.DemoError, match="can not listen"):
        demo.check_address("192.0.2.1", 8000)


def test_fresh_never_touches_a_database_that_it_was_given(settings, tmp_path, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    (tmp_path / "demo").mkdir()
    with pytest.raises(demo.DemoError, match="DATABASE_URL is set") as caught:
        demo.run(demo.Options("127.0.0.1", free_port(), fresh=True), print)
    assert caught.value.returncode == 2
    assert (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", "localhost,127.0.0.1"),
        ("192.0.2.7", "localhost,127.0.0.1,192.0.2.7"),
        ("::1", "localhost,127.0.0.1,[::1]"),
        ("0.0.0.0", "*"),  # noqa: S104 - nothing listens there in this test
    ],
)
def test_the_pages_answer_to_the_name_that_was_asked_for(settings, host, allowed):
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    assert demo.child_environment(host)["STRATA_ALLOWED_HOSTS"] == allowed


@pytest.mark.django_db
def test_a_changed_password_and_a_stranger_of_the_same_name_are_left_alone(
    tmp_path, django_user_model
):
    stranger = django_user_model.objects.create_user("auditor", password="her own")
    path = tmp_path / "demo-passwords"
    logins = {login.name: login.password for login in ensure_accounts(path)}
    assert logins["auditor"] == ""
    stranger.refresh_from_db()
    assert stranger.check_password("her own")
    admin = django_user_model.objects.get(username="admin")
    assert admin.check_password(logins["admin"])
    assert (admin.role, admin.is_superuser, admin.is_staff) == ("admin", True, True)
    operator = django_user_model.objects.get(username="operator")
    assert (operator.role, operator.is_superuser) == ("operator", False)

    operator.set_password("changed")
    operator.save()
    again = {login.name: login.password for login in ensure_accounts(path)}
    assert again == {**logins, "operator": ""}


def test_the_images_are_what_they_claim(tmp_path):
    root = tmp_path / "demo"
    (tmp_path / "demo.new" / "lesson").mkdir(parents=True)  # an earlier build was cut off
    assert build(root)
    assert not build(root)
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {
        image.name for image in images()
    }
    for image in images():
        if image.format == "qcow2" and not image.unopened:
            checked = subprocess.run(
                [shutil.which("qemu-img"), "check", "-q", image.name],
                cwd=root,
                capture_output=True,
                check=False,
            )
            assert checked.returncode == 0, checked
        assert (root / image.name).stat().st_mtime < time.time() - 3600
    assert not (tmp_path / "outside-secret.img").exists()


def test_an_image_that_can_not_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr("project.demo_domain.images", lambda: [images()[1]])
    with pytest.raises(DemoImageError, match=r"lesson/snap1\.img could not be made: .*base\.img"):
        build(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()
