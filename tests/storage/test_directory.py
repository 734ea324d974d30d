"""The driver of directories: what it lists, what it could not see, and what it reads."""

import os
import shutil

import pytest

from chains.core.errors import StrataError
from chains.core.layer import Fingerprint
from chains.core.plans import KEPT, TEMPORARY
from chains.storage.directory import STRIDE, Directory, list_files
from chains.storage.types import Driver, Listing
from tests.images import MIB, lesson, overlay, qcow2

ROOT = "chains.storage.directory.os.scandir"


def listed(root, **options) -> Listing:
    return Directory(**options).list(str(root), {}, lambda: None)


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


class Broken:
    """A listing that fails after some entries."""

    def __init__(self, real, after):
        self.real, self.after = real, after

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.real.close()

    def __iter__(self):
        for number, entry in enumerate(self.real):
            if number == self.after:
                raise OSError(5, "Input/output error")
            yield entry


def break_folder(monkeypatch, folder, after):
    real = os.scandir

    def scandir(path):
        return Broken(real(path), after) if str(path).rstrip("/") == str(folder) else real(path)

    monkeypatch.setattr(ROOT, scandir)


def test_it_is_a_driver(tmp_path):
    driver: Driver = Directory()
    assert driver.space(str(tmp_path)).capacity > driver.space(str(tmp_path)).free > 0


def test_files_are_listed_as_they_were_and_strata_s_own_are_hidden(tmp_path):
    touch(
        tmp_path, "b.img", "a/c.qcow2", f"a/{TEMPORARY}1.tmp", f"{KEPT}1-x/old.qcow2", "a/d/e.txt"
    )
    os.link(tmp_path / "b.img", tmp_path / "linked.img")
    (tmp_path / "soft.img").symlink_to("b.img")
    os.mkfifo(tmp_path / "fifo")
    found = listed(tmp_path)
    assert list(found.paths) == ["b.img", "linked.img", "a/c.qcow2", "a/d/e.txt"]
    assert list(found.paths) == list(list_files(str(tmp_path)))
    assert not found.unread
    assert not found.aliases
    assert not found.findings
    assert found.facts == {"profile": "plain"}
    assert found.notes == {}


def test_a_root_that_can_not_be_read_is_an_error(tmp_path):
    with pytest.raises(OSError, match="gone"):
        listed(tmp_path / "gone")


def test_a_name_that_is_not_utf_8(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff\n.img", os.O_CREAT))
    found = listed(tmp_path)
    assert list(found.paths) == ["\udcff\n.img"]
    reader = Directory().reader(str(tmp_path), found)
    assert reader.fingerprint("\udcff\n.img") == reader.read("\udcff\n.img", None).fingerprint


def test_an_error_in_the_midst_of_a_folder(tmp_path, monkeypatch):
    touch(tmp_path, *(f"sub/{number}.img" for number in range(10)), "z.img")
    break_folder(monkeypatch, tmp_path / "sub", 3)
    found = listed(tmp_path)
    assert found.unread == ("sub",)
    assert len([path for path in found.paths if path.startswith("sub/")]) == 3
    assert "z.img" in found.paths


def test_an_error_in_the_root_itself(tmp_path, monkeypatch):
    touch(tmp_path, "a.img", "b.img", "c.img")
    break_folder(monkeypatch, tmp_path, 2)
    found = listed(tmp_path)
    assert found.unread == ("",)
    assert len(found.paths) == 2


def test_a_folder_that_goes_away_was_not_seen(tmp_path):
    touch(tmp_path, "a.img", "sub/b.img")
    calls = []

    def alive():
        calls.append(None)
        if len(calls) == 2:  # the root has been read, the folder has not
            shutil.rmtree(tmp_path / "sub")

    found = Directory().list(str(tmp_path), {}, alive)
    assert found.unread == ("sub",)
    assert found.paths == ("a.img",)


def test_an_entry_that_can_not_be_looked_at_makes_its_folder_unread(tmp_path, monkeypatch):
    touch(tmp_path, "sub/a.img", "sub/b.img")

    class Entry:
        name = "a.img"

        def is_file(self, **_):
            raise OSError(5, "Input/output error")

    real = os.scandir

    class Odd(Broken):
        def __iter__(self):
            yield Entry()
            yield from (entry for entry in self.real if entry.name != "a.img")

    monkeypatch.setattr(
        ROOT, lambda path: Odd(real(path), 0) if str(path).endswith("sub") else real(path)
    )
    found = listed(tmp_path)
    assert found.paths == ("sub/b.img",)
    assert found.unread == ("sub",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_rights_is_unread(tmp_path):
    touch(tmp_path, "sub/a.img")
    (tmp_path / "sub").chmod(0)
    assert listed(tmp_path).unread == ("sub",)


def test_signs_of_life_come_often_and_can_stop_the_walk(tmp_path):
    calls = []
    touch(tmp_path, *(f"{number}.img" for number in range(STRIDE * 2)))
    Directory().list(str(tmp_path), {}, lambda: calls.append(None))
    assert len(calls) >= 3

    def stop():
        raise StrataError("enough")

    with pytest.raises(StrataError, match="enough"):
        Directory().list(str(tmp_path), {}, stop)


def test_a_profile_that_does_not_exist():
    with pytest.raises(StrataError, match="choose one of auto, plain, libvirt, proxmox, nova"):
        Directory(profile="vmware")


def test_the_reader_reads_a_real_chain(tmp_path):
    lesson(tmp_path)
    driver = Directory()
    found = driver.list(str(tmp_path), {}, lambda: None)
    reader = driver.reader(str(tmp_path), found)
    layers = {path: reader.read(path, None) for path in found.paths}
    assert layers["snap2.img"].backing_path == "snap1.img"
    assert layers["snap1.img"].backing_path == "base.img"
    assert reader.read("base.img", "raw").format == "raw"
    assert layers["snap2.img"].tables is not None
    assert all(reader.fingerprint(path) == layer.fingerprint for path, layer in layers.items())


def test_fingerprints_tell_changes_and_what_is_gone(tmp_path):
    image = qcow2(tmp_path / "a.qcow2", MIB)
    reader = Directory().reader(str(tmp_path), listed(tmp_path))
    before = reader.fingerprint("a.qcow2")
    overlay(tmp_path / "b.qcow2", "a.qcow2", "qcow2")
    assert reader.fingerprint("a.qcow2") == before
    os.truncate(image, 2 * MIB)
    assert reader.fingerprint("a.qcow2") != before
    image.unlink()
    assert reader.fingerprint("a.qcow2") is None
    assert reader.fingerprint("a.qcow2/b") is None


def test_what_can_not_be_looked_at_is_not_gone(tmp_path):
    reader = Directory().reader(str(tmp_path), Listing(("x" * 300,)))
    assert reader.fingerprint("x" * 300) == Fingerprint(0, 0, 0, 0, 0)
    assert reader.read("x" * 300, None).fingerprint == Fingerprint(0, 0, 0, 0, 0)
