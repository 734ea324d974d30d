"""The directory of an oVirt domain: how it is found, and what is said when its description is wrong."""

import os
from pathlib import Path

import pytest

from chains.core.findings import Code, Severity
from chains.storage.ovirt_domain import FoundDomain, domain_findings, read_domain
from chains.storage.ovirt_file import OvirtFileDriver, find_domains
from project.builders.ovirt import SAMPLE_DOMAIN, Domain


def found_in(root: Path) -> list[tuple[Severity, str]]:
    listing = OvirtFileDriver().list(str(root), {}, lambda: None)
    assert all(f.code is Code.DOMAIN_METADATA and f.path == "" for f in listing.findings)
    return [(f.severity, f.detail) for f in listing.findings]


def test_domains_below_a_mount_point(tmp_path):
    made = [Domain(tmp_path, version, DESCRIPTION=f"V{version}") for version in (0, 3, 4, 5)]
    export = Domain(tmp_path, 0, "66666666-7777-8888-9999-aaaaaaaaaaaa", CLASS="Backup")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "__DIRECT_IO_TEST__").write_bytes(b"")
    (tmp_path / "11111111-2222-3333-4444-555555555555").mkdir()
    (tmp_path / "22222222-2222-3333-4444-555555555555").write_bytes(b"")
    (tmp_path / "33333333-2222-3333-4444-555555555555").symlink_to(made[0].root)
    expected = [
        FoundDomain(str(of.root), of.uuid, of.version, "Data", f"V{of.version}") for of in made
    ]
    expected.append(FoundDomain(str(export.root), export.uuid, 0, "Backup", "lab"))
    assert find_domains(str(tmp_path)) == sorted(expected)


def test_the_directory_of_a_domain_gives_that_domain(tmp_path):
    domain = Domain(tmp_path)
    (tmp_path / "link").symlink_to(domain.root)
    for root in (domain.root, tmp_path / "link"):
        assert find_domains(str(root)) == [FoundDomain(str(root), domain.uuid, 5, "Data", "lab")]


def test_odd_files_are_not_waited_for(tmp_path):
    fifo, folder, gone = (Domain(tmp_path, version) for version in (3, 4, 5))
    for domain in (fifo, folder, gone):
        domain.metadata.unlink()
    os.mkfifo(fifo.metadata)
    folder.metadata.mkdir()
    found = find_domains(str(tmp_path))
    assert {(of.uuid, of.version, of.error) for of in found} == {
        (of.uuid, None, "it is no regular file") for of in (fifo, folder)
    }
    (severity, detail) = found_in(fifo.root)[0]
    assert severity is Severity.CRITICAL
    assert "it is no regular file" in detail


def test_links_are_not_followed(tmp_path):
    domain = Domain(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    (domain.root / "dom_md").rename(elsewhere)
    (domain.root / "dom_md").symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        read_domain(str(domain.root))
    assert find_domains(str(tmp_path))[0].error == "dom_md is no directory"


def test_no_mount_point(tmp_path):
    assert find_domains(str(tmp_path)) == []
    with pytest.raises(FileNotFoundError):
        find_domains(str(tmp_path / "gone"))


def test_a_sound_domain(tmp_path):
    assert found_in(Domain(tmp_path).root) == []


@pytest.mark.parametrize(
    ("change", "severity", "words"),
    [
        (lambda text: text.replace(b"lab", b"LAB"), Severity.CRITICAL, "checksum"),
        (lambda text: text[: text.index(b"_SHA")], Severity.WARNING, "no checksum"),
        (lambda text: b"", Severity.CRITICAL, "no keys"),
        (lambda text: SAMPLE_DOMAIN, Severity.WARNING, "275766cb-c7d8-43d6-a663-4e52160de620"),
    ],
)
def test_a_description_that_is_wrong(tmp_path, change, severity, words):
    domain = Domain(tmp_path)
    domain.metadata.write_bytes(change(domain.metadata.read_bytes()))
    ((seen, detail),) = found_in(domain.root)
    assert seen is severity
    assert words in detail


def test_a_version_of_tomorrow(tmp_path):
    domain = Domain(tmp_path)
    domain.seal(VERSION=6)
    ((severity, detail),) = found_in(domain.root)
    assert severity is Severity.WARNING
    assert "V6" in detail


def test_what_can_not_be_read_is_said(tmp_path):
    domain = Domain(tmp_path)
    (finding,) = domain_findings(str(domain.root), OSError(5, "Input/output error"))
    assert "Input/output error" in finding.detail
    domain.metadata.unlink()
    listing = OvirtFileDriver().list(str(domain.root), {}, lambda: None)
    assert listing.facts == {}
    assert listing.findings[0].severity is Severity.CRITICAL
