"""The forest of a domain on the screen: from the click to the picture, in chromium.

    python -m benchmarks.forest_page [--volumes N] [--rounds N] [--dir DIR]

The inventory is written straight into an embedded database: see datacenter.py. Two things are measured,
each in a fresh browser, from the start of the navigation until the picture has been painted: a thousand
nodes of small trees at once, drawn for the first time and again; and the first page of trees of a domain
of a hundred thousand volumes, one template of it with thousands of clones. The named peer is what a page
would do without folds: ``dot -Tsvg`` on the DOT of all volumes of that domain's trees on the page,
every clone drawn.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.database import embedded
from benchmarks.measuring import machine, verdict

LIMIT_MS = 1000.0
PASSWORD = "benchmark-Forest-1"  # noqa: S105 - of a person in a database that is thrown away
PEER_SECONDS = 60
FIRST = 10**9  # the ids of the small trees: far beyond those that datacenter.py gives
# The picture is there, its last node laid out, and two frames have gone by.
PAINTED = """(least) => new Promise((resolve) => {
  const look = () => {
    const nodes = document.querySelectorAll("#forest .dg-node");
    if (nodes.length < least || !nodes[nodes.length - 1].getBoundingClientRect().width)
      return requestAnimationFrame(look);
    requestAnimationFrame(() => requestAnimationFrame(() => resolve([performance.now(), nodes.length])));
  };
  look();
})"""


@contextmanager
def web() -> Iterator[str]:
    """A web process on the benchmark's database; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"STRATA_ALLOWED_HOSTS": "127.0.0.1"}
    root = Path(__file__).resolve().parent.parent
    argv = [sys.executable, str(root / "manage.py"), "run_web", "--port", str(port)]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            http = HTTPConnection("127.0.0.1", port, timeout=2)
            http.request("GET", "/login/")
            http.getresponse()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def forget() -> None:
    """Throw all drawings away."""
    from django.core.cache import cache

    cache.clear()


def small_trees(count: int) -> int:
    """A domain of so many volumes in chains of four; its id."""
    from django.utils import timezone

    from chains.models import StorageDomain, Volume

    domain = StorageDomain.objects.create(
        name="small trees", path="/x", path_text="/x", storage_host="benchmark", volume_count=count
    )
    rows: list[Volume] = []
    for number in range(count):
        below = rows[-1] if number % 4 else None
        name = f"vm{number // 4:04}/layer{number % 4}.qcow2"
        rows.append(Volume(
            pk=FIRST + number, domain=domain, path=name, path_text=name, format="qcow2", virtual_size=10 << 30,
            file_size=1 << 20, on_disk=(number * 7919 % 4096) << 20, fingerprint=str(number),
            modified=timezone.now(), backing=below, backing_file=below.path if below else None,
        ))  # fmt: skip
    for layer in range(4):
        Volume.objects.bulk_create(rows[layer::4])
    return domain.pk


def measure(folder: Path, volumes: int, rounds: int) -> None:
    """Fill the database, start a web process, and look at it in chromium."""
    # Models can be imported once Django is set up.
    from django.contrib.auth import get_user_model
    from playwright.sync_api import sync_playwright

    from benchmarks.datacenter import SHARES, fill
    from chains.models import StorageDomain

    print(f"{machine()}; in {folder}")
    large = StorageDomain.objects.get(pk=fill(volumes * 1000 // SHARES["large"])[0].pk)
    thousand = small_trees(1000)
    get_user_model().objects.create_user("benchmark", password=PASSWORD, role="auditor")
    with web() as site, sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(viewport={"width": 1600, "height": 1000}).new_page()
        page.goto(f"{site}/login/")
        page.fill("#id_username", "benchmark")
        page.fill("#id_password", PASSWORD)
        page.click("main button[type=submit]")
        page.wait_for_url(f"{site}/")

        def painted(url: str, least: int) -> tuple[float, int]:
            page.goto(f"{site}{url}", wait_until="commit")
            page.set_default_timeout(60_000)
            milliseconds, nodes = page.evaluate(PAINTED, least)
            return milliseconds, nodes

        for words, url, least in (
            ("1,000 nodes", f"/domains/{thousand}/?nodes=1000", 1000),
            (f"{large.volume_count:,} volumes", f"/domains/{large.pk}/", 2),
        ):
            first, again, nodes = [], [], 0
            for _ in range(rounds):
                forget()
                took, nodes = painted(url, least)
                first.append(took)
                again.append(painted(url, least)[0])
            middle = statistics.median(first)
            print(
                f"{words}: {nodes} nodes painted {verdict(middle, LIMIT_MS, at_least=False)} ms after "
                f"the navigation began, drawn for the first time (slowest {max(first):.0f} ms); "
                f"again {statistics.median(again):.0f} ms"
            )
        browser.close()
    took, said = peer(large)
    print(f"dot on every volume of those trees: {said}, {took * 1000 / middle:.0f} ×")


def peer(large: Any) -> tuple[float, str]:
    """Seconds that dot takes for the trees of the first page with nothing folded."""
    from chains.inventory import forest, selectors
    from chains.models import Volume

    roots = [root for _rank, _count, root in forest.trees(large, "", 12).rows]
    lines = ["digraph all { rankdir=RL; node [shape=box]"]
    for root in roots:
        for row in selectors.above(Volume.objects.get(pk=root)):
            lines.append(f'v{row.pk} [label="{row.path_text}"]')
            if row.backing_id is not None:
                lines.append(f"v{row.pk} -> v{row.backing_id}")
    with tempfile.NamedTemporaryFile("w", suffix=".dot") as file:
        file.write("\n".join([*lines, "}"]))
        file.flush()
        start = time.perf_counter()
        try:
            subprocess.run(
                ["dot", "-Tsvg", "-o", os.devnull, file.name], check=True, timeout=PEER_SECONDS
            )
        except subprocess.TimeoutExpired:
            return PEER_SECONDS, f"more than {PEER_SECONDS} s (stopped)"
    took = time.perf_counter() - start
    return took, f"{took:.1f} s"


def main() -> None:
    """Run the benchmark on an embedded database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--volumes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", help="where the database is (default: the temporary directory)")
    options = parser.parse_args()
    embedded(options.dir, partial(measure, volumes=options.volumes, rounds=options.rounds))


if __name__ == "__main__":
    main()
