"""What oVirt's metadata says against what is there: each contradiction is found, and nothing else is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chains.core.findings import Code, Severity
from chains.core.forest import Forest, link, outdated
from chains.core.ovirt_rules import metadata_findings
from chains.storage.ovirt_file import OvirtFileDriver
from chains.storage.types import Listing, Notes
from project.builders.ovirt import BLANK, MIB, Domain, Volume
from tests.images import qemu_img

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


def scanned(domain: Domain) -> tuple[Forest, Listing]:
    driver = OvirtFileDriver()
    listing = driver.list(str(domain.root), {}, lambda: None)
    reader = driver.reader(str(domain.root), listing)
    layers = {path: reader.read(path, None) for path in listing.paths}
    while stale := outdated(layers):
        layers |= {path: reader.read(path, hint) for path, hint in stale.items()}
    return link(layers, str(domain.root)), listing


def judged(domain: Domain) -> list[tuple[Code, Severity, str]]:
    forest, listing = scanned(domain)
    found = metadata_findings(forest, listing.notes, listing.aliases, domain.uuid)
    for finding in found:
        assert finding.detail[0].isupper() or finding.detail.startswith("oVirt")
        assert finding.detail.endswith(".")
    return [(f.code, f.severity, f.path) for f in found]


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    return Domain(tmp_path)


@pytest.fixture
def chain(domain: Domain) -> list[Volume]:
    return domain.disk("web_Disk1")


@pytest.mark.parametrize("version", [0, 3, 4, 5])
def test_a_domain_in_order_has_no_findings(tmp_path, version):
    domain = Domain(tmp_path, version)
    domain.disk("one")
    domain.disk("two", 2, raw=False)
    template = domain.template("golden", image_format="RAW")
    domain.from_template(template, "desk1")
    domain.from_template(template, "desk2")
    domain.template("never used")
    assert judged(domain) == []


@pytest.mark.parametrize(
    ("changes", "code", "severity"),
    [
        ({"PUUID": BLANK}, Code.METADATA_PARENT, CRITICAL),
        ({"PUUID": "12345678-1234-1234-1234-123456789abc"}, Code.METADATA_PARENT, CRITICAL),
        ({"CAP": 3 * MIB}, Code.METADATA_CAPACITY, WARNING),
        ({"CAP": 5 * MIB}, Code.METADATA_CAPACITY, INFO),
        ({"VOLTYPE": "INTERNAL"}, Code.METADATA_VOLTYPE, WARNING),
        ({"LEGALITY": "ILLEGAL"}, Code.VOLUME_ILLEGAL, CRITICAL),
        ({"LEGALITY": "FAKE"}, Code.VOLUME_FAKE, INFO),
        ({"DOMAIN": BLANK}, Code.METADATA_PLACE, WARNING),
        ({"IMAGE": BLANK}, Code.METADATA_PLACE, WARNING),
        ({"CTIME": None}, Code.METADATA_INVALID, CRITICAL),
        ({"LEGALITY": "MAYBE"}, Code.METADATA_INVALID, CRITICAL),
    ],
)
def test_what_is_wrong_with_an_active_layer(domain, chain, changes, code, severity):
    leaf = chain[-1].write(**changes)
    assert judged(domain) == [(code, severity, leaf.name)]


@pytest.mark.parametrize(
    ("changes", "code", "severity"),
    [
        ({"PUUID": "12345678-1234-1234-1234-123456789abc"}, Code.METADATA_PARENT, CRITICAL),
        ({"FORMAT": "COW"}, Code.METADATA_FORMAT, CRITICAL),
        ({"VOLTYPE": "LEAF"}, Code.METADATA_VOLTYPE, WARNING),
        ({"LEGALITY": "FAKE"}, Code.VOLUME_FAKE, CRITICAL),
    ],
)
def test_what_is_wrong_with_a_root_layer(domain, chain, changes, code, severity):
    root = chain[0].write(**changes)
    assert judged(domain) == [(code, severity, root.name)]


def test_a_qcow2_layer_that_the_metadata_calls_raw(domain, chain):
    """Its overlay's header records qcow2, so guests read it right until it is opened by itself."""
    middle = chain[1].write(FORMAT="RAW")
    assert judged(domain) == [(Code.METADATA_FORMAT, CRITICAL, middle.name)]


def test_the_backing_file_as_old_versions_wrote_it(domain, chain):
    leaf, below = chain[-1], chain[-2]
    name = f"../{below.image}/{below.uuid}"
    qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", name, leaf.path)
    assert judged(domain) == []


