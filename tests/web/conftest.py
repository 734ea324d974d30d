"""What the tests of pages start from."""

from pathlib import Path

import pytest

from tests.web import samples


@pytest.fixture(scope="session")
def hostile_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once; nothing changes them."""
    return samples.build(tmp_path_factory.mktemp("hostile") / "images & more")


@pytest.fixture
def domain(hostile_images: Path, db: None):
    """The hostile domain in the inventory."""
    return samples.inventory_of(hostile_images)


@pytest.fixture
def people(db: None, settings):
    """One person of each role; their passwords cost no time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return samples.people()


@pytest.fixture
def browser(client, people):
    """A client that is signed in as somebody of this role."""

    def sign_in(role: str):
        client.logout()
        if people[role] is not None:
            client.force_login(people[role])
        return client

    return sign_in
