"""oVirt's file domains: what is listed, how it is named, and what is read through a template's links."""

import os
from pathlib import Path

import pytest

from chains.core.errors import StrataError
from chains.core.findings import Code, Severity
from chains.core.forest import Forest, link, outdated
from chains.core.ovirt_rules import metadata_findings
from chains.storage.ovirt_file import OvirtFileDriver
from chains.storage.types import Driver, Listing, Reader
from project.builders import ovirt
from project.builders.ovirt import Domain, Lab

DRIVER: Driver = OvirtFileDriver()


def listed(root: Path, before: Listing | None = None) -> Listing:
    return DRIVER.list(str(root), before.notes if before else {}, lambda: None)


def read(root: Path, listing: Listing) -> Forest:
    reader: Reader = DRIVER.reader(str(root), listing)
    layers = {path: reader.read(path, None) for path in listing.paths}
    while stale := outdated(layers):
        layers |= {path: reader.read(path, hint) for path, hint in stale.items()}
    return link(layers, str(root))


def judged(root: Path) -> list[tuple[str, str, str]]:
    listing = listed(root)
    forest = read(root, listing)
    domain = str(listing.facts.get("uuid", ""))
    found = [
        *forest.findings, *metadata_findings(forest, listing.notes, listing.aliases, domain)
    ]  # fmt: skip
    return [(f.code.value, f.severity.value, f.path) for f in found]


@pytest.fixture(scope="module", params=[3, 4, 5])
def lab(request, tmp_path_factory) -> Lab:
    return ovirt.lab(tmp_path_factory.mktemp("mnt"), request.param)


def test_what_is_listed(lab):
    listing = listed(lab.domain.root)
    gone = lab.removed.name.replace("images/", "images/_remove_me_")
    volumes = [*lab.chain, lab.template, *lab.clones, *lab.previewed, lab.illegal]
    assert list(listing.paths) == sorted([*(v.name for v in volumes), gone])
    assert listing.aliases == {
        f"images/{clone.image}/{lab.template.uuid}": lab.template.name for clone in lab.clones
    }
    assert listing.notes[gone].passing == "is being removed"
    assert listing.notes[gone].disk_key == lab.removed.image
    assert listing.unread == ()
    assert listing.findings == ()


def test_the_facts_of_the_domain(lab):
    facts = listed(lab.domain.root).facts
    assert facts["uuid"] == lab.domain.uuid
    assert (facts["version"], facts["type"], facts["class"]) == (lab.domain.version, "NFS", "Data")
    assert (facts["role"], facts["description"], facts["checksum"]) == ("Regular", "lab", "ok")
    assert facts["block_size"] == (512 if lab.domain.version == 5 else None)


def test_the_notes_of_a_volume(lab):
    notes = listed(lab.domain.root).notes
    names = {of.name: notes[of.name].disk_name for of in lab.chain}
    assert set(names.values()) == {"web_Disk1"}  # also of the snapshots, which do not say it
    leaf = notes[lab.chain[-1].name]
    assert leaf.disk_key == lab.chain[-1].image
    assert leaf.created == lab.chain[-1].keys["CTIME"]
    assert leaf.metadata is not None
    assert (leaf.metadata["status"], leaf.metadata["capacity"]) == ("ok", 4 * ovirt.MIB)
    assert leaf.metadata["parent"] == lab.chain[-2].uuid
    assert notes[lab.template.name].disk_name == "golden"
    assert {notes[clone.name].disk_name for clone in lab.clones} == {"desk1", "desk2"}


def test_the_forest_is_right_across_a_templates_links(lab):
    forest = read(lab.domain.root, listed(lab.domain.root))
    assert forest.overlays[lab.template.name] == tuple(sorted(c.name for c in lab.clones))
    for clone in lab.clones:
        chain = forest.chain(clone.name)
        assert [layer.path for layer in chain.layers] == [clone.name, lab.template.name]
        assert chain.is_safe
    assert [layer.path for layer in forest.chain(lab.chain[-1].name).layers] == [
        of.name for of in reversed(lab.chain)
    ]
    root, *leaves = lab.previewed
    assert forest.overlays[root.name] == tuple(sorted(leaf.name for leaf in leaves))
    assert forest.findings == ()


def test_reading_through_a_link_gives_the_templates_own_layer(lab):
    listing = listed(lab.domain.root)
    reader = DRIVER.reader(str(lab.domain.root), listing)
    for alias, own in listing.aliases.items():
        assert reader.read(alias, None) == reader.read(own, None)
        assert reader.read(alias, None).path == own
        assert reader.fingerprint(alias) == reader.read(own, None).fingerprint
    assert reader.fingerprint("images/none/none") is None


def test_a_domain_in_order_has_only_the_findings_that_were_made(lab):
    previewed = {(Code.SEVERAL_LEAFS.value, "info", of.name) for of in lab.previewed[1:]}
    illegal = (Code.VOLUME_ILLEGAL.value, "critical", lab.illegal.name)
    assert set(judged(lab.domain.root)) == {*previewed, illegal}


def test_space(lab):
    space = DRIVER.space(str(lab.domain.root))
    assert 0 < space.free <= space.capacity


