"""The plan of the house, held by reading the code: who may import whom, and how long things may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BASE_DIR = Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES = 400, 50

# Each part, and the parts of `chains` that it may import beside itself.
PURE = {"core": set(), "qemu": {"core"}, "storage": {"core", "qemu"}, "diagrams": {"core"}}
BELOW = {*PURE, "models"}
ALLOWED: dict[str, set[str]] = {
    **PURE,
    "models": {"core"},
    "words": {"core"},
    "permissions": BELOW,
    "inventory": BELOW | {"permissions"},
    "merges": BELOW | {"permissions", "inventory"},
    "lessons": BELOW | {"permissions", "inventory", "merges"},
    "tasks": BELOW | {"permissions", "inventory", "merges", "lessons"},
    "web": BELOW | {"permissions", "inventory", "merges", "lessons", "tasks", "words"},
    "api": BELOW | {"permissions", "inventory", "merges", "lessons", "tasks"},
    "live": BELOW | {"permissions", "inventory", "merges", "lessons", "tasks"},
    "management": BELOW | {"permissions", "inventory", "merges", "tasks"},
    # Django's own doors into the app.
    "admin": BELOW | {"permissions", "inventory", "merges"},
    "apps": {"checks", "inventory", "diagrams", "words"},
    "checks": {"core", "qemu"},
    "migrations": {"models"},
    "templatetags": {"core", "diagrams", "words"},
}
FRAMEWORKS = {"django", "channels", "procrastinate", "rest_framework", "psycopg"}
PROCESSES = {
    "subprocess", "pty", "multiprocessing", "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell", "os.system", "os.popen", "os.fork", "os.forkpty",
    "os.posix_spawn", "os.posix_spawnp",
}  # fmt: skip
STARTS_PROCESSES = {"chains/qemu/command.py"}


def sources(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module, str]]:
    """(path relative to the root, tree, text) of every Python file."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text()
            yield path.relative_to(root).as_posix(), ast.parse(text), text


def part_of(path: str) -> str:
    """`chains/web/views.py` and `chains/tasks.py` to `web` and `tasks`; the package itself to ""."""
    name = path.removeprefix("chains/")
    return "" if name == "__init__.py" else name.split("/")[0].removesuffix(".py")


def module_of(path: str) -> list[str]:
    names = path.removesuffix(".py").split("/")
    return names[:-1] if names[-1] == "__init__" else names


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every module that the file imports, wherever the line stands, relative ones resolved."""
    package = module_of(path) if path.endswith("__init__.py") else module_of(path)[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from chains import web` imports chains.web as much as `import chains.web` does.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def wrong_imports(root: Path) -> list[str]:
    found = []
    for path, tree, _ in sources(root, "chains"):
        part = part_of(path)
        if part and part not in ALLOWED:
            found.append(f"{path}: the plan has no part {part}")
            continue
        for line, name in imports(path, tree):
            first, *rest = name.split(".")
            to_project = first == "project" and part != "management"
            to_framework = part in PURE and first in FRAMEWORKS
            to_part = (
                first == "chains" and rest and rest[0] in ALLOWED
                and rest[0] not in {part, *ALLOWED.get(part, set())}
            )  # fmt: skip
            if to_project or to_framework or to_part:
                found.append(f"{path}:{line}: {part or 'chains'} imports {name}")
    return found


def process_starts(root: Path) -> list[str]:
    found = []
    for path, tree, _ in sources(root, "chains"):
        if path in STARTS_PROCESSES:
            continue
        named = {(line, name) for line, name in imports(path, tree)}
        named |= {
            (node.lineno, f"{node.value.id}.{node.attr}")
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        found += [
            f"{path}:{line}: {name}"
            for line, name in sorted(named)
            if name in PROCESSES or name.split(".")[0] in PROCESSES
        ]
    return found


def too_long(root: Path) -> list[str]:
    found = []
    for path, tree, text in sources(root, "chains", "project"):
        if "/migrations/" in path:
            continue  # written by a tool
        lines = len(text.splitlines())
        if lines > FILE_LINES:
            found.append(f"{path}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION_LINES:
                    found.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    return found


@pytest.mark.parametrize("rule", [wrong_imports, process_starts, too_long])
def test_the_house_is_as_planned(rule):
    assert list(sources(BASE_DIR, "chains", "project"))
    assert rule(BASE_DIR) == []


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("chains/core/x.py", "import django.db", wrong_imports),
        ("chains/core/x.py", "def f():\n    from django.db import models", wrong_imports),
        ("chains/core/x.py", "from chains.qemu.command import run", wrong_imports),
        ("chains/core/x.py", "from ..models import Merge", wrong_imports),
        ("chains/core/x.py", "from chains import models", wrong_imports),
        ("chains/diagrams/x.py", "from chains.qemu import qemu_img", wrong_imports),
        ("chains/qemu/x.py", "from channels.db import database_sync_to_async", wrong_imports),
        ("chains/storage/x.py", "from chains.models import Volume", wrong_imports),
        ("chains/models/x.py", "from chains.permissions import allows", wrong_imports),
        ("chains/permissions.py", "from chains.inventory import audit", wrong_imports),
        ("chains/inventory/x.py", "from chains.merges import services", wrong_imports),
        ("chains/merges/x.py", "import chains.tasks", wrong_imports),
        ("chains/tasks.py", "from chains.web import views", wrong_imports),
        ("chains/web/x.py", "from chains.api.serializers import NameField", wrong_imports),
        ("chains/api/x.py", "from chains.live.hub import hub", wrong_imports),
        ("chains/live/__init__.py", "from ..web import views", wrong_imports),
        ("chains/web/x.py", "from project import settings", wrong_imports),
        ("chains/merges/x.py", "import subprocess", process_starts),
        ("chains/merges/x.py", "from subprocess import run", process_starts),
        ("chains/qemu/x.py", "import asyncio\nasyncio.create_subprocess_exec('x')", process_starts),
        ("chains/web/x.py", "from asyncio import create_subprocess_exec", process_starts),
        ("chains/web/x.py", "import os\nos.system('x')", process_starts),
        ("chains/attic/x.py", "", wrong_imports),
        ("chains/core/x.py", "\n" * 401, too_long),
        ("project/x.py", "class A:\n    def f(self):\n" + "        pass\n" * 50, too_long),
        ("project/x.py", "async def f():\n" + "    pass\n" * 50, too_long),
    ],
)
def test_what_breaks_a_rule_is_found(tmp_path, path, text, rule):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert len(rule(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("chains/merges/x.py", "from chains.inventory import services\nimport django.db"),
        ("chains/web/x.py", "from chains.merges.services import cancel\nfrom . import views"),
        ("chains/qemu/command.py", "import subprocess"),
        ("chains/core/x.py", "from .y import z\nimport numpy"),
        ("project/x.py", "def f():\n" + "    pass\n" * 49),
    ],
)
def test_what_breaks_no_rule_is_not(tmp_path, path, text):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert [rule(tmp_path) for rule in (wrong_imports, process_starts, too_long)] == [[], [], []]
