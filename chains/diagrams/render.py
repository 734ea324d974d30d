"""DOT → SVG that is safe to put inline into a page: bounded in time and in size, and repeatable."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

# The package's documented functions take no timeout. This one hands its keywords to
# subprocess.run; a test pins that a hanging ``dot`` really is stopped.
from graphviz.backend import CalledProcessError, ExecutableNotFound, dot_command, execute

from chains.core.errors import StrataError
from chains.core.units import binary
from chains.diagrams.svg import clean
from chains.diagrams.text import plain

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_PNG_BYTES: Final = 16 * 1024 * 1024
_PNG_INCHES: Final = 60
"""The sides of a PNG at most, at 96 dots an inch; what is larger is drawn smaller."""
AT_ONCE: Final = 2
"""Processes of ``dot`` that one process of ours runs at a time; the others wait for their turn."""

_MANY: Final = 64
"""From so many graphs on, two processes draw one half each."""

_slots: Final = threading.BoundedSemaphore(AT_ONCE)
_REVISION: Final = hashlib.sha256(
    b"".join(
        (Path(__file__).parent / f"{name}.py").read_bytes()
        for name in ("cells", "palette", "render", "sheet", "svg", "text")
    )
).hexdigest()
"""Goes into every digest: drawings that are kept are not those of an older Strata."""

_TimeoutExpired: Final = execute.subprocess.TimeoutExpired
_PROLOGUE: Final = re.compile(rb"(?=<\?xml )")


class RenderError(StrataError):
    """A diagram could not be drawn; the text says why, in words for the page."""


class RenderTimeoutError(RenderError):
    """Drawing took longer than it may."""


class RenderTooBigError(RenderError):
    """The drawing, or its description, is larger than it may be."""


class RenderBusyError(RenderError):
    """Too many other diagrams are being drawn."""


class RenderMissingError(RenderError):
    """Graphviz is not installed."""


class RenderFailedError(RenderError):
    """Graphviz gave up, or wrote something that is not a drawing."""


def digest(dot_source: str) -> str:
    """The name under which the SVG of this DOT, or of this title, can be cached."""
    text = f"{_REVISION}\n{dot_source}"
    # DOT of ours is plain Unicode, but a title may carry a file name with bytes that are not.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def render_svg(
    dot_source: str, *, title: str, timeout: float = 10.0, max_bytes: int = MAX_BYTES
) -> str:
    """Draw one graph; ``title`` is what a screen reader says of it. Raises ``RenderError``."""
    return render_many([dot_source], title=title, timeout=timeout, max_bytes=max_bytes)[0]


def render_many(
    dot_sources: Sequence[str],
    *,
    title: str,
    timeout: float = 10.0,
    max_bytes: int = MAX_BYTES,
) -> list[str]:
    """Draw the graphs of one page in one go; the limits hold for all of them together."""
    if not dot_sources:
        return []
    source = "\n".join(dot_sources).encode()
    if len(source) > max_bytes:
        raise _too_big(max_bytes)
    documents = _documents(dot_sources, timeout, max_bytes)
    cleaned = []
    for document, dot_source in zip(documents, dot_sources, strict=True):
        try:
            cleaned.append(clean(document, title=title, prefix=f"d{digest(dot_source)[:10]}-"))
        except ValueError as error:
            raise RenderFailedError("Graphviz wrote a drawing that can not be read.") from error
    if sum(len(text.encode()) for text in cleaned) > max_bytes:
        raise _too_big(max_bytes)
    return cleaned


def render_plain(
    dot_source: str, kind: str, *, timeout: float = 10.0, max_bytes: int = MAX_BYTES
) -> bytes:
    """Draw one graph for a file, as graphviz does by itself: ``png`` or ``svg``. Raises ``RenderError``.

    The source holds no private code points (see ``text``), and no links.
    """
    source = dot_source.encode()
    if len(source) > max_bytes:
        raise _too_big(max_bytes)
    output = _run(source, timeout, kind)
    if len(output) > max_bytes:
        raise _too_big(max_bytes)
    return output


def render_png(dot_source: str, *, timeout: float = 10.0, max_bytes: int = MAX_PNG_BYTES) -> bytes:
    """Draw one graph as pixels, as graphviz does by itself, no larger than ``_PNG_INCHES`` a side.

    Raises ``RenderError``.
    """
    source = dot_source.encode()
    if len(source) > MAX_BYTES:
        raise _too_big(MAX_BYTES)
    output = _run(source, timeout, "png", (f"-Gsize={_PNG_INCHES},{_PNG_INCHES}",))
    if len(output) > max_bytes:
        raise _too_big(max_bytes)
    return output


def _documents(sources: Sequence[str], timeout: float, max_bytes: int) -> list[bytes]:
    """What dot writes for each graph; of many graphs it draws each half at the same time."""
    middle = len(sources) // 2 if len(sources) >= _MANY else len(sources)
    parts = [part for part in (sources[:middle], sources[middle:]) if part]
    texts = ["\n".join(part).encode() for part in parts]
    if len(texts) == 1:
        outputs = [_run(texts[0], timeout)]
    else:
        with ThreadPoolExecutor(len(texts)) as threads:
            outputs = list(threads.map(lambda text: _run(text, timeout), texts))
    if sum(map(len, outputs)) > max_bytes:
        raise _too_big(max_bytes)
    documents = [part for output in outputs for part in _PROLOGUE.split(output) if part.strip()]
    if len(documents) != len(sources):
        raise RenderFailedError("Graphviz did not draw every part of the diagram.")
    return documents


def render_file(
    dot_source: str, kind: str, *, title: str, timeout: float = 20.0, max_bytes: int = MAX_PNG_BYTES
) -> bytes:
    """One graph as a file that stands for itself: ``svg``, ``png`` or ``dot``. Raises ``RenderError``."""
    if len(dot_source.encode()) > MAX_BYTES:
        raise _too_big(MAX_BYTES)
    if kind == "dot":
        return plain(dot_source).encode()
    if kind == "png":
        white = plain(dot_source).replace('bgcolor="transparent"', 'bgcolor="white"', 1)
        return render_png(white, timeout=timeout, max_bytes=max_bytes)
    drawn = _run(dot_source.encode(), timeout)
    try:
        text = clean(drawn, title=title, prefix="d-", alone=True)
    except ValueError as error:
        raise RenderFailedError("Graphviz wrote a drawing that can not be read.") from error
    output = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()
    if len(output) > max_bytes:
        raise _too_big(max_bytes)
    return output


def _run(source: bytes, timeout: float, kind: str = "svg", options: Sequence[str] = ()) -> bytes:
    command = [*dot_command.command("dot", kind), *options]
    if not _slots.acquire(timeout=timeout):
        raise RenderBusyError("Other diagrams are being drawn: load this page again in a moment.")
    try:
        done = execute.run_check(
            command, input=source, capture_output=True, quiet=True, timeout=timeout
        )
    except ExecutableNotFound as error:
        raise RenderMissingError(
            "Diagrams need Graphviz: install it, so that the program dot is on the PATH."
        ) from error
    except _TimeoutExpired as error:
        raise RenderTimeoutError(
            f"The diagram was not drawn within {timeout:g} s. Show fewer layers at once."
        ) from error
    except CalledProcessError as error:
        raise RenderFailedError(f"Graphviz could not draw the diagram: {_why(error)}") from error
    except OSError as error:
        raise RenderMissingError(f"Graphviz could not be started: {error.strerror}.") from error
    finally:
        _slots.release()
    output: bytes = done.stdout
    return output


def _why(error: CalledProcessError) -> str:
    lines = (error.stderr or b"").decode("utf-8", "replace").strip().splitlines()
    return lines[0][:200] if lines else f"it ended with status {error.returncode}."


def _too_big(max_bytes: int) -> RenderTooBigError:
    return RenderTooBigError(
        f"The diagram is larger than {binary(max_bytes)}. Show fewer layers at once."
    )
