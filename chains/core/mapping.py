"""Reading what every layer of a chain holds, from storage, once its headers have been judged."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from threading import Lock
from typing import Protocol

from chains.core import qcow2, raw
from chains.core.errors import FragmentedError, ReadError
from chains.core.extents import MAX_RUNS, ExtentMap
from chains.core.findings import Code, Severity, critical
from chains.core.layer import Layer, open_regular, same_file
from chains.core.links import Chain
from chains.core.paths import locate
from chains.core.source import TableSource

# Two layers at once: while one waits for storage or for a lock of the interpreter, the other works.
# More did not pay, neither warm nor cold (benchmarks/block_maps.py). The threads stay, for their
# buffers' sake.
_READERS, _MAX_POOLS = 2, 32
_pools: "OrderedDict[str, ThreadPoolExecutor]" = OrderedDict()
_pools_lock = Lock()
STEPS_A_LAYER = 1000
REPORT_SECONDS = 0.2
TRIES, RETRY_SECONDS = 3, 0.05
Report = Callable[[int, int], None]
Tick = Callable[[float], None]


class OpenVolume(Protocol):
    """A volume that has been opened to read its map. The look-ups raise OSError."""

    @property
    def content(self) -> int | TableSource:
        """Its bytes: a file descriptor, or what else holds them."""

    def is_unchanged(self, layer: Layer) -> bool:
        """Whether it is in every respect what `layer` was read from."""

    def is_volume_of(self, layer: Layer) -> bool:
        """Whether it is the volume that `layer` was read from, written since or not."""


Opener = Callable[[Layer], AbstractContextManager[OpenVolume]]


def read_chain_maps(
    chain: Chain,
    known: Mapping[str, ExtentMap] | None = None,
    report: Report | None = None,
    *,
    written: str | None = None,
    opener: Opener | None = None,
) -> list[ExtentMap]:
    """Read what each layer of a safe chain holds, active layer first.

    `known` are maps by path that need no reading: the caller has seen that their files are the ones
    they came from. `report(done, total)` is called a few times a second, in the caller's thread.
    `written` is the path of a layer that a guest writes meanwhile: its map is then one that the
    layer had at some moment, less what QEMU has not stored yet.
    `opener` opens volumes that are no files below the chain's root; what it raises passes through.

    Raises ReadError: the chain's first critical finding when it has one, `changed-while-read` when
    a file is not the one that `chain` was read from or changes meanwhile, or what the tables say.
    Raises FragmentedError for a chain of more than MAX_RUNS runs.
    """
    for finding in chain.findings:
        if finding.severity is Severity.CRITICAL:
            raise ReadError(finding)
    maps = dict(known or {})
    missing = [layer for layer in chain.layers if layer.path not in maps]
    maps |= _read_all(chain.root, opener or partial(_opened, chain.root), missing, report, written)
    if sum(len(found.starts) for found in maps.values()) > MAX_RUNS:
        raise FragmentedError(MAX_RUNS)
    return [maps[layer.path] for layer in chain.layers]


def _readers_of(root: str) -> ThreadPoolExecutor:
    """The threads of one domain: those of another may wait for storage that never answers."""
    if root not in _pools:
        _pools[root] = ThreadPoolExecutor(_READERS, "layer")
    _pools.move_to_end(root)
    if len(_pools) > _MAX_POOLS:
        _pools.popitem(last=False)[1].shutdown(wait=False)
    return _pools[root]


def _read_all(
    root: str, opener: Opener, layers: list[Layer], report: Report | None, written: str | None
) -> dict[str, ExtentMap]:
    """Read several layers at once; raises what the first that failed has raised."""
    done = [0] * len(layers)

    def read(number: int) -> ExtentMap:
        def tick(part: float) -> None:
            done[number] = int(part * STEPS_A_LAYER)

        read_one = _read_written if layers[number].path == written else _read_still
        return read_one(opener, layers[number], tick)

    with _pools_lock:
        readers = _readers_of(root)
        futures = {layer.path: readers.submit(read, n) for n, layer in enumerate(layers)}
    try:
        waiting = set(futures.values())
        while waiting:
            ended, waiting = wait(waiting, REPORT_SECONDS, FIRST_EXCEPTION)
            if any(future.exception() for future in ended):
                break
            if report is not None:
                report(sum(done), STEPS_A_LAYER * len(layers))
        return {path: future.result() for path, future in futures.items() if future.done()}
    finally:
        wait([future for future in futures.values() if not future.cancel()])


def _read_still(opener: Opener, layer: Layer, tick: Tick) -> ExtentMap:
    """Read a layer that nobody writes: before and after, it is the file that was judged."""
    with opener(layer) as volume:
        if not volume.is_unchanged(layer):
            raise _changed(layer)
        try:
            found = _read(volume.content, layer, tick)
        except ReadError as error:
            # Tables that change under the reader look damaged: the change is the truth.
            if not volume.is_unchanged(layer):
                raise _changed(layer) from error
            raise
        if not volume.is_unchanged(layer):
            raise _changed(layer)
        return found


def _read_written(opener: Opener, layer: Layer, tick: Tick) -> ExtentMap:
    """Read a layer that a guest writes: its tables must be where its header had them, no more.

    A table that is met half-way through an update looks damaged once, not three times.
    """
    tries = 0
    while True:
        tries += 1
        with opener(layer) as volume:
            if not volume.is_volume_of(layer):
                raise _changed(layer)
            try:
                named = (layer.header, layer.backing_file)
                if layer.header is not None and qcow2.parse_named(volume.content) != named:
                    raise _changed(layer)
                return _read(volume.content, layer, tick)
            except ReadError:
                if tries == TRIES:
                    raise
        time.sleep(RETRY_SECONDS)


def _read(content: int | TableSource, layer: Layer, tick: Tick) -> ExtentMap:
    found = (
        qcow2.read_extents(content, layer.header, layer.path, tick)
        if layer.header
        else raw.read_extents(content, layer.path)
    )
    tick(1.0)
    return found


class _OpenFile:
    def __init__(self, fd: int) -> None:
        self.content = fd

    def is_unchanged(self, layer: Layer) -> bool:
        return same_file(self.content, layer)

    def is_volume_of(self, layer: Layer) -> bool:
        status, judged = os.fstat(self.content), layer.fingerprint
        return (status.st_dev, status.st_ino) == (judged.device, judged.inode)


@contextmanager
def _opened(root: str, layer: Layer) -> Iterator[_OpenFile]:
    try:
        place = locate(root, layer.path)
    except (OSError, ValueError) as error:
        raise _changed(layer) from error
    if place is None or place.path != layer.path:
        raise _changed(layer)
    fd = open_regular(place)
    try:
        yield _OpenFile(fd)
    finally:
        os.close(fd)


def _changed(layer: Layer) -> ReadError:
    return ReadError(
        critical(
            Code.CHANGED_WHILE_READ,
            layer.path,
            "The layer changed since its header was read: a guest or another tool writes to it."
            " Read the chain again, once it is idle.",
        )
    )
