"""The witnesses of a volume, held side by side."""

import pytest

from chains.core.witnesses import ENGINE, HEADER, METADATA, OWNERS, TAGS, Seen, witnesses

GIB = 1024**3
BLANK = "00000000-0000-0000-0000-000000000000"
SEEN = Seen("qcow2", GIB, "../img/base", overlays=0)
METADATA_OK = {
    "status": "ok", "format": "COW", "type": "SPARSE", "voltype": "LEAF", "legality": "LEGAL",
    "parent": "base", "capacity": GIB, "image": "img", "generation": 3, "sequence": 2,
    "ctime": 1582196150, "alias": "disk one", "description": "of the shop",
}  # fmt: skip


def table(seen=SEEN, **notes):
    found = witnesses(seen, notes)
    assert found is not None
    return found, {row.name: row for row in found.rows}


@pytest.mark.parametrize("notes", [None, {}, {"disk_key": "x", "passing": "is being removed"}])
def test_a_header_alone_makes_no_table(notes):
    assert witnesses(SEEN, notes) is None


def test_all_who_tell_have_a_column_and_agree():
    found, rows = table(
        metadata=METADATA_OK, tags={"image": "img", "parent": "base", "slot": 4}, disk_key="img",
        vm="shop", engine={"alias": "disk one", "status": "ok", "date": "2020-02-20T10:55:50+00:00"},
    )  # fmt: skip
    assert found.witnesses == (HEADER, METADATA, TAGS, ENGINE)
    assert found.disputed == 0
    assert rows["format"].says == ("qcow2", "qcow2 (COW)", "", "")
    assert rows["parent"].says == ("base", "base", "base", "")
    assert rows["virtual size"].says[:2] == ("1 GiB (1073741824 bytes)",) * 2
    assert rows["created"].says[1] == "2020-02-20 10:55:50 UTC"
    assert rows["created"].says[3] == "2020-02-20T10:55:50+00:00"
    assert rows["generation"].says[1] == "3"
    assert rows["metadata slot"].says[2] == "4"
    assert rows["owner VM"].says[3] == "shop"
    assert rows["disk alias"].says[1:] == ("disk one", "", "disk one")
    assert all(row.authority for row in found.rows)
    assert "record" not in rows


@pytest.mark.parametrize(
    ("change", "row", "code"),
    [
        ({"format": "RAW"}, "format", "metadata-format"),
        ({"capacity": GIB // 2}, "virtual size", "metadata-capacity"),
        ({"parent": BLANK}, "parent", "metadata-parent"),
        ({"voltype": "INTERNAL"}, "kind", "metadata-voltype"),
        ({"image": "other"}, "image", "metadata-place"),
        ({"status": "invalid", "errors": ["no CAP"]}, "record", "metadata-invalid"),
    ],
)
def test_a_contradiction_is_marked_and_names_its_findings(change, row, code):
    found, rows = table(metadata=METADATA_OK | change, disk_key="img")
    assert [name for name, one in rows.items() if one.differs] == [row]
    assert code in rows[row].codes
    assert found.disputed == 1


@pytest.mark.parametrize(
    ("seen", "metadata"),
    [
        (Seen("raw", GIB + 128 * 1024**2, None, 0, is_lv=True), {"format": "RAW", "capacity": GIB}),
        (Seen("qcow2", GIB, None, 0), {"format": "COW", "capacity": GIB + 511}),
        (Seen("raw", GIB, None, 0), {"format": "RAW", "parent": BLANK}),
        (Seen("qcow2", GIB, "base", 2), {"voltype": "INTERNAL", "parent": "../img/base"}),
        (Seen("qcow2", GIB, None, 9), {"voltype": "SHARED", "image": "another"}),
    ],
)
def test_what_only_looks_different_is_no_contradiction(seen, metadata):
    assert table(seen, metadata=metadata, disk_key="img")[0].disputed == 0


def test_a_vm_that_is_only_configured_is_a_witness_too():
    found, rows = table(vm="shop", disk_key="7")
    assert found.witnesses == (HEADER, OWNERS)
    assert rows["owner VM"].says == ("", "shop")


def test_of_a_cleared_record_nothing_is_compared():
    found, rows = table(metadata={"status": "cleared", "format": "RAW"}, disk_key="img")
    assert rows["record"].differs
    assert found.disputed == 1
    assert rows["format"].says == ("qcow2", "")


def test_hostile_text_is_shown_and_short():
    hostile = "<script>\u202e\x00" + "x" * 10_000
    _, rows = table(metadata=METADATA_OK | {"alias": hostile, "ctime": 10**30, "capacity": True})
    assert len(rows["disk alias"].says[1]) < 250
    assert "\u202e" not in rows["disk alias"].says[1]
    assert "created" not in rows
    assert rows["virtual size"].says[1] == ""
