"""What goes over the wire, and receivers that misbehave."""

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chains.merges import channels, notices
from chains.models import Merge, StorageDomain, User
from tests import receivers
from tests.receivers import Hook, Relay

AT = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def hook(settings):
    with receivers.hooked() as found:
        settings.WEBHOOK_URL, settings.WEBHOOK_SECRET = found.url, receivers.SECRET
        yield found


@pytest.fixture
def relay(settings):
    with receivers.relayed() as (found, port):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.NOTIFY_EMAIL = ["ops@example.org", "night@example.org"]
        settings.DEFAULT_FROM_EMAIL = "strata@example.org"
        yield found


def body(**changed: Any) -> dict[str, Any]:
    """Of a merge that is in no database."""
    facts = {
        "pk": 12, "domain": StorageDomain(name="lab"), "disk_name": "db01", "base_text": "base.img",
        "top_text": "snap1.img", "strategy": "commit", "state": "attention",
        "message": "The switch failed. Then press Resume.", "requested_by": User(username="olga"),
        "requested_at": AT, "started_at": AT, "bytes_done": 1024, "bytes_total": 2048,
    }  # fmt: skip
    merge = Merge(**(facts | changed))
    return notices.body_of(merge, AT, "https://strata.example") | {"id": 31}


def test_the_body_says_what_a_script_needs():
    assert body() == {
        "version": 1, "id": 31, "event": "merge.attention", "at": "2026-03-01T04:05:06+00:00",
        "merge": {
            "id": 12, "url": "https://strata.example/merges/12/", "disk": "db01", "domain": "lab",
            "base": "base.img", "top": "snap1.img", "strategy": "commit", "state": "attention",
            "message": "The switch failed. Then press Resume.", "requested_by": "olga",
            "requested_at": "2026-03-01T04:05:06+00:00", "started_at": "2026-03-01T04:05:06+00:00",
            "finished_at": None, "bytes_done": 1024, "bytes_total": 2048,
        },
    }  # fmt: skip
    assert (
        notices.body_of(Merge(domain=StorageDomain(), requested_at=AT), AT, "")["merge"]["url"]
        is None
    )


def test_a_webhook_is_signed_and_named(hook: Hook):
    assert channels.send("webhook", body()) == "it answered 200 OK"
    ((path, headers, content),) = hook.heard
    assert path == "/hooks/strata?team=storage"
    assert json.loads(content) == body()
    assert receivers.signed(headers, content)
    assert not receivers.signed(headers, content + b" ")
    assert headers["X-Strata-Event"] == "merge.attention"
    assert headers["X-Strata-Delivery"] == "31"
    assert headers["Content-Type"] == "application/json"


def test_a_signature_of_yesterday_is_another_one():
    old, new = (channels.signature("s", at, b"{}") for at in (1, 2))
    assert old.split("v1=")[1] != new.split("v1=")[1]


def test_names_that_are_no_text_are_escaped(hook: Hook):
    channels.send("webhook", body(disk_name="caf\udce9\n\u202e", base_text="\ud800"))
    merge = json.loads(hook.heard[0][2])["merge"]
    assert (merge["disk"], merge["base"]) == ("caf\\xe9\n\u202e", "\\ud800")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (500, "it answered 500 Internal Server Error"), (404, "it answered 404 Not Found"),
        ("redirect", "it answered 302 Found, a redirect, which is not followed"),
        ("hang", "no answer in time"), ("drip", "no answer in time"), ("gone", "Remote end closed"),
    ],
)  # fmt: skip
def test_what_is_no_delivery(hook: Hook, monkeypatch: pytest.MonkeyPatch, answer, words):
    monkeypatch.setattr(channels, "SECONDS", 0.4)
    hook.answers = [answer]
    begun = time.monotonic()
    with pytest.raises(channels.UndeliveredError, match=words):
        channels.send("webhook", body())
    assert time.monotonic() - begun < 3
    assert len(hook.heard) == 1, "nobody is asked twice, or somewhere else"


def test_a_body_without_end_is_read_for_a_while(hook: Hook):
    hook.answers = ["endless"]
    assert channels.send("webhook", body()) == "it answered 200 OK"
    # What we did not read waits in the buffers of the two sockets.
    assert hook.written < 64 * 2**20


def test_proxies_are_not_asked(hook: Hook, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    channels.send("webhook", body())
    assert hook.heard


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:PORT/", "refused"),
        ("http://nothing.invalid/", "not known|resol|No address"),
        (f"http://{'x' * 64}.example/", "."),
    ],
)
def test_nobody_there(settings, url, words):
    settings.WEBHOOK_URL = url.replace("PORT", str(receivers.free_port()))
    settings.WEBHOOK_SECRET = receivers.SECRET
    with pytest.raises(channels.UndeliveredError, match=words):
        channels.send("webhook", body())


