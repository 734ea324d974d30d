"""Pages of long lists: every row once, in order, both ways, whatever the cursor."""

import base64
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from chains.inventory import lists, paging
from chains.inventory.asking import BadRequestError
from chains.inventory.lists import BY_ID, BY_PATH, DISK_ORDERS, WORST_FIRST
from chains.inventory.paging import Cursor, Total, page, total, walk
from chains.models import Disk, Finding, StorageDomain, Volume

START = datetime(2026, 1, 1, tzinfo=UTC)
# Bytes that are not UTF-8, a very long name, and what sorts before and after all letters.
NAMES = ["a", "Z", "é", os.fsdecode(b"\xff\xfe"), "x" * 2000, "\U0001f980", "~", " ", "%_\\"]


@pytest.fixture
def rows(domain):
    """Forty disks with ties and nulls, and volumes with names of all kinds."""
    for number in range(40):
        path = NAMES[number] if number < len(NAMES) else f"vm{number * 7919 % 1009}"
        volume = Volume.objects.create(
            domain=domain, path=path, path_text=path.encode("ascii", "replace").decode(),
            format="qcow2" if number % 3 else "raw", virtual_size=1, file_size=1, on_disk=1,
            fingerprint="", modified=START, in_use=(None, True, False)[number % 3],
        )  # fmt: skip
        Disk.objects.create(
            domain=domain, active=volume, name=f"name {number % 7}" + "y" * 300 * (number % 2),
            layers=number % 4, virtual_size=number % 5, on_disk=-number % 6, findings=number % 2,
            oldest_snapshot=None if number % 3 == 0 else START + timedelta(days=number % 8),
            vm="guest" if number % 2 else "",
        )  # fmt: skip
    return domain


ORDERS = [
    replace(order, descending=down) for order in DISK_ORDERS.values() for down in (False, True)
]


def pages(found, order, size):
    """Every page from the first to the last, and again from the last to the first."""
    there = [page(found, order, "", size)]
    while there[-1].next:
        there.append(page(found, order, there[-1].next, size))
    back = [there[-1]]
    while back[-1].previous:
        back.append(page(found, order, back[-1].previous, size))
    return there, back


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.text)
@pytest.mark.parametrize("size", [1, 7, 40, 41])
def test_every_row_once_in_order_both_ways(order, size, rows):
    found = lists.disks(rows, lists.DiskFilter())
    there, back = pages(found, order, size)
    seen = [row.pk for one in there for row in one.rows]
    assert sorted(seen) == sorted(found.values_list("pk", flat=True))
    values = [
        (row.name[:200] if order.word == "name" else getattr(row, order.word), row.pk)
        for one in there for row in one.rows
    ]  # fmt: skip
    known = [pair for pair in values if pair[0] is not None]
    assert known == sorted(known, reverse=order.descending)
    assert values[: len(known)] == known, "without a value last"
    nulls = [pk for _, pk in values[len(known) :]]
    assert nulls == sorted(nulls, reverse=order.descending)
    assert [one.rows for one in reversed(back)] == [one.rows for one in there]
    assert there[0].previous == ""
    assert [pk for some in walk(found, order, size) for pk in [row.pk for row in some]] == seen


def test_volumes_go_by_the_bytes_of_their_paths(rows):
    found = lists.volumes(rows, lists.VolumeFilter())
    there, back = pages(found, BY_PATH, 6)
    names = [os.fsencode(row.path) for one in there for row in one.rows]
    assert names == sorted(names)
    assert len(names) == len(set(names)) == 40
    assert len(back) == len(there)
    unknown = lists.VolumeFilter(in_use="unknown")
    order = lists.volume_order(unknown)
    there, _ = pages(lists.volumes(rows, unknown), order, 3)
    names = [os.fsencode(row.path) for one in there for row in one.rows]
    assert names == sorted(names)
    assert len(names) == 14


def test_a_row_that_goes_away_loses_nobody_the_place(rows):
    found = lists.disks(rows, lists.DiskFilter())
    order = DISK_ORDERS["layers"]
    first = page(found, order, "", 5)
    whole = [row.pk for some in walk(found, order) for row in some]
    Disk.objects.filter(pk=first.rows[-1].pk).delete()
    second = page(found, order, first.next, 5)
    assert [row.pk for row in second.rows] == whole[5:10]
    Disk.objects.filter(pk__in=whole[5:]).delete()
    empty = page(found, order, first.next, 5)
    assert (list(empty.rows), empty.next) == ([], "")
    assert [row.pk for row in page(found, order, empty.previous, 5).rows] == whole[:4]


