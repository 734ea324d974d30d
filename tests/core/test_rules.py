"""The rules over a whole domain: each finds its own and nothing else; no domain makes them fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.chain import link
from chains.core.errors import StrataError
from chains.core.findings import Code, Severity
from chains.core.layer import Fingerprint, Layer
from chains.core.notes import Notes
from chains.core.rules import Site, endangered, judge
from chains.core.thresholds import DAY, Thresholds, check, parse

GIB = 1024**3
NOW = 1_800_000_000.0


def layer(path: str, backing: str | None = None, *, days: float = 0, held: int = 4096,
          size: int = 10 * GIB) -> Layer:  # fmt: skip
    inode = sum(map(ord, path)) * 1000 + len(path)
    mark = Fingerprint(1, inode, held, int((NOW - days * DAY) * 10**9), 0)
    said = "qcow2" if backing else None
    return Layer(path, "qcow2", size, held, backing, said, backing, mark, None, ())


def site(*layers: Layer, **facts) -> Site:
    return Site(link({found.path: found for found in layers}), now=NOW, **facts)


def chain(depth: int, **facts) -> list[Layer]:
    return [layer(f"l{n}", f"l{n - 1}" if n else None, **facts) for n in range(depth)]


def codes(found: Site) -> set[tuple[str, str]]:
    return {(finding.path, finding.code.value) for finding in judge(found)}


@pytest.mark.parametrize(("depth", "found"), [(8, set()), (9, {("l8", "deep")})])
def test_depth(depth, found):
    assert codes(site(*chain(depth))) == found


def test_one_finding_tells_of_all_old_snapshots_of_a_disk():
    found = judge(
        site(
            layer("a", days=100),
            layer("b", "a", days=40),
            layer("c", "b", days=20),
            layer("d", "c"),
        )
    )
    assert [(f.path, f.code) for f in found] == [("d", Code.SNAPSHOT_OLD)]
    assert (
        "2 snapshots of this disk are older than 30d; “a” has stood for 100 days" in found[0].detail
    )
    assert found[0].space == 8192


def test_a_template_is_no_snapshot():
    old = layer("template", days=1000, held=9 * GIB)
    assert codes(site(old, layer("a", "template"), layer("b", "template"))) == set()
    assert codes(site(old, layer("a", "template"))) == {("a", "snapshot-old")}


@pytest.mark.parametrize(
    ("held", "found"), [(5 * GIB, set()), (5 * GIB + 1, {("c", "snapshot-large")})]
)
def test_a_large_snapshot(held, found):
    root = layer("a", held=9 * GIB)
    assert codes(site(root, layer("b", "a", held=held), layer("c", "b", held=9 * GIB),
                      thresholds=Thresholds(winnable=0))) == found  # fmt: skip


def test_what_a_merge_would_surely_win():
    layers = [layer("a", held=10 * GIB), layer("b", "a", held=10 * GIB), layer("c", "b", held=GIB)]
    facts = {"thresholds": Thresholds(snapshot_percent=0)}
    found = judge(site(*layers, **facts))
    assert [(f.code, f.space) for f in found] == [(Code.MERGE_WINS, 11 * GIB)]
    # Layers that could all stay as they are in one: nothing is sure, until the maps tell.
    small = [layer("a", held=4 * GIB), layer("b", "a", held=4 * GIB)]
    assert codes(site(*small)) == set()
    [won] = judge(site(*small, dead={"a": 11 * GIB, "other": GIB}))
    assert won.space == 11 * GIB


def test_a_disk_that_nobody_owns_and_a_domain_that_names_no_owner():
    layers = [
        layer("base", held=7),
        layer("mine", "base"),
        layer("lost", "base", held=5),
        layer("coming"),
    ]
    notes = {"mine": Notes(vm="web"), "coming": Notes(passing="is being created")}
    found = judge(site(*layers, notes=notes))
    assert [(f.path, f.code, f.space) for f in found] == [("lost", Code.UNREFERENCED, 5)]
    assert codes(site(*layers)) == set()


def test_use_is_told_of_leaves_and_unknown_of_the_domain():
    found = codes(site(*chain(2), in_use={"l0": True, "l1": True}, locks_prove=False))
    assert found == {("l1", "in-use"), ("", "in-use-unknown")}
    assert codes(site(*chain(2), in_use={"l1": None})) == set()


def test_what_is_about_to_go_for_too_long():
    notes = {"a": Notes(passing="is being removed"), "b": Notes(passing="is being removed")}
    assert codes(site(layer("a", days=1.1), layer("b", days=0.9), notes=notes)) == {
        ("a", "passing-long")
    }


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"corruptions": 0, "leaks": 0, "check_errors": 0}, None),
        ({"leaks": 3}, (Code.LEAKED, Severity.WARNING)),
        ({"leaks": 3, "corruptions": 1}, (Code.CHECK_CORRUPT, Severity.CRITICAL)),
        ({"check_errors": 1}, (Code.CHECK_CORRUPT, Severity.CRITICAL)),
    ],
)
def test_what_a_check_said(said, found):
    results = judge(site(layer("a"), checks={"a": said, "gone": {"corruptions": 1}}))
    assert [(f.code, f.severity) for f in results] == ([found] if found else [])


@pytest.mark.parametrize(
    ("capacity", "free", "growth", "found"),
    [
        (100 * GIB, 50 * GIB, None, set()),
        (100 * GIB, 9 * GIB, None, {"space-low"}),
        (100 * GIB, 50 * GIB, 4 * GIB / DAY, {"space-ends"}),
        (100 * GIB, 50 * GIB, 3 * GIB / DAY, set()),
        (100 * GIB, 50 * GIB, -5.0, set()),
        (100 * GIB, 0, 1.0, {"space-low", "space-ends"}),
        (None, None, None, set()),
        (0, 0, 0.0, set()),
    ],
)
def test_space(capacity, free, growth, found):
    results = judge(site(layer("a"), capacity=capacity, free=free, growth=growth))
    assert {f.code.value for f in results} == found
    assert all(f.path == "" for f in results)


def test_0_turns_a_rule_off():
    off = Thresholds(0, 0, 0, 0, 0, 0)
    layers = [
        layer(f"l{n}", f"l{n - 1}" if n else None, days=900, held=90 * GIB) for n in range(40)
    ]
    assert codes(site(*layers, thresholds=off, capacity=100, free=0, growth=10**9)) == set()


def test_who_is_endangered_by_a_layer():
    forest = site(layer("a"), layer("b", "a"), layer("c", "b"), layer("d", "b"), layer("e")).forest
    assert sorted(endangered(forest, "a")) == ["c", "d"]
    assert endangered(forest, "c") == ["c"]
    assert endangered(forest, "nothing") == []


names = st.sampled_from("abcdefgh")


@given(
    st.lists(st.tuples(names, st.none() | names, st.floats(0, 5000), st.integers(0, 2**62)), max_size=8),
    st.dictionaries(names, st.booleans() | st.none()), st.dictionaries(names, st.integers(0, 2**62)),
    st.builds(Thresholds, *[st.integers(0, 10**9)] * 6),
    st.none() | st.integers(0, 2**62), st.none() | st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
def test_no_domain_makes_a_rule_fail(volumes, used, dead, limits, room, growth):
    """Loops, missing backing files and numbers of any size included."""
    layers = [layer(p, b, days=d, held=h, size=h) for p, b, d, h in volumes]
    found = judge(
        site(
            *layers,
            in_use=used,
            dead=dead,
            thresholds=limits,
            capacity=room,
            free=room,
            growth=growth,
        )
    )
    for finding in found:
        assert finding.detail.endswith((".", "."))
        assert finding.path in {"", *(found.path for found in layers)}


def test_thresholds_are_those_of_all_changed_by_those_of_one():
    found = Thresholds.of({"depth": 5, "winnable": 7, "gone": 1}, {"depth": 9})
    assert (found.depth, found.winnable, found.reserve_percent) == (9, 7, 10)


def test_thresholds_as_people_write_them():
    words = Thresholds().to_words()
    assert words["snapshot_seconds"] == "30d"
    assert Thresholds.of(parse(words)) == Thresholds()
    assert parse({"depth": " ", "winnable": "1.5 GiB"}) == {"winnable": 3 * GIB // 2}


@pytest.mark.parametrize(
    "words",
    [{"depth": "x"}, {"depth": "-1"}, {"depth": "1001"}, {"reserve_percent": "101"}, {"nonsense": "1"},
     {"snapshot_seconds": "soon"}, {"winnable": "much"}, {"depth": "9" * 30}, {"depth": "٣"}],
)  # fmt: skip
def test_what_is_no_threshold(words):
    with pytest.raises(StrataError):
        parse(words)


@pytest.mark.parametrize("value", [True, "8", 1.5, None, -1, 10**30])
def test_what_is_no_number_of_a_threshold(value):
    with pytest.raises(StrataError):
        check({"depth": value})