def test_https_and_its_certificate(
    hook: Hook, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hook",
            "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    hook.server.socket = context.wrap_socket(hook.server.socket, server_side=True)
    settings.WEBHOOK_URL = hook.url.replace("http:", "https:")
    with pytest.raises(channels.UndeliveredError, match="its certificate is not trusted: self"):
        channels.send("webhook", body())
    assert hook.heard == []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "crt"))
    assert channels.send("webhook", body()) == "it answered 200 OK"
    monkeypatch.setattr(channels, "SECONDS", 0.5)
    for answer in ("hang", "drip"):
        hook.answers = [answer]
        with pytest.raises(channels.UndeliveredError, match="no answer in time"):
            channels.send("webhook", body())
    settings.WEBHOOK_URL = settings.WEBHOOK_URL.replace("127.0.0.1", "localhost")
    with pytest.raises(channels.UndeliveredError, match=r"not trusted: .*ostname"):
        channels.send("webhook", body())


def test_a_mail(relay: Relay):
    assert channels.send("email", body()) == "the mail relay took it"
    (mail,) = relay.mails
    assert relay.recipients == [["ops@example.org", "night@example.org"]]
    assert mail["Subject"] == "[Strata] merge 12 of db01: needs attention"
    assert mail["From"] == "strata@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    for words in ("Merge 12: needs attention.", "press Resume", "lab", "base.img", "olga",
                  "1 KiB of 2 KiB", "https://strata.example/merges/12/"):  # fmt: skip
        assert words in text
    channels.send("email", body())
    assert relay.mails[1]["Message-ID"] == mail["Message-ID"], "the same message, told again"


@pytest.mark.parametrize(
    "evil", ["db\nBcc: evil@example.org", "db\r\n\r\nhello", "\u2028x", "é" * 300]
)
def test_a_name_adds_no_header_to_a_mail(relay: Relay, evil):
    channels.send("email", body())
    channels.send("email", body(disk_name=evil, message=evil, base_text=evil))
    first, second = relay.mails
    assert second.keys() == first.keys()
    assert "Bcc" not in second
    assert len(second["Subject"].splitlines()) == 1
    assert relay.recipients[1] == relay.recipients[0]


def test_a_relay_that_refuses(relay: Relay):
    relay.refuses = "554 no\x1b[31m thanks"
    with pytest.raises(
        channels.UndeliveredError, match=r"the mail relay answered 554 no.*thanks"
    ) as seen:
        channels.send("email", body())
    assert str(seen.value).isprintable()


def test_a_relay_that_hangs(settings, monkeypatch: pytest.MonkeyPatch):
    """It greets, and then says no more than a byte at a time."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.NOTIFY_EMAIL, settings.EMAIL_HOST = ["ops@example.org"], "127.0.0.1"
    settings.EMAIL_TIMEOUT = 0.5
    over = threading.Event()

    def greet() -> None:
        link, _ = server.accept()
        with link, contextlib.suppress(OSError):
            link.sendall(b"220 hello\r\n")
            link.recv(1000)
            link.sendall(b"250 yes\r\n")
            while not over.wait(0.05):
                link.sendall(b"2")

    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.EMAIL_PORT = server.getsockname()[1]
        threading.Thread(target=greet, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(channels.UndeliveredError, match="no answer in time"):
            channels.send("email", body())
        assert time.monotonic() - begun < 3
        over.set()


@pytest.mark.parametrize("channel", ["webhook", "email"])
def test_a_worker_without_the_setting_says_so(settings, channel):
    settings.WEBHOOK_URL, settings.NOTIFY_EMAIL = "", []
    with pytest.raises(channels.UndeliveredError, match="is not set for this worker"):
        channels.send(channel, body())


def test_the_check_of_the_docs_holds(hook: Hook, settings):
    """What docs/wire-formats.md tells others to run."""
    page = (settings.BASE_DIR / "docs" / "wire-formats.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    channels.send("webhook", body())
    ((_, headers, content),) = hook.heard
    header = headers["X-Strata-Signature"]
    assert names["genuine"](content, header, receivers.SECRET)
    assert not names["genuine"](content + b" ", header, receivers.SECRET)
    assert not names["genuine"](content, header, "another secret of 16")
    old = channels.signature(receivers.SECRET, int(time.time()) - 3600, content)
    assert not names["genuine"](content, old, receivers.SECRET)