def test_notes_are_given_again_without_opening_a_record(tmp_path, monkeypatch):
    domain = Domain(tmp_path)
    _, changed = domain.disk("one", 2)
    template = domain.template("golden")
    domain.from_template(template, "desk")
    before = listed(domain.root)
    changed.write(LEGALITY="ILLEGAL")
    opened: list[str] = []
    real = os.open

    def watched(path, *rest, **more):
        opened.append(str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", watched)
    after = listed(domain.root, before)
    monkeypatch.undo()
    assert [path for path in opened if path.endswith(".meta")] == [str(changed.meta)]
    assert after.notes[changed.name].metadata["legality"] == "ILLEGAL"
    assert after.notes[changed.name].stamp != before.notes[changed.name].stamp
    same = set(after.paths) - {changed.name}
    assert {path: after.notes[path] for path in same} == {p: before.notes[p] for p in same}
    assert after.aliases == before.aliases


def test_a_record_that_is_written_anew_breaks_no_link(tmp_path):
    domain = Domain(tmp_path)
    template = domain.template("golden")
    link_ = domain.linked(template)
    link_.write(GEN=1)  # the data is the same file still
    assert listed(domain.root).aliases == {link_.name: template.name}


def test_a_copy_of_a_template_is_a_volume_of_its_own(tmp_path):
    domain = Domain(tmp_path)
    template = domain.template("golden")
    clone = domain.from_template(template, "desk")
    copy = clone.path.with_name(template.uuid)
    data = copy.read_bytes()
    copy.unlink()
    copy.write_bytes(data)
    listing = listed(domain.root)
    name = f"images/{clone.image}/{template.uuid}"
    assert listing.aliases == {}
    assert set(listing.paths) == {template.name, clone.name, name}
    assert read(domain.root, listing).layers[clone.name].backing_path == name
    assert judged(domain.root) == [(Code.METADATA_PLACE.value, "info", name)]


def test_without_its_own_image_a_template_stands_where_it_stays(tmp_path):
    domain = Domain(tmp_path)
    template = domain.template("golden")
    clones = [domain.from_template(template, f"desk{number}") for number in range(3)]
    domain.remove_image(template)
    first = min(f"images/{clone.image}/{template.uuid}" for clone in clones)
    listing = listed(domain.root)
    assert set(listing.aliases.values()) == {first}
    assert not listing.notes[first].passing
    assert len(listing.aliases) == 3


def test_what_is_no_volume_is_left_out(tmp_path):
    domain = Domain(tmp_path)
    volume = domain.volume()
    folder = volume.path.parent
    for name in (".strata-merge-1.tmp", ".nfs0001", "x.lease", "y.meta.new", "z.new"):
        (folder / name).write_bytes(b"x")
    (folder / ".strata-kept-1").mkdir()
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(volume.path)
    os.mkfifo(folder / "fifo")
    (domain.root / "images" / "backup").mkdir()
    (domain.root / "images" / "backup" / "old.qcow2").write_bytes(b"x")
    (domain.root / "images" / domain.new_uuid()).symlink_to(folder)
    assert listed(domain.root).paths == [volume.name]


def test_what_is_on_its_way_is_said(tmp_path):
    domain = Domain(tmp_path)
    volume = domain.volume()
    coming = volume.path.with_name(domain.new_uuid())
    coming.write_bytes(b"")
    coming.with_name(f"{coming.name}.meta.volatile").write_bytes(b"")
    volume.path.with_name(f"{volume.uuid}_MERGE").write_bytes(b"")
    passing = {path.rpartition("/")[2]: n.passing for path, n in listed(domain.root).notes.items()}
    assert passing == {
        volume.uuid: "", coming.name: "is being created", f"{volume.uuid}_MERGE": "is being merged"
    }  # fmt: skip
    assert judged(domain.root) == []


def test_a_folder_that_fails_is_not_seen_which_is_not_gone(tmp_path, monkeypatch):
    domain = Domain(tmp_path)
    bad, good = domain.volume(), domain.volume()
    real = os.scandir

    class Failing:
        def __init__(self, entries):
            self.entries = entries

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.entries.close()

        def __iter__(self):
            yield next(self.entries)
            raise OSError(5, "Input/output error")

    def scandir(path):
        return Failing(real(path)) if str(path).endswith(bad.image) else real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = listed(domain.root)
    assert listing.unread == (f"images/{bad.image}",)
    assert listing.paths == [good.name]
    assert listing.findings == ()


def test_a_record_without_its_volume(tmp_path):
    domain = Domain(tmp_path)
    volume = domain.volume()
    volume.path.unlink()
    (finding,) = listed(domain.root).findings
    assert (finding.code, finding.severity) == (Code.METADATA_ORPHAN, Severity.WARNING)
    assert finding.path == f"{volume.name}.meta"
    domain.remove_image(volume)
    assert listed(domain.root).findings == ()


def test_alive_may_stop_a_listing(tmp_path):
    domain = Domain(tmp_path)
    domain.volume()

    def stop() -> None:
        raise StrataError("enough")

    with pytest.raises(StrataError, match="enough"):
        DRIVER.list(str(domain.root), {}, stop)


def test_a_raw_volume_is_never_guessed(tmp_path):
    """A guest wrote a qcow2 header, with a backing file, to the start of its raw disk."""
    domain = Domain(tmp_path)
    raw = domain.volume(image_format="RAW")
    forged = tmp_path / "forged"
    ovirt._run(tmp_path, "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd",
               "-F", "raw", str(forged), "1M")  # fmt: skip
    with raw.path.open("r+b") as file:
        file.write(forged.read_bytes()[:65536])
    layer = read(domain.root, listed(domain.root)).layers[raw.name]
    assert (layer.format, layer.backing_path) == ("raw", None)
    assert [f.code for f in layer.findings] == [Code.RAW_LOOKS_FORMATTED]


@pytest.mark.parametrize("what", ["gone", "no-images", "link", "file"])
def test_what_is_no_domain_is_refused(tmp_path, what):
    root = tmp_path / "root"
    if what != "gone":
        root.mkdir()
    if what == "link":
        (root / "images").symlink_to("/etc")
    if what == "file":
        (root / "images").write_bytes(b"")
    with pytest.raises((OSError, StrataError)):
        listed(root)
