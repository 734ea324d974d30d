"""A VM's description, which anybody may have written."""

import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.errors import StrataError
from chains.storage.domain_xml import MAX_BYTES, DomainDisk, parse_domain

WEB1 = b"""<?xml version='1.0'?>
<!-- WARNING: THIS IS AN AUTO-GENERATED FILE. -->
<domain type='kvm'>
  <name>web1</name>
  <uuid>6F0C9B4A-0000-4000-8000-000000000001</uuid>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:name>shop &amp; front</nova:name>
      <nova:owner><nova:user uuid='x'>somebody</nova:user></nova:owner>
    </nova:instance>
  </metadata>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/images/web1.snap1'/>
      <backingStore type='file'>
        <format type='qcow2'/><source file='/images/web1.qcow2'/><backingStore/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file'><target dev='vdb'/><source file='/images/data.img'/></disk>
    <disk type='file' device='cdrom'><source file='/images/dvd.iso'/><target dev='sda'/></disk>
    <disk type='network' device='disk'><source protocol='nbd' name='x'/><target dev='vdc'/></disk>
    <disk type='file'><source file='relative.img'/><target dev='vdd'/></disk>
    <interface><source file='/not/a/disk'/></interface>
  </devices>
</domain>
"""
BOMB = b"""<?xml version="1.0"?><!DOCTYPE domain [<!ENTITY a "ha">%s]>
<domain><name>&z;</name></domain>""" % b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(25)
)


def test_what_is_wanted_is_found():
    domain = parse_domain(WEB1)
    assert domain is not None
    assert domain.name == "web1"
    assert domain.uuid == "6f0c9b4a-0000-4000-8000-000000000001"
    assert domain.title == "shop & front"
    assert domain.disks == (
        DomainDisk("/images/web1.snap1", "vda"),
        DomainDisk("/images/data.img", "vdb"),
    )


def test_the_description_of_a_running_vm():
    body = WEB1.partition(b"-->")[2]
    running = b"<domstatus state='running'><monitor/>" + body + b"<more/></domstatus>"
    assert parse_domain(running) == parse_domain(WEB1)


@pytest.mark.parametrize(
    "other",
    [
        b"<network><name>default</name><domain name='lan'/></network>",
        b"<domainsnapshot><domain><name>x</name></domain></domainsnapshot>",
        b"<pool/>",
        b"<x:domain xmlns:x='urn:x'><name>x</name></x:domain>",
    ],
)
def test_other_documents_are_none(other):
    assert parse_domain(other) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (BOMB, "document type"),
        (b"<!DOCTYPE domain SYSTEM 'http://192.0.2.1/x.dtd'><domain/>", "document type"),
        (b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain/>', "document type"),
        (b"<domain><name>&x;</name></domain>", "well-formed"),
        (b"<domain><name>\xff\xfe</name></domain>", "well-formed"),
        (b"<?xml version='1.0' encoding='klingon'?><domain/>", "well-formed"),
        (b"<?xml version='1.0' encoding='shift_jis'?><domain/>", "well-formed"),
        (b"<?xml version='1.0' encoding='rot13'?><domain/>", "well-formed"),
        (b"", "well-formed"),
        (b"<domain>", "well-formed"),
        (b"<domain a='1' a='2'/>", "well-formed"),
        (b"\0" * 100, "well-formed"),
        (b"<domain>" + b"<a>" * 200 + b"</a>" * 200 + b"</domain>", "deeper"),
        (b" " * (MAX_BYTES + 1), "larger"),
        (
            b"<domain><devices>" + b"<disk><source file='/x'/></disk>" * 2000
            + b"</devices></domain>",
            "disks",
        ),
    ],
)  # fmt: skip
def test_hostile_documents_are_refused_at_once(data, words):
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(StrataError, match=words):
            parse_domain(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BYTES
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 2


def test_endless_words_are_cut():
    name = b"<domain><name>" + b"x" * 900_000 + b"</name></domain>"
    domain = parse_domain(name)
    assert domain is not None
    assert len(domain.name) == 255


def test_other_encodings():
    text = "<?xml version='1.0' encoding='utf-16'?><domain><name>ü</name></domain>"
    domain = parse_domain(text.encode("utf-16"))
    assert domain is not None
    assert domain.name == "ü"


@given(st.binary(max_size=300), st.integers(0, len(WEB1)))
def test_any_damage_is_borne(noise, place):
    for data in (noise, WEB1[:place] + noise + WEB1[place:], WEB1[:place] + noise):
        with suppress(StrataError):
            parse_domain(data)
