"""libvirt's images, built by the real tools, and who is said to own them."""

import sys
import threading
import time
import types

import pytest

from chains.core.errors import StrataError
from chains.core.findings import Code
from chains.storage.directory import Directory
from chains.storage.profiles import Options, Tree, domains
from chains.storage.types import Notes
from tests.images import MIB, overlay, qcow2, raw
from tests.storage.test_domain_xml import BOMB

ONE = "6f0c9b4a-0000-4000-8000-000000000001"


def xml(name, *disks, uuid=ONE):
    rows = "".join(
        f"<disk type='file' device='disk'><source file='{path}'/><target dev='{dev}'/></disk>"
        for path, dev in disks
    )
    return f"<domain><name>{name}</name><uuid>{uuid}</uuid><devices>{rows}</devices></domain>"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """libvirt's own directory of descriptions, which holds nothing yet."""
    place = tmp_path / "qemu"
    place.mkdir()
    monkeypatch.setattr(domains, "DEFAULT_XML", str(place))
    return place


@pytest.fixture
def tree(tmp_path, folder):
    root = tmp_path / "libvirt" / "images"
    qcow2(root / "web1.qcow2", MIB)
    overlay(root / "web1.snap1", "web1.qcow2", "qcow2")
    raw(root / "data.img", MIB)
    raw(root / "other" / "free.img", MIB)
    return root


def listed(tree, before=None, **options):
    found = Directory(**options).list(str(tree), before or {}, lambda: None)
    assert found.facts == {"profile": "libvirt"}
    return found


def test_libvirt_s_own_directory_is_read_where_it_may_be(tree, folder):
    (folder / "web1.xml").write_text(
        xml(
            "web1", (tree / "web1.snap1", "vda"), (tree / "data.img", "vdb"), ("/else/x.img", "vdc")
        )
    )
    (folder / "networks").mkdir()
    found = listed(tree)
    assert found.notes == {
        "web1.snap1": Notes(f"{ONE}/vda", "web1 vda", "web1"),
        "data.img": Notes(f"{ONE}/vdb", "web1 vdb", "web1"),
    }
    assert not found.findings
    folder.rename(folder.with_name("moved"))
    assert listed(tree).notes == {}
    assert not listed(tree).findings


def test_descriptions_inside_the_tree(tree):
    (tree / "xml").mkdir()
    (tree / "xml" / "web1.xml").write_text(xml("web1", (tree / "web1.snap1", "vda")))
    (tree / "xml" / "pool.xml").write_text("<pool/>")
    assert listed(tree).notes["web1.snap1"].disk_name == "web1 vda"


def test_a_shared_disk_names_all_its_owners(tree, folder):
    for name in ("b", "a"):
        (folder / f"{name}.xml").write_text(xml(name, (tree / "data.img", "vdb"), uuid=""))
    assert listed(tree).notes["data.img"] == Notes("a/vdb", "a vdb", "a, b")


def test_links_on_the_way_to_a_file(tree, folder, tmp_path):
    (tmp_path / "way").symlink_to(tree)
    (tree / "inner").symlink_to("other")
    (folder / "w.xml").write_text(
        xml("w", (f"{tmp_path}/way/./data.img", "vda"), (tree / "inner" / "free.img", "vdb"))
    )
    found = Directory("libvirt").list(str(tmp_path / "way"), {}, lambda: None)
    assert set(found.notes) == {"data.img", "other/free.img"}


def test_a_source_that_leaves_the_tree_is_nobody_s(tree, folder):
    (folder / "w.xml").write_text(
        xml("w", (f"{tree}/../x.img", "vda"), (f"{tree}/{'y' * 5000}", "vdb"), (f"{tree}", "vdc"))
    )
    assert listed(tree).notes == {}


def test_hostile_descriptions_spoil_nothing_else(tree, folder):
    (folder / "a.xml").write_bytes(BOMB)
    (folder / "b.xml").write_bytes(b"\xff\xfe\0")
    (folder / "c.xml").write_bytes(b" " * 2_000_000)
    (folder / "d.xml").symlink_to("/etc/passwd")
    (folder / "web1.xml").write_text(xml("web1", (tree / "web1.snap1", "vda")))
    found = listed(tree)
    assert found.notes["web1.snap1"].vm == "web1"
    (finding,) = found.findings
    assert (finding.code, finding.path) == (Code.OWNERS_UNREAD, "")
    assert "3 more" in finding.detail


