"""Scopes: which run of a chain a wish means."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.errors import StrataError
from chains.core.scopes import Nothing, Run, Scope, ScopeKind, ScopeLayer, parse_age, run_of

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HOUR = 3600
WHOLE = Scope(ScopeKind.WHOLE)


def older(hours: int) -> Scope:
    return Scope(ScopeKind.OLDER, seconds=hours * HOUR)


def at_most(layers: int) -> Scope:
    return Scope(ScopeKind.DEPTH, layers=layers)


def chain(*layers: tuple[str, float, int]) -> list[ScopeLayer]:
    """(name, age in hours, overlays), root first as people think; the planner takes it top first."""
    return [
        ScopeLayer(name, NOW - timedelta(hours=age), overlays)
        for name, age, overlays in layers[::-1]
    ]


def names(layers: list[ScopeLayer], scope: Scope) -> tuple[str, str] | None:
    found = run_of(layers, scope, NOW)
    return (layers[found.base].path, layers[found.top].path) if isinstance(found, Run) else None


PLAIN = chain(("root", 90, 1), ("a", 80, 1), ("b", 30, 1), ("c", 2, 1), ("active", 1, 0))
CLONE = chain(("root", 90, 1), ("tmpl", 80, 3), ("b", 30, 1), ("c", 2, 1), ("active", 1, 0))


@pytest.mark.parametrize(
    ("layers", "scope", "wanted"),
    [
        (PLAIN, WHOLE, ("root", "active")),
        (PLAIN, older(72), ("root", "b")),
        (PLAIN, older(24), ("root", "c")),
        (PLAIN, older(1), ("root", "active")),
        (PLAIN, older(100), None),
        (PLAIN, at_most(5), None),
        (PLAIN, at_most(4), ("root", "a")),
        (PLAIN, at_most(2), ("root", "c")),
        (PLAIN, at_most(1), ("root", "active")),
        # The template stays: what other disks read through is not joined away.
        (CLONE, WHOLE, ("b", "active")),
        (CLONE, older(24), ("b", "c")),
        (CLONE, older(72), None),
        # A shared top keeps its content: the run ends there, and all its overlays are re-tied.
        (CLONE, at_most(4), ("root", "tmpl")),
        (CLONE, at_most(3), ("b", "active")),
        (CLONE, at_most(1), ("b", "active")),
    ],
)
def test_runs(layers: list[ScopeLayer], scope: Scope, wanted: tuple[str, str] | None) -> None:
    assert names(layers, scope) == wanted


def test_a_young_layer_at_the_root_stops_the_search() -> None:
    """It was merged a moment ago: what lies above may be older, but would not be a run from the bottom."""
    layers = chain(("joined", 1, 1), ("a", 80, 1), ("active", 0, 0))
    found = run_of(layers, older(72), NOW)
    assert isinstance(found, Nothing)
    assert found.reason == (
        "No restore point at its root is older than 3d: joined was written 1h ago."
    )


@pytest.mark.parametrize(
    ("layers", "scope", "words"),
    [
        (chain(("only", 5, 0)), WHOLE, "one layer only"),
        (PLAIN, at_most(5), "It has 5 layers, and may have 5."),
        (PLAIN, older(100), "older than 100h: root was written 3d ago."),
        (CLONE, older(72), "tmpl is shared by 3 overlays and stays; only one layer above it, b,"),
        (chain(("tmpl", 9, 2), ("active", 1, 0)), WHOLE, "tmpl is shared by 2 overlays"),
        (chain(("tmpl", 9, 2), ("active", 1, 0)), at_most(1), "tmpl is shared by 2 overlays"),
        (chain(("a\nb", -5, 1), ("active", 1, 0)), older(1), r"a\nb was written 0s ago"),
    ],
)
def test_reasons(layers: list[ScopeLayer], scope: Scope, words: str) -> None:
    found = run_of(layers, scope, NOW)
    assert isinstance(found, Nothing)
    assert words in found.reason


def test_a_depth_that_can_not_be_reached_says_so() -> None:
    found = run_of(CLONE, at_most(2), NOW)
    assert isinstance(found, Run)
    assert found.note == "3 layers are left: tmpl is shared by 3 overlays."


LAYERS = st.lists(
    st.tuples(st.integers(-10, 200), st.sampled_from([1, 1, 1, 1, 2, 7])), min_size=1, max_size=12
).map(
    lambda rows: chain(*(
        (f"l{n}", age, 0 if n == len(rows) - 1 else overlays)
        for n, (age, overlays) in enumerate(rows)
    ))
)  # fmt: skip
SCOPES = st.one_of(
    st.just(WHOLE),
    st.integers(1, 200).map(older),
    st.integers(1, 14).map(at_most),
)


@given(LAYERS, SCOPES)
def test_what_every_run_holds(layers: list[ScopeLayer], scope: Scope) -> None:
    found = run_of(layers, scope, NOW)
    if isinstance(found, Nothing):
        assert found.reason.endswith(".")
        return
    assert 0 <= found.top < found.base < len(layers), "two layers at least, base below top"
    joined_away = layers[found.top + 1 : found.base + 1]
    assert not any(layer.is_shared for layer in joined_away)


@given(LAYERS, st.integers(1, 200))
def test_only_what_is_old_goes(layers: list[ScopeLayer], hours: int) -> None:
    found = run_of(layers, older(hours), NOW)
    old = [(NOW - layer.modified) > timedelta(hours=hours) for layer in layers]
    if isinstance(found, Run):
        assert all(old[found.top + 1 :]), "base…top−1, and all that lies below"
        assert found.top == 0 or not old[found.top], "the next one up is too young"
    elif not any(layer.is_shared for layer in layers) and len(layers) > 1:
        assert not old[-1]


@given(LAYERS, st.integers(1, 14))
def test_a_chain_gets_as_short_as_it_can(layers: list[ScopeLayer], most: int) -> None:
    found = run_of(layers, at_most(most), NOW)
    if isinstance(found, Run):
        left = len(layers) - (found.base - found.top)
        assert left == most if not found.note else left > most
        if found.note:
            assert found.top == 0, "all that could go has gone"
    elif len(layers) > max(1, most):
        assert layers[1].is_shared, "only the active layer is free"


@given(LAYERS)
def test_the_whole_chain_is_all_above_what_is_shared(layers: list[ScopeLayer]) -> None:
    found = run_of(layers, WHOLE, NOW)
    if isinstance(found, Run):
        assert found.top == 0
        assert found.base == len(layers) - 1 or layers[found.base + 1].is_shared


@given(SCOPES)
def test_json_is_lossless(scope: Scope) -> None:
    assert Scope.from_json(scope.to_json()) == scope


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("whole", "x", "y"), WHOLE),
        (("older", "72h", ""), older(72)),
        (("older", " 7 D ", ""), older(7 * 24)),
        (("older", "90m", ""), Scope(ScopeKind.OLDER, seconds=5400)),
        (("depth", "", " 5 "), at_most(5)),
    ],
)
def test_words(words: tuple[str, str, str], wanted: Scope) -> None:
    assert Scope.from_words(*words) == wanted


def test_a_scope_says_what_it_is() -> None:
    said = [scope.words for scope in (WHOLE, older(72), at_most(1), at_most(5))]
    assert said == [
        "the whole chain", "everything older than 3d", "at most 1 layer", "at most 5 layers",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("", "", ""), ("all", "", ""), ("WHOLE", "", ""), ("older", "", ""), ("older", "72", ""),
        ("older", "-1h", ""), ("older", "0", ""), ("older", "0h", ""), ("older", "1e9d", ""),
        ("older", "999999999w", ""), ("older", "٣h", ""), ("older", "h", ""),
        ("depth", "", ""), ("depth", "", "0"), ("depth", "", "-1"), ("depth", "", "1.5"),
        ("depth", "", "99999999"), ("depth", "", "٣"), ("depth", "", "20000"),
    ],
)  # fmt: skip
def test_bad_words(words: tuple[str, str, str]) -> None:
    with pytest.raises(StrataError) as error:
        Scope.from_words(*words)
    assert str(error.value).endswith(".")


@given(st.text(max_size=60))
def test_any_text_is_an_age_or_a_strata_error(text: str) -> None:
    with contextlib.suppress(StrataError):
        assert parse_age(text) > 0
