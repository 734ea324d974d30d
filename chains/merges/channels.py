"""The ways out of the house: a signed webhook, and e-mail. What is slow here is slow in a thread.

A receiver is a stranger. It may hang, talk without end or send us elsewhere: it gets ten seconds, we
read at most 64 KiB of what it says, and a redirect is an answer like any other. `http.client` is used
as it is: it follows nothing and, unlike urllib, knows of no proxy variables.
"""

import contextlib
import hashlib
import hmac
import json
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from chains.core.errors import StrataError
from chains.core.names import brief
from chains.merges.notices import WEBHOOK, subject, text

SECONDS = 10.0
MOST_BYTES = 64 * 1024


class UndeliveredError(StrataError):
    """A receiver that did not take a message; the text says why, and holds no secret."""


def send(channel: str, body: dict[str, Any]) -> str:
    """Send a body now, and say what the receiver answered; raises UndeliveredError."""
    try:
        return _post(body) if channel == WEBHOOK else _mail(body)
    except (OSError, HTTPException, ValueError) as error:
        raise UndeliveredError(brief(_why(error), 300)) from None


def encoded(body: dict[str, Any]) -> bytes:
    """The bytes that are sent and signed: the same in every attempt."""
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def signature(secret: str, at: int, content: bytes) -> str:
    """The value of X-Strata-Signature: the time is signed too, so that an old message can not be
    sent again as a new one.
    """
    digest = hmac.new(secret.encode(), f"{at}.".encode() + content, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _post(body: dict[str, Any]) -> str:
    if not settings.WEBHOOK_URL:
        raise UndeliveredError("STRATA_WEBHOOK_URL is not set for this worker")
    parts = urlsplit(settings.WEBHOOK_URL)
    content = encoded(body)
    headers = {
        "Content-Type": "application/json", "User-Agent": "Strata", "Connection": "close",
        "X-Strata-Event": body["event"], "X-Strata-Delivery": str(body["id"]),
        "X-Strata-Signature": signature(settings.WEBHOOK_SECRET, int(time.time()), content),
    }  # fmt: skip
    connection = _connection(parts)
    with contextlib.closing(connection):
        connection.connect()
        with _cut_off(connection.sock, SECONDS) as over:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, content, headers)
            answer = connection.getresponse()
            if over.is_set():  # http.client takes headers that break off for all of them
                raise TimeoutError
            # Its status is the answer; the rest is heard out so that no honest sender meets a
            # closed door.
            with contextlib.suppress(OSError, HTTPException, ValueError):
                answer.read(MOST_BYTES)
    said = f"it answered {answer.status} {answer.reason}".rstrip()
    if not 200 <= answer.status < 300:
        redirected = ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
        raise UndeliveredError(brief(said + redirected, 300))
    return brief(said, 300)


def _connection(parts: SplitResult) -> HTTPConnection:
    if parts.scheme == "https":
        return HTTPSConnection(
            parts.hostname or "", parts.port, timeout=SECONDS, context=ssl.create_default_context()
        )
    return HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)


def _mail(body: dict[str, Any]) -> str:
    if not settings.NOTIFY_EMAIL:
        raise UndeliveredError("STRATA_NOTIFY_EMAIL is not set for this worker")
    message = EmailMessage(
        subject(body), text(body), to=settings.NOTIFY_EMAIL, headers=_mail_headers(body)
    )
    relay = get_connection()
    relay.open()
    try:
        with _cut_off(
            getattr(getattr(relay, "connection", None), "sock", None), settings.EMAIL_TIMEOUT
        ):
            relay.send_messages([message])
    finally:
        # A relay that has taken the message and then leaves rudely has taken it all the same.
        with contextlib.suppress(OSError):
            relay.close()
    return "the mail relay took it"


def _mail_headers(body: dict[str, Any]) -> dict[str, str]:
    """One id for all attempts, so that a message that arrives twice is known; and no answer, please."""
    headers = {"Auto-Submitted": "auto-generated"}
    if body["id"]:
        domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2]
        mark = hashlib.sha256(encoded(body)).hexdigest()[:16]
        headers["Message-ID"] = f"<strata.{body['id']}.{mark}@{domain}>"
    return headers


@contextlib.contextmanager
def _cut_off(link: socket.socket | None, seconds: float) -> Iterator[threading.Event]:
    """Hang up after so many seconds: a socket's own timeout begins anew with each byte it hears."""
    over = threading.Event()

    def hang_up() -> None:
        over.set()
        if link is not None:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield over
    except (OSError, HTTPException, ValueError):
        if over.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def _why(error: Exception) -> str:
    """What a receiver did, in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return f"the mail relay answered {code} {_decoded(said)}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail relay answered {error.smtp_code} {_decoded(error.smtp_error)}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _decoded(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said
