"""The engine's word beside the storage's: names, states, disagreements, and an engine that is down."""

import pytest

from chains.core.engine_rules import EngineDisk, EngineFacts, EngineVolume
from chains.core.errors import StrataError
from chains.inventory import engine, scanning, services
from chains.models import ScanState, Volume
from project.builders import ovirt


class Fake:
    """An engine that says what it was told to, one answer after the other."""

    answers: list[EngineFacts | Exception] = []
    asked: list[str] = []

    def __init__(self, *_: object) -> None:
        pass

    def facts(self, domain, alive):
        Fake.asked.append(domain)
        alive()
        answer = Fake.answers.pop(0) if len(Fake.answers) > 1 else Fake.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def lab(tmp_path, db, settings, monkeypatch):
    settings.ENGINE_URL = "https://engine.test/ovirt-engine/api"
    monkeypatch.setattr(engine, "Engine", Fake)
    Fake.asked = []
    domain = ovirt.Domain(tmp_path)
    chain = domain.disk("web_Disk1")
    row = services.add_domain("ovirt", str(domain.root), "ovirt-file", "here")

    def scan():
        done = scanning.run_scan(services.request_scan(row, None, "test", queue=False).pk)
        row.refresh_from_db()
        return done

    return domain, chain, row, scan


def disk_of(chain, **changes) -> EngineDisk:
    leaf = chain[-1]
    volumes = {
        v.uuid: EngineVolume(v.uuid, f"snapshot {n}", 1_600_000_000.0 + n, is_active=v is leaf)
        for n, v in enumerate(chain)
    }
    facts = {"alias": "renamed", "vms": ("web\x00 1",), "status": "ok", "volumes": volumes}
    return EngineDisk(leaf.image, **facts | changes)


def facts(domain, *disks) -> EngineFacts:
    return EngineFacts(domain.uuid, {disk.image: disk for disk in disks})


def found(row):
    return set(row.findings.open().values_list("code", flat=True))


def test_names_and_snapshots_come_from_the_engine(lab):
    domain, chain, row, scan = lab
    Fake.answers = [facts(domain, disk_of(chain))]
    assert scan().state == ScanState.SUCCEEDED
    assert Fake.asked == [domain.uuid] * 2, "before and after the storage was listed"
    disk = row.disks.get()
    assert (disk.name, disk.vm) == ("renamed", "web\\x00 1")
    middle = Volume.objects.get(path_text__endswith=chain[1].uuid)
    assert middle.notes["engine"]["description"] == "snapshot 1"
    assert middle.notes["engine"]["date"] == "2020-09-13T12:26:41+00:00"
    assert found(row) == set()


def test_what_the_engine_holds_against_the_storage(lab):
    domain, chain, row, scan = lab
    gone = EngineVolume("77777777-2222-4333-8444-555555555555", "lost", None)
    disk = disk_of(chain[1:])
    Fake.answers = [facts(domain, disk._replace(volumes={**disk.volumes, gone.volume: gone}))]
    scan()
    assert found(row) == {"engine-missing", "engine-unknown"}
    Fake.answers = [facts(domain, disk_of(chain, status="illegal"))]
    scan()
    assert found(row) == {"engine-illegal"}


def test_a_disk_that_changes_meanwhile_is_not_judged(lab):
    domain, chain, row, scan = lab
    Fake.answers = [facts(domain, disk_of(chain)), facts(domain, disk_of(chain, status="illegal"))]
    scan()
    assert found(row) == set()


def test_an_engine_that_is_down_takes_no_names_away(lab):
    domain, chain, row, scan = lab
    Fake.answers = [facts(domain, disk_of(chain))]
    scan()
    Fake.answers = [StrataError("The engine does not answer.")]
    assert scan().state == ScanState.SUCCEEDED
    assert found(row) == {"engine-unread"}
    assert "does not answer" in row.findings.open().get().detail
    assert row.disks.get().vm == "web\\x00 1"
    Fake.answers = [facts(domain, disk_of(chain))]
    scan()
    assert found(row) == set()


def test_without_an_address_nobody_is_asked(lab, settings):
    _, _, row, scan = lab
    settings.ENGINE_URL = ""
    Fake.answers = [StrataError("asked")]
    scan()
    assert (Fake.asked, found(row)) == ([], set())
