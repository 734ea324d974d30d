"""oVirt's records: what was written is read, and nothing that can be stored makes the parser fail."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.ovirt_metadata import (
    BLANK_UUID,
    MAX_RECORD,
    MAX_TEXT,
    VolumeMetadata,
    domain_metadata,
    parse_domain,
    parse_volume,
)
from project.builders.ovirt import (
    SAMPLE_DOMAIN,
    described,
    domain_keys,
    domain_record,
    volume_keys,
    volume_record,
)

UUID = "bc9d15fa-70eb-40aa-8a2e-e4f27664752f"
V4 = b"""\
CTIME=1542308390
DESCRIPTION=
DISKTYPE=2
DOMAIN=75f8a1bb-4504-4314-91ca-d9365a30692b
FORMAT=COW
GEN=0
IMAGE=bc9d15fa-70eb-40aa-8a2e-e4f27664752f
LEGALITY=LEGAL
MTIME=0
PUUID=00000000-0000-0000-0000-000000000000
SIZE=20971520
TYPE=SPARSE
VOLTYPE=LEAF
EOF
"""
words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=40)
uuids = st.uuids().map(str)
numbers = st.integers(0, 2**53)


def test_a_record_of_version_4():
    said = parse_volume(V4)
    assert said == VolumeMetadata(
        "ok", (), "75f8a1bb-4504-4314-91ca-d9365a30692b", UUID, BLANK_UUID, 10 * 1024**3, "COW",
        "SPARSE", "LEAF", "2", "", "", "LEGAL", 1542308390, 0, 0, 0, "",
    )  # fmt: skip
    assert said.created == 1542308390.0


def test_the_padding_of_a_slot_is_no_text():
    assert parse_volume(V4.ljust(512, b"\0")) == parse_volume(V4)
    assert parse_volume(V4.ljust(8192, b"\0")) == parse_volume(V4)


def test_what_stands_after_the_end_is_not_read():
    assert parse_volume(V4 + b"LEGALITY=ILLEGAL\nCAP=1\n\xff\n") == parse_volume(V4)


def test_unknown_keys_and_lines_without_a_value_are_passed_over():
    assert parse_volume(b"NEWKEY=1\nnonsense\n\n" + V4) == parse_volume(V4)


def test_bytes_win_over_blocks_while_a_domain_is_converted():
    said = parse_volume(b"CAP=4096\n" + V4)
    assert (said.status, said.capacity) == ("ok", 4096)


def test_the_invalid_record_of_vdsms_tests():
    keys = {
        "CTIME": 1, "FORMAT": "RAW", "DISKTYPE": "DATA", "CAP": 1125899906842624, "DESCRIPTION": "",
        "IMAGE": UUID, "PUUID": BLANK_UUID, "TYPE": "PREALLOCATED",
    }  # fmt: skip
    said = parse_volume(volume_record(keys))
    assert said.status == "invalid"
    assert said.errors == ("These keys are missing: DOMAIN, VOLTYPE, LEGALITY.",)
    assert (said.format, said.capacity) == ("RAW", 2**50)  # what it does say is kept


def test_a_cleared_record():
    assert parse_volume(b"NONE=" + b"#" * 502 + b"\nEOF\n").status == "cleared"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (bytes(512), "empty"),
        (V4.replace(b"FORMAT=COW", b"FORMAT=VMDK"), "FORMAT is “VMDK”"),
        (V4.replace(b"LEGALITY=LEGAL", b"LEGALITY="), "LEGALITY is “”"),
        (V4.replace(b"SIZE=20971520", b"SIZE=-1"), "SIZE is “-1”"),
        (V4.replace(b"SIZE=20971520", b"SIZE=" + b"9" * 400), "SIZE is"),
        (V4.replace(b"CTIME=1542308390", "CTIME=\u0663".encode()), "CTIME is"),
        (b"A=\xff\n" + V4, "Line 1 is not UTF-8."),
        (V4 + b"x" * MAX_RECORD, "longer"),
    ],
)
def test_what_is_wrong_is_named(data, words):
    said = parse_volume(data)
    assert said.status == "invalid"
    assert words in " ".join(said.errors)


@pytest.mark.parametrize(
    ("text", "alias", "description"),
    [
        ("plain words", "", "plain words"),
        (described("vm1_Disk1", "of the shop"), "vm1_Disk1", "of the shop"),
        (described("Übung 💾"), "Übung 💾", ""),
        (described("a", "größer"), "a", "größer"),
        (described("é", "è"), "é", "è"),
        ('{"DiskAlias":"vm1_Disk1","DiskDescr', "vm1_Disk1", ""),  # cut at 210 bytes
        ('{"DiskAlias":"say \\"x\\"","DiskDescr', 'say "x"', ""),
        ('{"DiskAlias":"\\q","Di', "\\q", ""),
        ('{"DiskAlias":"odd","Enc":"1"}', "odd", ""),
        ('{"DiskAlias":7,"Enc":[]}', "", ""),
        ("{", "", "{"),
        ("{" * 300, "", "{" * 300),
        ('{"a":' + "[" * 3000, "", '{"a":' + "[" * 3000),
    ],
)
def test_descriptions(text, alias, description):
    said = parse_volume(volume_record(volume_keys(5, 512, DESCRIPTION=text)))
    assert (said.status, said.alias, said.description) == ("ok", alias, description)


@given(
    version=st.sampled_from([0, 3, 4, 5]), domain=uuids, image=uuids, parent=uuids,
    capacity=st.integers(0, 2**50).map(lambda blocks: blocks * 512),
    image_format=st.sampled_from(["RAW", "COW"]), kind=st.sampled_from(["SPARSE", "PREALLOCATED"]),
    voltype=st.sampled_from(["LEAF", "INTERNAL", "SHARED"]),
    legality=st.sampled_from(["LEGAL", "ILLEGAL", "FAKE"]),
    alias=words, description=words, ctime=numbers, generation=st.integers(0, 999),
    sequence=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_what_is_written_is_read(
    version, domain, image, parent, capacity, image_format, kind, voltype, legality, alias,
    description, ctime, generation, sequence,
):  # fmt: skip
    keys = volume_keys(
        version, capacity, DOMAIN=domain, IMAGE=image, PUUID=parent, FORMAT=image_format,
        TYPE=kind, VOLTYPE=voltype, LEGALITY=legality, CTIME=ctime, GEN=generation, SEQ=sequence,
        DESCRIPTION=described(alias, description),
    )  # fmt: skip
    said = parse_volume(volume_record(keys).ljust(512, b"\0"))
    assert said == VolumeMetadata(
        "ok", (), domain, image, parent, capacity, image_format, kind, voltype,
        "DATA" if version == 5 else "2", alias, description, legality, ctime, generation, sequence,
        0 if version < 5 else None, "",
    )  # fmt: skip
    assert json.loads(json.dumps(said.to_json())) == said.to_json()


pieces = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([
        b"\n", b"=", b"CAP=", b"SIZE=", b"CTIME=", b"DESCRIPTION=", b"NONE=", b"\0", b"EOF",
        b'{"DiskAlias":"', b'\\u0000"', b'\\ud800","Enc":"3"}', b"VERSION=", b"POOL_UUID=",
        b"_SHA_CKSUM=", *V4.split(b"\n"),
    ]),
)  # fmt: skip
hostile = st.lists(pieces, max_size=40).map(b"".join)


@given(hostile)
def test_nothing_fails_and_all_can_be_stored(data):
    for said in (parse_volume(data), parse_domain(data)):
        text = json.dumps(said.to_json(), ensure_ascii=False)
        text.encode()  # no lone surrogates
        assert all("\0" not in value for value in said.to_json().values() if isinstance(value, str))
        assert len(text) < 100 * MAX_TEXT
    created = parse_volume(data).created
    assert created is None or 0 <= created < 2**40


def test_the_sample_of_vdsms_tests():
    said = parse_domain(SAMPLE_DOMAIN)
    assert (said.checksum, said.errors) == ("ok", ())
    assert (said.version, said.type, said.domain_class) == (5, "LOCALFS", "Data")
    assert (said.uuid, said.role) == ("275766cb-c7d8-43d6-a663-4e52160de620", "Regular")
    assert (said.pools, said.description) == ((), "storage domain")
    assert (said.block_size, said.alignment) == (512, 1048576)
    assert said.remote_path == "server:/path"
    assert said.to_json()["class"] == "Data"


def test_the_writer_of_these_tests_seals_as_vdsm_does():
    lines = SAMPLE_DOMAIN.decode().splitlines()[:-1]
    keys = dict(line.split("=", 1) for line in lines)
    assert domain_record(keys) == SAMPLE_DOMAIN


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (SAMPLE_DOMAIN.replace(b"Regular", b"Master"), "wrong"),
        (SAMPLE_DOMAIN[: SAMPLE_DOMAIN.index(b"_SHA")], "missing"),
        (SAMPLE_DOMAIN.replace(b"\n", b"\r\n"), "ok"),  # values are stripped
        (SAMPLE_DOMAIN + b"EXTRA=1\n", "wrong"),
        (SAMPLE_DOMAIN + b"no equals sign\n", "ok"),
        (domain_record(domain_keys(5, UUID, DESCRIPTION="Lager für Übungen 💾")), "ok"),
        (domain_record(domain_keys(4, UUID, PV1="a", PV10="b")), "ok"),
    ],
)
def test_checksums(data, state):
    assert parse_domain(data).checksum == state


def test_a_domain_whose_keys_come_from_elsewhere():
    keys = dict(line.split("=", 1) for line in SAMPLE_DOMAIN.decode().splitlines())
    assert domain_metadata(keys) == parse_domain(SAMPLE_DOMAIN)
    assert domain_metadata({"POOL_UUID": "a,,b", "_SHA_CKSUM": "\udcff"}).pools == ("a", "b")
    assert domain_metadata({"X": "\udcff", "_SHA_CKSUM": "0"}).checksum == "wrong"


@given(st.dictionaries(words.filter(lambda key: key and "=" not in key), words, min_size=1))
def test_every_seal_that_is_written_is_right(keys):
    assert parse_domain(domain_record(keys)).checksum == "ok"
