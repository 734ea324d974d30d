"""python -m tests.core.fuzz SECONDS [INPUT …]: fuzz the reader, or run the given inputs again.

Guided by coverage where atheris is installed, by outcomes where it is not. Exit code 0 when nothing
was found; else the input that broke something is left beside, and its traceback printed.
"""

import importlib.util
import os
import random
import sys
import tempfile
import time
import zlib
from pathlib import Path

GUIDED = importlib.util.find_spec("atheris") is not None
MEMORY_OF_ALL = 4096  # MiB: atheris keeps all that a mutator returns; `targets` judges the reader


def guided(seconds: int, folder: Path, found: Path) -> None:
    """Let libFuzzer choose; it ends the process itself."""
    import atheris

    with atheris.instrument_imports(include=["chains.core"]):
        from tests.core.fuzz import mutations, seeds, targets

    seeds.domain(folder)
    corpus = found / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds.seeds(folder)):
        (corpus / str(number)).write_bytes(seed)
    target = targets.Target(folder)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        plain = lambda content: atheris.Mutate(content, max(len(content), 64))  # noqa: E731
        return mutations.mutate(data, random.Random(seed), plain)[:max_size]  # noqa: S311

    def test_one_input(data: bytes) -> None:
        target.run(data)

    flags = [
        f"-max_total_time={seconds}", f"-max_len={mutations.MAX_INPUT}", "-timeout=10",
        f"-rss_limit_mb={MEMORY_OF_ALL}", f"-artifact_prefix={found}/", "-print_final_stats=1",
        "-len_control=0", "-reload=0",
    ]  # fmt: skip
    argv = [sys.argv[0], *flags, str(corpus)]
    atheris.Setup(argv, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()


def unguided(seconds: float, folder: Path, found: Path) -> None:
    """Mutate what led to new outcomes; prints how many inputs that were."""
    from tests.core.fuzz import mutations, seeds, targets

    seeds.domain(folder)
    corpus = seeds.seeds(folder)
    target = targets.Target(folder)
    luck = random.Random(20260101)  # noqa: S311
    outcomes: set[tuple[int, str]] = set()
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutations.mutate(luck.choice(corpus), luck)
        try:
            outcome = (data[0], target.run(data))
        except BaseException:
            (found / f"crash-{zlib.crc32(data):08x}").write_bytes(data)
            raise
        count += 1
        if outcome not in outcomes:
            outcomes.add(outcome)
            corpus.append(data)
    print(f"stat::number_of_executed_units: {count}\noutcomes: {len(outcomes)}")  # noqa: T201


def again(paths: list[str], folder: Path) -> None:
    """Run inputs that were kept."""
    from tests.core.fuzz import seeds, targets

    seeds.domain(folder)
    seeds.seeds(folder)
    target = targets.Target(folder)
    for path in paths:
        print(path, target.run(Path(path).read_bytes()))  # noqa: T201


def main() -> int:
    """Do what the command line says."""
    seconds, *paths = sys.argv[1:]
    found = Path(tempfile.mkdtemp(prefix="strata-fuzz-"))
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        if paths:
            again(paths, Path(folder))
        elif GUIDED:
            # libFuzzer ends its process without letting Python tidy up: it gets one of its own.
            child = os.fork()
            if not child:
                guided(int(seconds), Path(folder), found)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            unguided(float(seconds), Path(folder), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
