"""Receivers of notices on 127.0.0.1: an HTTP server that can misbehave, and a mail relay."""

import contextlib
import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

SECRET = "a secret of 16 or more"


class Hook:
    """What it heard, and how it answers: each request takes the next of `answers`, then 200.

    An answer is a status, or "hang", "drip" (a header that never ends), "endless" (a body that never
    ends), "redirect" or "gone" (it hangs up).
    """

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[Any] = []
        self.over = threading.Event()
        self.written = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.heard.append((self.path, dict(self.headers), body))
                with contextlib.suppress(OSError):
                    hook.answer(self, hook.answers.pop(0) if hook.answers else 200)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/strata?team=storage"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler, how: Any) -> None:
        handler.close_connection = True
        if how == "hang":
            self.over.wait(60)
        elif how == "drip":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
            while not self.over.wait(0.05):
                handler.wfile.write(b"x")
        elif how == "endless":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
            while not self.over.is_set():
                self.written += handler.connection.send(b"x" * 65536)
        elif how == "redirect":
            handler.send_response(302)
            handler.send_header("Location", self.url.replace("/hooks", "/elsewhere"))
            handler.end_headers()
        elif how != "gone":
            handler.send_response(how)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def hooked() -> Iterator[Hook]:
    hook = Hook()
    try:
        yield hook
    finally:
        hook.close()


def signed(headers: dict[str, str], body: bytes) -> bool:
    """Whether the signature holds: written out of the wire format, not with our own code."""
    fields = dict(part.split("=", 1) for part in headers["X-Strata-Signature"].split(","))
    wanted = hmac.new(SECRET.encode(), fields["t"].encode() + b"." + body, hashlib.sha256)
    fresh = abs(time.time() - int(fields["t"])) < 300
    return fresh and hmac.compare_digest(wanted.hexdigest(), fields["v1"])


class Relay:
    """A mail relay; `refuses` is what it says to every message."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refuses = ""

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        if self.refuses:
            return self.refuses
        self.recipients.append(envelope.rcpt_tos)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextlib.contextmanager
def relayed() -> Iterator[tuple[Relay, int]]:
    """A relay and its port."""
    relay = Relay()
    port = free_port()
    controller = Controller(relay, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield relay, port
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
