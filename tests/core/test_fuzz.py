"""Fuzzing the reader: shortly each time, for long with -m slow; and against qemu-img."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from chains.core.chain import Chain
from chains.core.extents import ExtentMap, Kind
from chains.core.readmap import ReadMap, resolve
from chains.core.reads import read_chain_maps
from tests.core.fuzz import mutations, seeds, targets
from tests.core.fuzz.seeds import IMAGES, What, unpack
from tests.core.images import MIB, normal, read_map

BASE_DIR = Path(__file__).resolve().parent.parent.parent
SECONDS = int(os.environ.get("FUZZ_SECONDS", "120"))


def fuzz(seconds: int) -> int:
    """Run the command; returns how many inputs it took."""
    argv = ["nice", "-n", "19", sys.executable, "-m", "tests.core.fuzz", str(seconds)]
    done = subprocess.run(
        argv, cwd=BASE_DIR, capture_output=True, text=True, timeout=seconds + 300, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    count = re.search(r"number_of_executed_units: (\d+)", said)
    assert count is not None, said[-3000:]
    return int(count[1])


def test_a_few_seconds_of_fuzzing() -> None:
    assert fuzz(4) > 300


@pytest.mark.slow
def test_minutes_of_fuzzing() -> None:
    assert fuzz(SECONDS) > 20 * SECONDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("domain")
    seeds.domain(path)
    return path


@pytest.fixture(scope="module")
def corpus(folder: Path) -> list[bytes]:
    return seeds.seeds(folder)


@pytest.fixture
def target(folder: Path) -> targets.Target:
    return targets.Target(folder)


def test_the_seeds_are_images_of_every_kind(corpus: list[bytes], target: targets.Target) -> None:
    ends = [(unpack(data)[0], target.run(data)) for data in corpus]
    fine = [end for end in ends if end[1] == "fine"]
    assert {what for what, _ in fine} == {*IMAGES, What.EXTENT_MAP, What.READ_MAP}
    assert sum(what is What.LEAF for what, _ in fine) >= 12
    assert {name for what, name in ends if what is What.DETECT} >= {"qcow2", "vmdk", "luks"}


def test_damage_reaches_the_depths(corpus: list[bytes], target: targets.Target) -> None:
    luck = random.Random(5)  # noqa: S311
    ends = {target.run(mutations.mutate(luck.choice(corpus), luck)) for _ in range(1500)}
    assert ends >= {
        "fine", "damaged", "header-invalid", "truncated", "tables-invalid", "feature-unknown",
        "backing-missing", "backing-protocol", "backing-outside", "backing-loop", "corrupt",
    }  # fmt: skip


def _lose_the_end(maps: list[ExtentMap]) -> ReadMap:
    whole = resolve(maps)
    columns = (whole.starts, whole.lengths, whole.owners, whole.kinds)
    return ReadMap(whole.size, whole.sizes, *(column[:-1] for column in columns))


def _nonsense(*_: object) -> list[ExtentMap]:
    size = seeds.SIZE
    return [ExtentMap(size, np.array([size]), np.array([1]), np.array([Kind.DATA], np.uint8))]


def _greedy(chain: Chain) -> list[ExtentMap]:
    return read_chain_maps(chain) if b"x" * (targets.MEMORY + MIB) else []


def _slow(chain: Chain) -> list[ExtentMap]:
    until = time.process_time() + targets.SECONDS
    while time.process_time() < until:
        pass
    return read_chain_maps(chain)


def _raise(error: type[Exception]) -> object:
    def refuse(*_: object) -> None:
        raise error("planted")

    return refuse


@pytest.mark.parametrize(
    ("place", "bug", "caught"),
    [
        ("resolve", _lose_the_end, targets.BrokenError),
        ("read_chain_maps", _nonsense, targets.BrokenError),
        ("read_chain_maps", _raise(IndexError), IndexError),
        ("read_layer", _raise(MemoryError), MemoryError),
        ("figures", _raise(OverflowError), OverflowError),
        ("read_chain_maps", _greedy, targets.BrokenError),
        ("read_chain_maps", _slow, targets.BrokenError),
    ],
)
def test_a_planted_bug_is_found(
    corpus: list[bytes], target: targets.Target, monkeypatch: pytest.MonkeyPatch, place: str,
    bug: object, caught: type[Exception],
) -> None:  # fmt: skip
    assert corpus[0][0] == What.LEAF
    assert target.run(corpus[0]) == "fine"
    monkeypatch.setattr(targets, place, bug)
    with pytest.raises(caught):
        target.run(corpus[0])


def qemu_view(folder: Path, top: str) -> list[tuple[int, ...]] | None:
    """What qemu-img maps, on a short leash; None when it refuses or can not be waited for."""
    argv = ["prlimit", "--as=1000000000", "--cpu=5", "--fsize=50000000", "--core=0", "qemu-img",
            "map", "--output=json", "-U", "-f", "qcow2", f"./{top}"]  # fmt: skip
    with (folder / "mapped.json").open("w+b") as out:
        try:
            done = subprocess.run(
                argv, cwd=folder, stdout=out, stderr=subprocess.DEVNULL, timeout=20, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        out.seek(0)
        return normal(json.load(out)) if done.returncode == 0 else None


def differential(folder: Path, corpus: list[bytes], count: int) -> int:
    """Compare `count` mutants that the reader takes for sound; returns how many QEMU maps too."""
    corpus = [data for data in corpus if unpack(data)[0] in IMAGES]
    target = targets.Target(folder)
    luck = random.Random(count)  # noqa: S311
    sound = compared = 0
    while sound < count:
        data = mutations.mutate(luck.choice(corpus), luck)
        what = unpack(data)[0]
        if what not in IMAGES or target.run(data) != "fine":
            continue
        sound += 1
        top = targets.TOPS[what]
        theirs = qemu_view(folder, top)
        if theirs is not None:
            compared += 1
            ours = normal(list(targets.entries(read_map(folder / top))))
            (folder / "last-compared").write_bytes(data)
            assert ours == theirs, data[:2]
    return compared


def test_mutants_read_as_qemu_reads_them(folder: Path, corpus: list[bytes]) -> None:
    assert differential(folder, corpus, 25) > 12


@pytest.mark.slow
def test_many_mutants_read_as_qemu_reads_them(folder: Path, corpus: list[bytes]) -> None:
    assert differential(folder, corpus, 1500) > 750
