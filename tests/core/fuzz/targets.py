"""What must hold of any input: a finding or a sound answer, soon, and in little memory."""

import os
import time
from itertools import islice
from pathlib import Path

import numpy as np

from chains.core import formats
from chains.core.chain import read_chain, read_layer
from chains.core.errors import ReadError, StoredMapError
from chains.core.extents import ExtentMap, Kind
from chains.core.findings import Finding, Severity
from chains.core.qcow2_header import Header, parse_header
from chains.core.readmap import NOBODY, ReadMap
from chains.core.reads import entries, figures, read_chain_maps, resolve, slice_view
from tests.core.fuzz.seeds import What, unpack

MUTANT = "mutant.img"
TOPS = {
    What.LEAF: MUTANT,
    What.BACKING_QCOW2: "over-qcow2.qcow2",
    What.BACKING_RAW: "over-raw.qcow2",
}
SECONDS, MEMORY = 1.0, 200 * 1024**2


class BrokenError(AssertionError):
    """An invariant that does not hold."""


def need(holds: object, words: str) -> None:
    """Raise BrokenError unless something holds (whatever Python's -O does to assert)."""
    if not holds:
        raise BrokenError(words)


def peak(*, afresh: bool = False) -> int:
    """The most memory that this process had, in bytes; `afresh` starts again from what it has."""
    if afresh:
        with open("/proc/self/clear_refs", "w") as reset:
            reset.write("5")  # proc(5): the peak becomes what is resident now
    # (What getrusage calls the peak also counts the process that started this one.)
    status = Path("/proc/self/status").read_bytes()
    return int(status.partition(b"VmHWM:")[2].split()[0]) * 1024


class Target:
    """Takes inputs; `folder` is the domain that their images lie in."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)
        self.mutant = str(folder / MUTANT)

    def write(self, content: bytes, growth: int) -> None:
        """Store an image, with a hole behind it."""
        fd = os.open(self.mutant, os.O_WRONLY | os.O_TRUNC | os.O_CREAT)
        try:
            os.write(fd, content)
            if growth:
                os.ftruncate(fd, min(len(content) + (1 << growth), 2**62))
        except OSError:
            pass  # more than this file system can have
        finally:
            os.close(fd)

    def run(self, data: bytes) -> str:
        """Judge an input: how it ended, in a word. Raises BrokenError, or whatever the reader let out."""
        what, growth, content = unpack(data)
        if what in TOPS:
            self.write(content, growth)
        start = peak(afresh=True)
        before = time.process_time()
        outcome = self._outcome(what, growth, content)
        took = time.process_time() - before
        need(took < SECONDS, f"it took {took:.2f} s of CPU time ({outcome})")
        memory = peak() - start
        need(memory < MEMORY, f"it took {memory} bytes of memory ({outcome})")
        return outcome

    def _outcome(self, what: What, growth: int, content: bytes) -> str:
        match what:
            case What.EXTENT_MAP | What.READ_MAP:
                return _stored(content, ExtentMap if what is What.EXTENT_MAP else ReadMap)
            case What.DETECT:
                return formats.detect(content) or "raw"
        header = _header(content)
        if not growth:
            same = _header_of_file(self.mutant)
            need(header == same, "a header reads otherwise from its file than from its bytes")
        return self.read(TOPS[what])

    def read(self, top: str) -> str:
        """Read a chain to the end: "fine", or the code of the finding that stopped it."""
        layer = read_layer(self.root, top)
        chain = read_chain(self.root, top)
        need(layer == chain.layers[0], "a layer reads otherwise alone than in its chain")
        need(0 < len(chain.layers) <= 1000, "a chain has 1 to 1000 layers")
        for finding in chain.findings:
            _check_words(finding)
        try:
            maps = read_chain_maps(chain)
        except ReadError as error:
            _check_words(error.finding)
            return str(error.finding.code)
        for each, found in zip(chain.layers, maps, strict=True):
            need(found.size == each.virtual_size, "a map has another size than its layer")
            _check_extents(found)
            need(ExtentMap.from_bytes(found.to_bytes()) == found, "packing changes an extent map")
        _check_view(maps)
        return "fine"


def _header(content: bytes) -> Header | str:
    try:
        return parse_header(content)
    except ReadError as error:
        _check_words(error.finding)
        return str(error.finding.code)


def _header_of_file(path: str) -> Header | str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return parse_header(fd)
    except ReadError as error:
        return str(error.finding.code)
    finally:
        os.close(fd)


def _check_words(finding: Finding) -> None:
    need(finding.detail.isprintable() and len(finding.detail) < 600, "words that can not be shown")
    need(finding.severity in Severity, "a severity that there is not")


def _check_extents(found: ExtentMap) -> None:
    starts, ends = found.starts, found.starts + found.lengths
    need(len(starts) == len(found.lengths) == len(found.kinds), "columns of unequal length")
    if not len(starts):
        return
    need((found.lengths > 0).all(), "an empty run")
    need(starts[0] >= 0 and ends[-1] <= found.size, "a run outside of the disk")
    need((starts[1:] >= ends[:-1]).all(), "runs that overlap")
    same = (starts[1:] == ends[:-1]) & (found.kinds[1:] == found.kinds[:-1])
    need(not same.any(), "equal neighbours")
    need(np.isin(found.kinds, (Kind.ZERO, Kind.DATA)).all(), "a kind that there is not")
    need(found.allocated + found.zeroed == int(found.lengths.sum()), "sums that differ")


def _check_view(maps: list[ExtentMap]) -> None:
    view = resolve(maps)
    need(view.size == maps[0].size, "the view has another size than the active layer")
    ends = view.starts + view.lengths
    edges = np.concatenate((np.zeros(1, np.int64), ends))
    need((view.lengths > 0).all() and edges[-1] == view.size, "the view leaves a part out")
    need((view.starts == edges[:-1]).all(), "the view has a gap")
    need(view.owners.min(initial=0) >= NOBODY, "an owner that there is not")
    need(view.owners.max(initial=0) < len(maps), "an owner that there is not")
    need(ReadMap.from_bytes(view.to_bytes()) == view, "packing changes a view")
    told = 0
    for entry in islice(entries(view), 20_000):
        need(entry["start"] == told and entry["length"] > 0, "the entries leave a part out")
        need(not (entry["data"] and entry["zero"]), "an entry that is both data and zero")
        told += entry["length"]
    need(told == view.size or len(view.starts) > 10_000, "the entries end early")
    sums = figures(maps, view)
    answered = sum(layer.answered for layer in sums.layers)
    need(answered + sums.unanswered == view.size, "the figures leave a part out")
    need(all(layer.shadowed >= 0 for layer in sums.layers), "less than nothing is shadowed")
    columns = slice_view(maps, view, 0, view.size, 32)
    widths = columns.answered.sum(axis=0) + columns.unanswered
    need((widths == np.diff(columns.edges)).all(), "the columns leave a part out")


def _stored(content: bytes, kind: type[ExtentMap] | type[ReadMap]) -> str:
    try:
        found = kind.from_bytes(content)
    except StoredMapError:
        return "damaged"
    need(kind.from_bytes(found.to_bytes()) == found, "packing changes a map")
    return "fine"
