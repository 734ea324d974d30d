"""A tree of OpenStack's compute service, built by the real tools as it builds one."""

import pytest

from chains.core.findings import Code
from chains.storage.directory import Directory
from chains.storage.profiles import domains
from chains.storage.types import Notes
from tests.images import MIB, overlay, qcow2, raw
from tests.storage.test_profiles import SHA, UUID

ONE, TWO, THREE, FOUR = (UUID.format(number) for number in (1, 2, 3, 4))
XML = """<domain><name>instance-0000000{number}</name><uuid>{uuid}</uuid><metadata>
<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>{name}</nova:name>
</nova:instance></metadata></domain>"""


@pytest.fixture(autouse=True)
def no_libvirt(monkeypatch, tmp_path):
    monkeypatch.setattr(domains, "DEFAULT_XML", str(tmp_path / "no-libvirt"))


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "instances"
    base = raw(root / "_base" / SHA, MIB)
    raw(root / "_base" / f"{SHA[::-1]}.part", MIB)
    raw(root / "_base" / "ephemeral_1_0706d66", MIB)
    raw(root / "_base" / "swap_512", MIB)
    for uuid in (ONE, TWO, f"{THREE}_resize", f"{FOUR}_del"):
        overlay(root / uuid / "disk", str(base), "raw")
    overlay(root / ONE / "disk.local", f"../_base/{'ephemeral_1_0706d66'}", "raw")
    raw(root / ONE / "disk.config", MIB)
    (root / ONE / "disk.info").write_text("{}")
    (root / ONE / "console.log").write_text("hello")
    (root / ONE / "libvirt.xml").write_text(XML.format(number=1, uuid=ONE, name="shop"))
    (root / "locks").mkdir()
    (root / "locks" / "nova-storage-registry-lock").touch()
    return root


def listed(tree, before=None, **options):
    found = Directory(**options).list(str(tree), before or {}, lambda: None)
    assert found.facts == {"profile": "nova"}
    return found


def test_names(tree):
    found = listed(tree)
    assert found.notes == {
        f"{ONE}/disk": Notes(f"{ONE}/disk", "shop disk", "shop"),
        f"{ONE}/disk.local": Notes(f"{ONE}/disk.local", "shop disk.local", "shop"),
        f"{ONE}/disk.config": Notes(f"{ONE}/disk.config", "shop disk.config", "shop"),
        f"{TWO}/disk": Notes(f"{TWO}/disk", f"{TWO} disk", TWO),
        f"{THREE}_resize/disk": Notes(
            f"{THREE}_resize/disk", f"{THREE} disk", THREE,
            passing="is kept until its resize is confirmed",
        ),
        f"{FOUR}_del/disk": Notes(
            f"{FOUR}_del/disk", f"{FOUR} disk", FOUR, passing="is being removed"
        ),
        f"_base/{SHA}": Notes(f"_base/{SHA}", f"image cache {SHA}"),
        f"_base/{SHA[::-1]}.part": Notes(
            f"_base/{SHA[::-1]}.part", f"image cache {SHA[::-1]}.part", passing="is being downloaded"
        ),
        "_base/ephemeral_1_0706d66": Notes(
            "_base/ephemeral_1_0706d66", "image cache ephemeral_1_0706d66"
        ),
        "_base/swap_512": Notes("_base/swap_512", "image cache swap_512"),
    }  # fmt: skip
    assert not found.findings
    layer = Directory().reader(str(tree), found).read(f"{ONE}/disk", None)
    assert layer.backing_path == f"_base/{SHA}"


def test_libvirt_s_descriptions_have_names_too(tree, tmp_path):
    folder = tmp_path / "xml"
    folder.mkdir()
    (folder / "instance-2.xml").write_text(XML.format(number=2, uuid=TWO.upper(), name="front"))
    found = listed(tree, libvirt_xml=str(folder))
    assert found.notes[f"{TWO}/disk"].disk_name == "front disk"
    assert found.notes[f"{ONE}/disk"].disk_name == "shop disk"


def test_names_stay_when_a_description_is_broken(tree):
    before = listed(tree).notes
    (tree / ONE / "libvirt.xml").write_bytes(b"<!DOCTYPE d><domain/>")
    found = listed(tree, before)
    assert found.notes[f"{ONE}/disk"].disk_name == "shop disk"
    assert [finding.code for finding in found.findings] == [Code.OWNERS_UNREAD]
    assert listed(tree).notes[f"{ONE}/disk"].disk_name == f"{ONE} disk"


def test_a_resized_cache_image_is_one_too(tmp_path):
    qcow2(tmp_path / "_base" / f"{SHA}_20", MIB)
    assert listed(tmp_path).notes[f"_base/{SHA}_20"].disk_name == f"image cache {SHA}_20"