def _text(facts):
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode().rstrip("=")


HOSTILE = [
    "x", "=", "%00", "é", "a" * 9000, _text({}), _text([]), _text(["name", 0, "a"]), _text(None),
    _text(["name", 2, "a", 1]), _text(["name", 0, None, 1]), _text(["name", 0, 5, 1]),
    _text(["name", 0, "a\x00", 1]), _text(["name", 0, "\ud800", 1]), _text(["name", 0, "a", "1"]),
    _text(["name", 0, "a", 2**63]), _text(["name", 0, "a", True]), _text(["-name", 0, "a", 1]),
    _text(["layers", 0, 1, 1]), base64.b64encode(b"[" * 3000).decode(),
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_cursor_is_told_so_and_shows_people_the_first_page(text, rows):
    found, order = lists.disks(rows, lists.DiskFilter()), DISK_ORDERS["name"]
    with pytest.raises(BadRequestError):
        page(found, order, text)
    assert paging.first_page_if_wrong(found, order, text, 5) == page(found, order, "", 5)


@pytest.mark.parametrize(
    ("order", "value"),
    [
        (DISK_ORDERS["layers"], 2**63), (DISK_ORDERS["layers"], 1.5), (DISK_ORDERS["layers"], "1"),
        (DISK_ORDERS["oldest_snapshot"], 2**62), (DISK_ORDERS["oldest_snapshot"], "now"),
        (BY_PATH, "\u20ac"), (BY_PATH, 1), (BY_PATH, None), (WORST_FIRST, []), (BY_ID, {}),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_no_cursor(order, value):
    with pytest.raises(BadRequestError):
        Cursor.from_text(_text([order.text, 0, value, 1]), order)


@pytest.mark.parametrize("value", [-(2**63) + 1, 2**63 - 1, 0, 70000])
def test_numbers_beyond_a_column_are_only_far_away(value, rows):
    for order in (DISK_ORDERS["layers"], replace(DISK_ORDERS["layers"], descending=True), BY_ID):
        for pk in (value, -5):
            text = Cursor(value, pk).to_text(order)
            page(Disk.objects.all(), order, text)
    page(Finding.objects.all(), WORST_FIRST, Cursor(value, value, back=True).to_text(WORST_FIRST))


@given(st.text(max_size=200))
def test_no_text_is_more_than_a_wrong_cursor(text):
    for order in (*ORDERS, BY_PATH, BY_ID):
        try:
            Cursor.from_text(text, order)
        except BadRequestError:
            continue


@given(
    st.one_of(st.text(max_size=200).filter(lambda text: "\x00" not in text and text.isprintable())),
    st.integers(1, 2**62), st.booleans(),
)  # fmt: skip
def test_a_cursor_is_read_as_it_was_written(value, pk, back):
    order = DISK_ORDERS["name"]
    cursor = Cursor(value, pk, back)
    assert Cursor.from_text(cursor.to_text(order), order) == cursor


@given(st.binary(min_size=1, max_size=500))
def test_a_path_of_any_bytes_is_a_place(name):
    text = Cursor(os.fsdecode(name), 1).to_text(BY_PATH)
    assert Cursor.from_text(text, BY_PATH).value == name


def test_a_count_ends_where_nobody_wants_more(rows):
    found, order = Disk.objects.filter(domain=rows), DISK_ORDERS["name"]
    assert total(found, order) == Total(40)
    assert total(found, order, 40) == Total(40)
    assert total(found, order, 39) == Total(39, more=True)
    aged = replace(DISK_ORDERS["oldest_snapshot"], descending=True)
    assert total(found, aged, 30) == Total(30, more=True)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ({}, 40), ({"q": "NAME 1"}, 6), ({"q": "n"}, 40), ({"q": "ame"}, 40), ({"q": "am"}, 0),
        ({"q": "GUEST"}, 20), ({"q": "%"}, 0), ({"q": "name_"}, 0), ({"q": "\\"}, 0),
        ({"depth": "2"}, 20), ({"severity": "any"}, 20), ({"severity": "critical"}, 0),
        ({"in_use": "yes"}, 13), ({"in_use": "no"}, 13), ({"in_use": "unknown"}, 14),
        ({"in_use": "yes", "depth": "3", "q": "guest"}, 3),
    ],
)  # fmt: skip
def test_the_filters_of_disks(words, count, rows):
    asked = lists.DiskFilter.from_words(words)
    assert asked.is_set == bool(words)
    assert lists.disks(rows, asked).count() == count


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (lists.DiskFilter, {"severity": "bad"}), (lists.DiskFilter, {"depth": "-1"}),
        (lists.DiskFilter, {"depth": "²"}), (lists.DiskFilter, {"in_use": "maybe"}),
        (lists.VolumeFilter, {"image_format": "vmdk"}), (lists.VolumeFilter, {"seen": "yes"}),
        (lists.FindingFilter, {"state": "closed"}), (lists.FindingFilter, {"code": "x"}),
        (lists.FindingFilter, {"domain": "x"}), (lists.FindingFilter, {"domain": "9" * 30}),
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_told_so(kind, words):
    with pytest.raises(BadRequestError):
        kind.from_words(words)


def test_what_no_index_answers_is_asked_of_one_domain(rows):
    for asked in (lists.VolumeFilter(in_use="yes"), lists.VolumeFilter(image_format="raw")):
        with pytest.raises(BadRequestError, match="one domain"):
            lists.volumes(None, asked)
        assert lists.volumes(rows, asked).exists()
    with pytest.raises(BadRequestError, match="one domain"):
        lists.disks(None, lists.DiskFilter(in_use="yes"))
    assert lists.volumes(None, lists.VolumeFilter(q="vm")).exists()


def _grow(domain: StorageDomain, count: int) -> None:
    """A domain of volumes in chains of five, straight in the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO chains_volume (id, domain_id, path, path_text, format, virtual_size, file_size,
                on_disk, features, fingerprint, modified, in_use)
            SELECT n, %(domain)s, convert_to('vm' || n, 'UTF8'), 'vm' || n, 'qcow2', n, 1, 1, '[]', '',
                now(), n %% 50 = 0
            FROM generate_series(1000000, 999999 + %(count)s) n;
            INSERT INTO chains_disk (domain_id, active_id, name, vm, key, layers, virtual_size, on_disk,
                oldest_snapshot, findings, severity)
            SELECT domain_id, id, path_text, '', '', id %% 9, id, id, CASE WHEN id %% 3 > 0 THEN now() - id * interval '1 s' END,
                0, '' FROM chains_volume WHERE domain_id = %(domain)s;
            INSERT INTO chains_finding (domain_id, volume_id, path, path_text, code, severity, rank, detail,
                endangers, endangered, first_seen, reason)
            SELECT domain_id, id, path, path_text, 'dirty', 'warning', 2, '', '[]', 0, now(), ''
            FROM chains_volume WHERE domain_id = %(domain)s AND id %% 4 = 0;
            ANALYZE chains_volume, chains_disk, chains_finding;
            """,
            {"domain": domain.pk, "count": count},
        )