def test_a_directory_that_was_set_must_be_there(tree, tmp_path):
    before = {"data.img": Notes("k", "web1 vdb", "web1"), "gone.img": Notes("g")}
    found = listed(tree, before, libvirt_xml=str(tmp_path / "gone"))
    assert [finding.code for finding in found.findings] == [Code.OWNERS_UNREAD]
    assert found.notes == {"data.img": before["data.img"]}


class FakeError(Exception):
    def get_error_code(self):
        return self.args[1] if len(self.args) > 1 else 1


class FakeDomain:
    def __init__(self, text):
        self.text = text

    def XMLDesc(self, _):  # noqa: N802 - as the module calls it
        if self.text is None:
            raise FakeError("no domain", 42)
        return self.text


@pytest.fixture
def libvirt(monkeypatch):
    """libvirt's module as it is documented; `texts` are its VMs."""
    module = types.ModuleType("libvirt")
    module.libvirtError, module.VIR_ERR_NO_DOMAIN = FakeError, 42
    module.registerErrorHandler = lambda *_: None
    module.texts, module.asked, module.closed = [], [], []

    def open_read_only(uri):
        module.asked.append(uri)
        found = [FakeDomain(text) for text in module.texts]
        return types.SimpleNamespace(
            listAllDomains=lambda _: found, close=lambda: module.closed.append(uri)
        )

    module.openReadOnly = open_read_only
    monkeypatch.setitem(sys.modules, "libvirt", module)
    return module


def test_a_connection_is_asked_and_closed(tree, libvirt):
    libvirt.texts = [xml("web1", (tree / "web1.snap1", "vda")), None, "<broken"]
    uri = "qemu+unix:///system?socket=/run/libvirt/libvirt-sock-ro"
    found = listed(tree, libvirt_uri=uri)
    assert found.notes["web1.snap1"].disk_name == "web1 vda"
    assert libvirt.asked == libvirt.closed == [uri]
    assert len(found.findings) == 1


def test_a_connection_that_fails_keeps_the_names(tree, libvirt):
    def refuse(_):
        raise FakeError("Failed to connect socket")

    libvirt.openReadOnly = refuse
    before = {"data.img": Notes("k", "web1 vdb", "web1")}
    found = listed(tree, before, libvirt_uri="qemu:///system")
    assert found.notes == before
    assert "Failed to connect" in found.findings[0].detail


def test_a_connection_that_hangs_is_left(tree, libvirt, monkeypatch):
    release = threading.Event()
    libvirt.openReadOnly = lambda _: release.wait(30)
    monkeypatch.setattr(domains, "PATIENCE", 0.2)
    signs = []
    start = time.monotonic()
    driver = Directory(libvirt_uri="qemu:///system")
    found = driver.list(str(tree), {}, lambda: signs.append(None))
    release.set()
    assert time.monotonic() - start < 10
    assert "no answer" in found.findings[0].detail


def test_without_the_module_it_is_said_what_to_install(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with pytest.raises(StrataError, match="install libvirt-python"):
        listed(tree, libvirt_uri="qemu:///system")


@pytest.mark.parametrize("uri", ["qemu+ssh://host/system", "qemu+ext:///system", "test:///default"])
def test_only_this_host_is_asked(tree, libvirt, uri):
    with pytest.raises(StrataError, match="this host"):
        listed(tree, libvirt_uri=uri)
    assert libvirt.asked == []


def test_whoever_stops_the_scan_stops_libvirt_too(tree, libvirt):
    calls = []

    def alive():
        calls.append(None)
        raise StrataError("enough")

    options = Options(libvirt_uri="qemu:///system")
    with pytest.raises(StrataError, match="enough"):
        domains.known_domains(Tree(str(tree), (), options, alive=alive), ())
    assert len(calls) == 1
