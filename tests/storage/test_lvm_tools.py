"""LVM's own tools as oracle: a group that they made on loop devices, read in both ways; and what is
said when they fail."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from chains.core.direct import DirectFile
from chains.core.errors import StrataError
from chains.core.forest import link
from chains.core.lv_rules import tag_findings
from chains.core.lvm_group import LogicalVolume, PhysicalVolume, VolumeGroup
from chains.qemu.command import Result
from chains.storage import lvm_tools
from chains.storage.lvm import Found, opened, read_group
from chains.storage.ovirt_block import OvirtBlock
from project.builders.lvm import BLANK, DOMAIN_TAGS
from tests.images import MIB, qemu_img
from tests.storage import blocks
from tests.storage.blocks import BASE, IMAGE, MIDDLE, TOP

driver = OvirtBlock()


class Real:
    """A group made by pvcreate, vgcreate and lvcreate, without device-mapper."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.name = str(uuid.uuid4())  # others on this machine may have one too
        self.root = f"/dev/{self.name}"
        self.folder = folder
        self.devices = []
        for number in range(2):
            path = folder / f"pv{number}"
            with path.open("xb") as file:
                file.truncate(500 * MIB)
            done = subprocess.run(
                ["losetup", "--find", "--show", path], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip("this machine does not let root attach a loop device")
            self.devices.append(done.stdout.strip())
            stack.callback(subprocess.run, ["losetup", "-d", self.devices[-1]], check=True)
        patterns = ", ".join(f'"a|^{device}$|"' for device in self.devices)
        self.config = (
            f'devices {{ filter=[{patterns}, "r|.*|"] hints="none" use_devicesfile=0'
            " obtain_device_list_from_udev=0 write_cache_state=0 }"
            " backup { backup=0 archive=0 }"
        )

    def run(self, tool: str, *arguments: str) -> str:
        argv = [tool, "--config", self.config, *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def change(self, tool: str, *arguments: str) -> None:
        self.run(tool, "--driverloaded", "n", "--autobackup", "n", *arguments)

    def lv(self, name: str, size: int, *tags: str, more: tuple[str, ...] = ()) -> None:
        added = [word for tag in tags for word in ("--addtag", tag)]
        self.change(
            "lvcreate", "-an", "-Zn", "-Wn", "--contiguous", "n", "--size", f"{size}m", *added,
            *more, "--name", name, self.name, *self.devices[:1],
        )  # fmt: skip

    def make(self) -> None:
        size = ("--metadatasize", "128m", "--metadatacopies", "2", "--metadataignore", "y")
        self.run("pvcreate", *size, *self.devices)
        self.run("pvchange", "--metadataignore", "n", self.devices[0])
        tags = [word for tag in DOMAIN_TAGS for word in ("--addtag", tag)]
        extent = ("--setautoactivation", "n", "--physicalextentsize", "1m")
        self.run("vgcreate", "--autobackup", "n", *extent, *tags, self.name, *self.devices)
        self.lv("metadata", 32)
        for name in ("ids", "inbox", "outbox", "leases", "xleases", "master"):
            self.lv(name, 1)
        self.lv(BASE, 5, "MD_4", f"PU_{BLANK}", f"IU_{IMAGE}")
        self.lv(MIDDLE, 16, "MD_5", f"PU_{BASE}", f"IU_{IMAGE}")
        self.change("lvextend", "--size", "9m", f"{self.name}/{BASE}", self.devices[1])
        self.lv(TOP, 8, "MD_6", f"PU_{MIDDLE}", f"IU_{IMAGE}")
        self.change("lvextend", "--size", "16m", f"{self.name}/{BASE}", self.devices[0])

    def fill(self, originals: list[Path]) -> None:
        """Write through the extents that the tools tell, with tools' own words for them."""
        ranges = self.run(
            "lvs", "--noheadings", "--readonly", "--driverloaded", "n", "--separator", "|",
            "-o", "lv_name,seg_start_pe,seg_pe_ranges", "--units", "b", "--nosuffix",
            self.name,
        )  # fmt: skip
        contents = {path.name: path.read_bytes() for path in originals}
        records = bytearray(2 * MIB)
        for slot, record in (
            (4, blocks.metadata(FORMAT="RAW")), (5, blocks.metadata(BASE)), (6, blocks.metadata(MIDDLE)),
        ):  # fmt: skip
            records[MIB + slot * 8192 : MIB + slot * 8192 + 512] = record
        contents["metadata"] = bytes(records)
        for name, start, place in re.findall(r"(\S+)\|(\d+)\|(\S+)", ranges):
            device, first, last = re.fullmatch(r"(.+):(\d+)-(\d+)", place).groups()
            piece = contents.get(name, b"")[int(start) * MIB :][
                : (int(last) - int(first) + 1) * MIB
            ]
            with Path(device).open("r+b") as file:
                file.seek((129 + int(first)) * MIB)
                file.write(piece)
                file.flush()
                os.fsync(file.fileno())


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[Path]:
    return blocks.files(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def real(tmp_path_factory, originals) -> Iterator[Real]:
    if os.geteuid() != 0 or shutil.which("vgcreate") is None:
        pytest.skip("only root can attach devices, and only lvm2 makes groups")
    with ExitStack() as stack:
        made = Real(tmp_path_factory.mktemp("loops"), stack)
        made.make()
        made.fill(originals)
        yield made


def alike(group: VolumeGroup) -> VolumeGroup:
    """The group without what only one of the two ways tells: states, and the order of things."""

    def lv(one: LogicalVolume) -> LogicalVolume:
        return replace(one, status=())

    def pv(one: PhysicalVolume) -> PhysicalVolume:
        return replace(one, status=())

    return replace(
        group,
        status=(),
        lvs=tuple(map(lv, sorted(group.lvs, key=lambda found: found.name))),
        pvs=tuple(map(pv, sorted(group.pvs, key=lambda found: found.uuid))),
    )


def test_both_ways_tell_the_same(real):
    ours, tools = read_group(str(real.folder)), read_group(real.root)
    assert alike(ours.group) == alike(tools.group)
    assert (ours.mda_size, ours.mda_free) == (tools.mda_size, tools.mda_free)
    assert sorted(ours.devices) == sorted(tools.devices)
    assert sorted(tools.devices.values()) == sorted(real.devices)
    assert ours.group.free == tools.group.free > 0
    assert [s.extent_count for s in ours.lv(BASE).segments] == [5, 4, 7]
    for lv in ours.group.lvs:
        with opened(ours) as one, opened(tools) as other:
            here, there = one.source(lv), other.source(tools.lv(lv.name))
            assert here.pread(2 * MIB, 0) == there.pread(2 * MIB, 0)


def test_a_directory_of_links_to_devices(real, tmp_path):
    for number, device in enumerate(real.devices):
        (tmp_path / f"lun{number}").symlink_to(device)
    (tmp_path / "dangling").symlink_to("/dev/nothing")
    (tmp_path / "elsewhere").symlink_to(real.folder / "pv0")
    found = read_group(str(tmp_path))
    assert found.group == read_group(str(real.folder)).group
    assert set(found.devices.values()) == {str(tmp_path / f"lun{number}") for number in range(2)}


@pytest.mark.parametrize("way", ["tools", "files"])
def test_the_domain_is_read(real, originals, way):
    root = real.root if way == "tools" else str(real.folder)
    listing = driver.list(root, {}, lambda: None)
    assert listing.paths == [BASE, MIDDLE, TOP]
    assert listing.findings == []
    assert listing.notes[TOP].disk_name == "vm1_Disk1"
    assert driver.space(root) == (486 * MIB, 486 * MIB - 78 * MIB)
    chain = driver.chain(root, TOP)
    assert chain.is_safe
    assert [layer.path for layer in chain.layers] == [TOP, MIDDLE, BASE]
    told = json.loads(qemu_img("info", "-U", "--output=json", originals[1]))
    assert chain.layers[1].virtual_size == told["virtual-size"]
    assert len(driver.maps(root, chain)) == 3
    assert driver.is_current(root, listing)


def test_a_device_that_is_gone(real):
    """(Of a copy, for others read the devices of this one.)"""
    found = read_group(str(real.folder))
    second = next(pv.uuid for pv in found.group.pvs if found.devices[pv.uuid].endswith("pv1"))
    hidden = Found(found.group, {k: v for k, v in found.devices.items() if k != second}, 0, 0)
    with opened(hidden) as devices:
        assert devices.source(found.lv(TOP)).size == 8 * MIB
        with pytest.raises(StrataError, match="which is not there"):
            devices.source(found.lv(BASE))


def answers(monkeypatch, *outputs: tuple[int, object]) -> list[list[str]]:
    """Let the tools say this, one answer a call; the last is said again and again."""
    asked: list[list[str]] = []

    async def run(argv, **options):
        code, said = outputs[min(len(asked), len(outputs) - 1)]
        asked.append(list(argv))
        text = said if isinstance(said, bytes) else json.dumps({"report": [said]}).encode()
        return Result(tuple(argv), code, text, b"  what it said\n", None)

    monkeypatch.setattr(lvm_tools, "run", run)
    return asked


VG = {
    "vg_name": "group", "vg_uuid": "g", "vg_seqno": "3", "vg_extent_size": "1048576",
    "vg_tags": "b,a", "vg_mda_size": "100", "vg_mda_free": "50", "vg_free_count": "2",
}  # fmt: skip
PV = {
    "pv_name": "/dev/sda", "pv_uuid": "one", "pe_start": "1048576", "pv_pe_count": "10",
    "dev_size": "0", "pv_missing": "", "pv_tags": "", "vg_seqno": "3",
}  # fmt: skip
GONE = {**PV, "pv_name": "[unknown]", "pv_uuid": "two", "pv_missing": "missing"}
LV = {
    "lv_name": "[hidden]", "lv_uuid": "l", "lv_tags": "", "lv_time": "", "seg_start_pe": "0",
    "seg_size_pe": "8", "seg_pe_ranges": "/dev/sda:0-3 [unknown]:5-8", "segtype": "striped",
    "vg_seqno": "3",
}  # fmt: skip
VGS, PVS, LVS = {"vg": [VG]}, {"pv": [PV, GONE]}, {"lv": [LV]}


def test_a_partial_group(monkeypatch):
    asked = answers(monkeypatch, (0, VGS), (0, PVS), (0, LVS))
    found = lvm_tools.ask("group")
    assert found.group.tags == ("a", "b")
    assert found.devices == {"one": "/dev/sda"}
    assert [stripe.pv for stripe in found.group.lvs[0].segments[0].stripes] == ["one", "two"]
    assert found.group.lvs[0].name == "hidden"
    assert all({"--readonly", "--driverloaded"} <= set(argv) for argv in asked)


def test_the_tools_can_be_asked_from_within_an_event_loop(monkeypatch):
    answers(monkeypatch, (0, VGS), (0, PVS), (0, LVS))

    async def inside():
        return lvm_tools.ask("group")

    assert asyncio.run(inside()).group.name == "group"


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([(5, VGS)], "could not tell of the volume group .*what it said"),
        ([(0, b"no json")], "could not tell"),
        ([(0, {"vg": "x"})], "could not tell"),
        ([(0, {"vg": []})], "LVM knows 0 volume groups"),
        ([(0, VGS), (0, {"pv": [{**PV, "vg_seqno": "4"}]}), (0, LVS)] * 3, "changed whenever"),
        ([(0, VGS), (0, {"pv": [{**PV, "pe_start": "-1"}]}), (0, LVS)], "is not understood"),
        ([(0, VGS), (0, PVS), (0, {"lv": [{**LV, "seg_pe_ranges": "x"}]})], "is not understood"),
        ([(0, VGS), (0, PVS), (0, {"lv": [{**LV, "seg_start_pe": "1"}]})], "do not follow"),
        ([(0, VGS), (0, PVS), (0, {"lv": [{**LV, "lv_name": "../x"}]})], "is no name"),
        ([(0, {"vg": [{"vg_seqno": "3"}]}), (0, PVS), (0, LVS)], "no “vg_"),
        ([(0, {"vg": [{**VG, "vg_extent_size": "0"}]}), (0, PVS), (0, LVS)], "have no size"),
    ],
)
def test_tools_that_fail(monkeypatch, outputs, words):
    answers(monkeypatch, *outputs)
    with pytest.raises(StrataError, match=words):
        lvm_tools.ask("group")


def test_a_failure_is_tried_once_more(monkeypatch):
    asked = answers(monkeypatch, (5, b""), (0, VGS), (0, PVS), (0, LVS))
    assert lvm_tools.ask("group").group.name == "group"
    assert len(asked) == 4


@pytest.mark.parametrize("name", ["", "-x", "..", 'a" || vg_name="b', "a b"])
def test_names_that_are_never_passed_on(monkeypatch, name):
    asked = answers(monkeypatch, (0, VGS))
    with pytest.raises(StrataError, match="is no name"):
        lvm_tools.ask(name)
    assert asked == []


@pytest.mark.skipif(shutil.which("vgs") is None, reason="lvm2 is not installed")
def test_a_group_that_this_host_does_not_see():
    with pytest.raises(StrataError, match="could not tell"):
        driver.list(f"/dev/{uuid.uuid4()}", {}, lambda: None)


def test_rules_see_nothing_wrong_with_a_real_group(real):
    listing = driver.list(real.root, {}, lambda: None)
    chain = driver.chain(real.root, TOP)
    linked = link({layer.path: layer for layer in chain.layers}, real.root)
    assert linked.findings == ()
    assert tag_findings(linked, listing.notes) == []


def test_a_device_is_read_past_its_cache(real):
    """Another host writes the LUN: here, somebody writes the file behind a loop device."""
    at, device = (129 + 200) * MIB, real.devices[1]
    with Path(device).open("rb", buffering=0) as cached, DirectFile(device) as direct:
        os.pread(cached.fileno(), 4096, at)
        with (real.folder / "pv1").open("r+b") as file:
            file.seek(at)
            file.write(b"written elsewhere")
            file.flush()
            os.fsync(file.fileno())
        # (A read through the cache would most likely still give zeroes.)
        assert direct.direct
        assert direct.pread(7, at) == b"written"