def _read(order, found, text):
    """The rows that PostgreSQL looked at for a page."""
    with CaptureQueriesContext(connection) as queries:
        page(found, order, text)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {queries[0]['sql']}")
        plan = cursor.fetchone()[0][0]["Plan"]
    rows, nodes = 0, [plan]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Scan" in node["Node Type"]:
            rows += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]  # fmt: skip
    return rows


@pytest.mark.parametrize("order", [*ORDERS, BY_PATH, WORST_FIRST], ids=lambda order: order.text)
def test_a_deep_page_reads_no_more_rows_than_the_first(order, domain):
    _grow(domain, 30_000)
    if order.word == "path":
        found = lists.volumes(domain, lists.VolumeFilter())
    elif order.word == "rank":
        found = lists.FindingFilter(domain=domain.pk).rows()
    else:
        found = lists.disks(domain, lists.DiskFilter())
    places = [cursor for some in walk(found, order, 3000) for cursor in [some[-1]]]
    annotated = found.annotate(place=order.column)
    for row in [None, *places[1:-1:2]]:
        text = ""
        if row is not None:
            value = annotated.values_list("place", flat=True).get(pk=row.pk)
            text = Cursor(value, row.pk).to_text(order)
        assert _read(order, found, text) <= 3 * paging.PAGE
