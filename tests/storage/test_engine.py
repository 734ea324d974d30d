"""The engine, asked by its own client; the server is ours, and speaks like the real one."""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from chains.core.engine_rules import EngineDisk, EngineVolume
from chains.core.errors import StrataError
from chains.storage import engine as module
from chains.storage.engine import Engine
from tests.storage.engine_server import DOMAIN, TOKEN, Volume, World, engine_of

D1, D2 = "d1111111-0000-4000-8000-000000000001", "d2222222-0000-4000-8000-000000000002"
OLD, NEW, RAW = "v-old", "v-new", "v-raw"


@pytest.fixture
def world():
    return World(
        disks={D1: ("web1 <root> & more", "ok", NEW), D2: ("shared", "locked", RAW)},
        volumes=[
            Volume(D1, OLD, "s1", status="illegal"),
            Volume(D1, NEW, "s2", active=True),
            Volume(D2, RAW, "s3", active=True, status="locked"),
        ],
        vms={"vm1": ("web1", [D1, D2]), "vm2": ("db “1”", [D2]), "vm3": ("idle", [])},
        snapshots={
            "vm1": [
                ("s1", "before the upgrade", "2024-05-01T10:00:00.000+02:00"),
                ("s2", "Active VM", "2024-05-02T10:00:00.000+02:00"),
            ]
        },
    )


def connect(url, **options):
    pytest.importorskip("ovirtsdk4")
    return Engine(url, "admin@internal", "secret", insecure=True, **options)


def refusal(url, **options):
    with pytest.raises(StrataError) as caught:
        connect(url, **options).facts(DOMAIN)
    return str(caught.value)


def test_what_the_engine_knows(world):
    with engine_of(world) as url:
        facts = connect(url).facts(DOMAIN)
    date = datetime(2024, 5, 1, 8, tzinfo=UTC).timestamp()
    assert facts.domain == DOMAIN
    assert facts.disks == {
        D1: EngineDisk(D1, "web1 <root> & more", ("web1",), "ok", {
            OLD: EngineVolume(OLD, "before the upgrade", date, "illegal"),
            NEW: EngineVolume(NEW, "Active VM", date + 86400, "ok", is_active=True),
        }),
        D2: EngineDisk(D2, "shared", ("db “1”", "web1"), "locked", {
            RAW: EngineVolume(RAW, "", None, "locked", is_active=True),
        }),
    }  # fmt: skip


def test_it_is_only_read_and_signed_out(world):
    with engine_of(world) as url:
        connect(url).facts(DOMAIN)
    paths = [path for method, path, _ in world.asked if method != "GET"]
    assert paths == ["/ovirt-engine/sso/oauth/token", "/ovirt-engine/services/sso-logout"]
    assert world.tokens == [TOKEN]


def test_an_older_engine_does_not_list_active_volumes(world):
    world.old = True
    with engine_of(world) as url:
        disk = connect(url).facts(DOMAIN).disks[D1]
    assert set(disk.volumes) == {OLD, NEW}
    assert disk.volumes[NEW].is_active


def test_many_vms_come_in_pages(world, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 10)
    world.vms |= {f"x{number}": (f"x{number}", [D2]) for number in range(22)}
    with engine_of(world) as url:
        disk = connect(url).facts(DOMAIN).disks[D2]
    assert len(disk.vms) == 24
    pages = [query["search"] for _, path, query in world.asked if path.endswith("/vms")]
    assert pages == [[f"sortby name asc page {number}"] for number in (1, 2, 3)]


def test_a_wrong_password(world):
    world.password = "another"
    with engine_of(world) as url:
        text = refusal(url)
    assert "does not let admin@internal in" in text
    assert "Cannot authenticate user" in text
    assert not world.tokens


def test_another_domain(world):
    with engine_of(world) as url, pytest.raises(StrataError, match="no storage domain 222"):
        connect(url).facts("222")
    assert world.tokens == [TOKEN]


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/disks", (500, "application/xml", "<fault><detail>boom</detail></fault>"), "boom"),
        ("/disks", (503, "text/html", "<html>maintenance</html>"), "can not be asked"),
        ("/disks", (200, "application/xml", "<disks><disk id='1'>"), "answer that is none"),
        ("/disks", (200, "application/xml", "<vms><vm id='1'/></vms>"), "answer that is none"),
        ("/disks", (200, "application/xml", ""), "engine"),
        (
            "/disks",
            (401, "application/xml", "<fault><detail>no</detail></fault>"),
            "can not be asked",
        ),
        ("/token", (503, "text/html", "<html>maintenance</html>"), "sign-in says 503"),
        ("/token", (200, "text/html", "<html>hello</html>"), "no JSON"),
        ("/token", (200, "application/json", "[" * 60000), "no JSON"),
        ("/token", (200, "application/json", "[]"), "no token"),
        ("/token", (200, "application/json", '{"access_token": 7}'), "no token"),
        ("/token", (302, "text/html", ""), "sign-in says 302"),
    ],
)
def test_what_goes_wrong_is_said(world, path, answer, words):
    world.broken[path] = answer
    with engine_of(world) as url:
        assert words in refusal(url)
    assert not any(asked == "/elsewhere" for _, asked, _ in world.asked)


@pytest.mark.parametrize("path", ["/token", "/disks", "/sso-logout"])
def test_an_engine_that_hangs(world, path):
    world.slow = path
    start = time.monotonic()
    with engine_of(world) as url:
        if path == "/sso-logout":
            assert connect(url, answer=1).facts(DOMAIN).disks
        else:
            assert "engine" in refusal(url, answer=1)
        assert time.monotonic() - start < 15


def test_waiting_for_an_engine_can_be_stopped(world):
    world.slow = "/disks"

    def stop():
        raise KeyError("enough")

    with engine_of(world) as url, pytest.raises(KeyError, match="enough"):
        connect(url).facts(DOMAIN, stop)


def test_nobody_is_there():
    assert "can not be reached" in refusal("http://localhost:1/ovirt-engine/api")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, signed by itself, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", file, "-out",
            f"{file}.crt"]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    file.write_text(file.read_text() + file.with_name("both.pem.crt").read_text())
    return file


def test_certificates_are_checked(world, certificate):
    pytest.importorskip("ovirtsdk4")
    with engine_of(world, str(certificate)) as url:
        known = Engine(url, "admin@internal", "secret", ca_file=f"{certificate}.crt")
        assert set(known.facts(DOMAIN).disks) == {D1, D2}
        with pytest.raises(StrataError, match="certificate"):
            Engine(url, "admin@internal", "secret").facts(DOMAIN)
        assert connect(url).facts(DOMAIN).disks
        with pytest.raises(StrataError, match="no certificate"):
            Engine(url, "a", "b", ca_file="/dev/null").facts(DOMAIN)


@pytest.mark.parametrize(
    "url",
    [
        "http://engine/ovirt-engine/api",
        "file:///etc/passwd",
        "engine",
        "",
        "https://[x/api",
        "https://a:b/api",
        "https://u:p@a/api",
    ],
)
def test_passwords_travel_only_encrypted(url):
    with pytest.raises(StrataError, match="no address of an engine"):
        Engine(url, "admin@internal", "secret")


def test_without_the_client_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ovirtsdk4", None)
    with pytest.raises(StrataError, match=r"requirements-ovirt\.txt"):
        Engine("https://engine/ovirt-engine/api", "admin@internal", "secret")
