"""Block domains that the tests share."""

from pathlib import Path

import pytest

from project.builders.lvm import Group
from tests.storage import blocks


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("block")
    originals = blocks.files(folder / "images")
    blocks.domain(folder / "pvs", originals)
    return originals, folder / "pvs"


@pytest.fixture
def originals(made) -> list[Path]:
    return made[0]


@pytest.fixture
def root(made) -> str:
    return str(made[1])


@pytest.fixture
def group(tmp_path, originals) -> Group:
    """One that a test may change."""
    return blocks.domain(tmp_path / "pvs", originals)