def test_blocks_of_old_versions_are_compared_as_bytes(tmp_path):
    domain = Domain(tmp_path, 4)
    volume = domain.volume(SIZE=4 * MIB // 512 - 1)
    assert judged(domain) == [(Code.METADATA_CAPACITY, WARNING, volume.name)]


def remove_record(volume: Volume) -> None:
    volume.meta.unlink()


def clear_record(volume: Volume) -> None:
    volume.meta.write_bytes(b"NONE=" + b"#" * 502 + b"\nEOF\n")


@pytest.mark.parametrize(
    ("change", "code", "of_leaf", "of_root"),
    [
        (remove_record, Code.METADATA_MISSING, CRITICAL, CRITICAL),
        (clear_record, Code.METADATA_CLEARED, WARNING, CRITICAL),
    ],
)
def test_volumes_without_a_record(
    domain: Domain, chain: list[Volume], change: Callable[[Volume], None], code: Code,
    of_leaf: Severity, of_root: Severity,
) -> None:  # fmt: skip
    change(chain[-1])
    change(chain[0])
    assert set(judged(domain)) == {(code, of_leaf, chain[-1].name), (code, of_root, chain[0].name)}


def test_a_file_that_somebody_left(domain, chain):
    stray = chain[0].path.with_name("notes.txt")
    stray.write_bytes(b"x")
    name = f"images/{chain[0].image}/notes.txt"
    assert judged(domain) == [(Code.METADATA_MISSING, WARNING, name)]


def test_a_preview_is_said_of_both_active_layers(domain):
    root, active = domain.disk("db", 2)
    preview = domain.volume(parent=root)
    expected = {(Code.SEVERAL_LEAFS, INFO, of.name) for of in (active, preview)}
    assert set(judged(domain)) == expected


def test_two_chains_in_one_image(domain):
    first = domain.volume()
    second = domain.volume(image=first.image)
    expected = {(Code.SEVERAL_LEAFS, WARNING, of.name) for of in (first, second)}
    assert set(judged(domain)) == expected


def test_what_a_finished_merge_leaves_is_no_second_active_layer(domain, chain):
    root, middle, leaf = chain
    middle.write(VOLTYPE="LEAF")
    leaf.write(LEGALITY="ILLEGAL")
    assert set(judged(domain)) == {
        (Code.VOLUME_ILLEGAL, CRITICAL, leaf.name), (Code.METADATA_VOLTYPE, WARNING, middle.name)
    }  # fmt: skip
    leaf.path.unlink()
    leaf.meta.unlink()
    assert judged(domain) == []
    assert root.path.exists()


def test_a_merge_inside_a_chain_that_only_has_to_delete(domain, chain):
    """What it joined is ILLEGAL and INTERNAL still; nothing lies over it any more."""
    root, middle, leaf = chain
    qemu_img("rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", root.uuid, leaf.path)
    middle.write(LEGALITY="ILLEGAL")
    expected = {(Code.VOLUME_ILLEGAL, CRITICAL, middle.name)}
    assert set(judged(domain)) == {*expected, (Code.METADATA_PARENT, CRITICAL, leaf.name)}
    leaf.write(PUUID=root.uuid)
    assert set(judged(domain)) == expected


def test_what_comes_or_goes_is_not_judged(domain, chain):
    chain[-1].write(LEGALITY="ILLEGAL", PUUID=BLANK, CAP=1)
    domain.remove_image(chain[0])
    assert judged(domain) == []


def test_while_an_overlay_comes_or_goes_its_backing_file_may_be_either(domain):
    template = domain.template("golden")
    linked = domain.linked(template)
    domain.volume(parent=linked)
    domain.remove_image(linked)
    template.write(VOLTYPE="LEAF")
    assert judged(domain) == []


def test_a_disk_whose_file_is_linked_elsewhere(domain):
    volume = domain.volume()
    domain.linked(volume)
    assert judged(domain) == [(Code.METADATA_VOLTYPE, WARNING, volume.name)]


def test_a_raw_lv_may_be_longer_than_its_disk(domain):
    volume = domain.volume(image_format="RAW", CAP=3 * MIB)
    assert judged(domain) == [(Code.METADATA_CAPACITY, WARNING, volume.name)]
    forest, listing = scanned(domain)
    as_lv = {path: notes._replace(allocated=4 * MIB) for path, notes in listing.notes.items()}
    assert metadata_findings(forest, as_lv) == []


def test_volumes_without_notes_are_not_judged(domain, chain):
    chain[0].write(LEGALITY="ILLEGAL")
    forest, _ = scanned(domain)
    assert metadata_findings(forest, {}) == []


def test_a_volume_that_can_not_be_read_is_not_blamed_for_its_header(domain):
    volume = domain.volume()
    with volume.path.open("r+b") as file:
        file.write(b"QFI\xfb\0\0\0\x09")
    assert judged(domain) == []
    forest, _ = scanned(domain)
    assert not forest.layers[volume.name].is_readable


def test_a_ring_ends(domain):
    first = domain.volume()
    second = domain.volume(parent=first)
    forest, listing = scanned(domain)
    ring = {
        path: layer._replace(backing_path=first.name if path == second.name else second.name)
        for path, layer in forest.layers.items()
    }
    notes = {
        path: Notes(of.disk_key, metadata={"status": "ok", "voltype": "LEAF", "legality": "LEGAL"})
        for path, of in listing.notes.items()
    }
    assert {f.code for f in metadata_findings(link(ring), notes)} == {Code.METADATA_VOLTYPE}
