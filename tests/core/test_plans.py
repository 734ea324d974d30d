"""Plans are pure: what they say of any forest, without an image."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.extents import ExtentMap
from chains.core.plans import (
    Plan,
    PlanError,
    layers_between,
    plan_merge,
)
from chains.core.situation import DATA_FILE, ENCRYPTION, PlanVolume, Situation

MIB = 1024**2
SIZE = 64 * MIB


def line(
    *names: str, free: int | None = 2**40, forbidden: str = "", raw_root: bool = True
) -> Situation:
    """A chain, root first."""
    volumes = {}
    for number, name in enumerate(names):
        below = names[number - 1] if number else None
        image_format = "raw" if raw_root and not number else "qcow2"
        volumes[name] = PlanVolume(
            name, image_format, SIZE, 10 * MIB, None if image_format == "raw" else 65536, below
        )
    return Situation(volumes, {}, free, forbidden)


def extents(*runs: tuple[int, int]) -> ExtentMap:
    """A layer that holds data at (start, length), in MiB."""
    return ExtentMap(
        SIZE, np.array([start * MIB for start, _ in runs], np.int64),
        np.array([length * MIB for _, length in runs], np.int64), np.full(len(runs), 2, np.uint8),
    )  # fmt: skip


def codes(plan: Plan) -> set[str]:
    return {refusal.code for refusal in plan.refusals}


def test_the_classic_plan() -> None:
    plan = plan_merge(line("base", "s1", "s2"), "base", "s1", [extents((4, 8)), extents((0, 8))])
    assert plan.layers == ("s1", "base")
    assert plan.removed == ("s1", "base")
    assert plan.overlays == ("s2",)
    assert plan.restore_points == ("base",)
    assert (plan.new_format, plan.below, plan.active) == ("raw", None, False)
    assert plan.bytes_to_copy == 12 * MIB
    assert not plan.refusals
    assert plan.new_path(7) == "base-merged-7"


def test_the_active_layer_keeps_path_and_format() -> None:
    plan = plan_merge(line("base", "s1"), "base", "s1", [extents((4, 8)), extents((0, 8))])
    assert (plan.active, plan.new_format, plan.new_path(3), plan.removed) == (
        True,
        "qcow2",
        "s1",
        ("base",),
    )


def test_a_merged_name_does_not_grow() -> None:
    plan = plan_merge(line("a-merged-12.img", "s1", "s2"), "a-merged-12.img", "s1", None)
    assert plan.new_path(13) == "a-merged-13.img"


def test_a_long_name_stays_within_the_file_system_s_limit() -> None:
    name = "я" * 120 + ".img"
    plan = plan_merge(line(name, "s1", "s2"), name, "s1", None)
    assert len(plan.new_path(10**9).encode()) <= 255


@pytest.mark.parametrize(
    ("situation", "code"),
    [
        (line("a", "b", "c", forbidden="No."), "read-only"),
        (line("a", "b", "c", free=MIB), "no-space"),
        (Situation(line("a", "b", "c").volumes, {"c": "broken"}, 2**40), "unsafe"),
        (Situation(line("a", "b", "c").volumes, {"a": "broken"}, 2**40), "unsafe"),
    ],
)
def test_refusals(situation: Situation, code: str) -> None:
    plan = plan_merge(situation, "a", "b", [extents((4, 8)), extents((0, 8))])
    assert codes(plan) == {code}


@pytest.mark.parametrize("feature", [DATA_FILE, ENCRYPTION])
@pytest.mark.parametrize("where", ["a", "b", "c", "d", "e", "f"])
def test_no_tool_is_started_on_a_chain_that_is_closed_to_it(feature: str, where: str) -> None:
    """Below base, in the merge, above top, at the leaf: each would be opened by some step of it."""
    situation = carrying(line("a", "b", "c", "d", "e", "f"), where, feature)
    plan = plan_merge(situation, "c", "d", [extents(), extents()])
    assert [(refusal.code, refusal.text) for refusal in plan.refusals] == [
        ("feature", f"{where} carries {feature}: no tool is started on a chain that holds it.")
    ]


def test_what_only_shares_the_root_is_not_opened() -> None:
    situation = line("a", "b", "c", "d")
    sibling = PlanVolume("x", "qcow2", SIZE, 0, 65536, "a", (DATA_FILE,))
    situation = Situation({**situation.volumes, "x": sibling}, {}, 2**40)
    assert not plan_merge(situation, "b", "c", [extents(), extents()]).refusals


@pytest.mark.parametrize(("where", "refused"), [("a", 0), ("b", 1), ("c", 1), ("d", 0)])
def test_what_a_new_volume_would_lose(where: str, refused: int) -> None:
    """Snapshots and bitmaps of layers that are neither written nor removed stay where they are."""
    for feature in ("2 internal snapshot(s)", "1 persistent bitmap(s)"):
        situation = carrying(line("a", "b", "c", "d"), where, feature)
        plan = plan_merge(situation, "b", "c", [extents(), extents()])
        assert [feature in refusal.text for refusal in plan.refusals] == [True] * refused


def carrying(situation: Situation, where: str, feature: str) -> Situation:
    """The same domain, with a feature on one of its volumes."""
    marked = replace(situation.volumes[where], features=(feature,))
    return replace(situation, volumes={**situation.volumes, where: marked})


def test_without_maps_it_is_not_carried_out() -> None:
    assert codes(plan_merge(line("a", "b", "c"), "a", "b", None)) == {"not-read"}


def test_what_is_below_must_be_sound_too() -> None:
    situation = Situation(line("a", "b", "c", "d").volumes, {"a": "broken"}, 2**40)
    assert codes(plan_merge(situation, "b", "c", [extents(), extents()])) == {"unsafe"}


def test_base_and_top_must_be_two_layers_of_one_chain() -> None:
    situation = line("a", "b", "c")
    for base, top in (("b", "a"), ("a", "a"), ("a", "nothing"), ("nothing", "a")):
        with pytest.raises(PlanError):
            layers_between(situation, base, top)


def test_a_loop_ends() -> None:
    volumes = {
        name: PlanVolume(name, "qcow2", SIZE, 0, 65536, below)
        for name, below in (("a", "b"), ("b", "a"), ("c", "b"))
    }
    volumes["x"] = PlanVolume("x", "raw", SIZE, 0, None, None)
    with pytest.raises(PlanError):
        layers_between(Situation(volumes, {}, 1), "x", "c")


names = st.binary(min_size=1, max_size=20).map(
    lambda raw: raw.replace(b"\0", b"_").decode(errors="surrogateescape")
)


@given(base=names, top=names, overlay=names)
def test_a_plan_survives_its_journal(base: str, top: str, overlay: str) -> None:
    if len({base, top, overlay}) < 3:
        return
    plan = plan_merge(line(base, top, overlay), base, top, None)
    assert Plan.from_json(plan.to_json()) == plan
    plan_json = plan.to_json()
    assert Plan.from_json(json.loads(json.dumps(plan_json))) == plan
    json.dumps(plan_json, ensure_ascii=False).encode()  # PostgreSQL takes no lone surrogates


@given(st.data(), st.integers(2, 8))
def test_siblings_are_always_counted(data: st.DataObject, depth: int) -> None:
    """Whatever hangs on a layer that goes, other than the next layer of the run, is a refusal."""
    chain = [f"l{n}" for n in range(depth)]
    situation = line(*chain)
    low = data.draw(st.integers(0, depth - 2))
    high = data.draw(st.integers(low + 1, depth - 1))
    on = data.draw(st.integers(0, depth - 1))
    volumes = dict(situation.volumes)
    volumes["sibling"] = PlanVolume("sibling", "qcow2", SIZE, 0, 65536, chain[on])
    plan = plan_merge(
        Situation(volumes, {}, 2**40), chain[low], chain[high], [extents()] * (high - low + 1)
    )
    assert ("shared" in codes(plan)) == (low <= on < high)
    assert ("sibling" in plan.overlays) == (on == high)
    assert not set(plan.removed) & set(plan.overlays)


def test_room_is_asked_for_with_a_reserve() -> None:
    maps = [extents((4, 8)), extents((0, 8))]
    needed = plan_merge(line("a", "b", "c"), "a", "b", maps).space_needed
    assert needed is not None
    for spare, refused in ((0, {"no-space"}), (2 * MIB, set())):
        assert (
            codes(plan_merge(line("a", "b", "c", free=needed + spare), "a", "b", maps)) == refused
        )
