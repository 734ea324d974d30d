"""The animation of a merge, as the server draws it and as the messages drive it."""

from dataclasses import replace

import pytest

from chains.core.plans import Plan
from chains.merges import selectors, services
from chains.models import Merge, MergeStep
from chains.web.flow import flow, stage_of
from tests.web import samples
from tests.web.markup import Page


def merge_of(domain, strategy: str) -> Merge:
    base, top = (samples.volume_of(domain, f"lesson/{n}.img") for n in ("base", "snap1"))
    return services.request_merge(base, top, None, "test", strategy=strategy, queue=False)


def at(merge: Merge, step: str, done: float) -> dict[str, object]:
    """The merge in the midst of a step."""
    names = ["preflight", "copy", "verify", "switch", "remove"]
    begun = {}
    half = merge.bytes_total // 2
    for name in names[: names.index(step)]:
        MergeStep.objects.filter(merge=merge, name=name).update(state="done")
        begun[name] = 0
    MergeStep.objects.filter(merge=merge, name=step).update(state="running")
    begun[step] = half if step in names[2:] else 0
    shown = int(begun[step] + done * half)
    Merge.objects.filter(pk=merge.pk).update(
        state="running", actual={"begun": begun}, bytes_done=shown
    )
    merge.refresh_from_db()
    return selectors.merge_live(merge.pk)


def shown(merge: Merge):
    found = flow(merge, Plan.from_json(merge.plan), selectors.merge_live(merge.pk))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("strategy", "targets"),
    [("commit", ["base.img"]), ("rebase", ["snap1.img"]), ("convert", ["base-merged-"])],
)
def test_the_target_is_what_the_strategy_writes(strategy, targets, domain):
    merge = merge_of(domain, strategy)
    found = shown(merge)
    assert found.target.startswith(targets[0])
    assert found.stage == "queued"
    assert "nothing has moved" in found.words
    rows = str(found.drawing).count('data-part="source"'), str(found.drawing).count("flow-target")
    assert rows == (2 if strategy == "convert" else 1, 1)


def test_a_base_that_takes_the_name_of_the_active_layer_says_so(domain):
    base, top = (samples.volume_of(domain, f"lesson/{n}.img") for n in ("base", "snap2"))
    merge = services.request_merge(base, top, None, "test", strategy="convert", queue=False)
    assert "the new volume" in shown(merge).drawing
    plan = replace(Plan.from_json(merge.plan), strategy="commit")
    found = flow(merge, plan, selectors.merge_live(merge.pk))
    assert found is not None
    assert "becomes snap2.img" in found.drawing


def test_of_many_layers_those_in_the_middle_are_one_bar(domain):
    merge = merge_of(domain, "convert")
    plan = replace(Plan.from_json(merge.plan), layers=tuple(f"layer{n}" for n in range(300)))
    merge.picture = [
        {"path": path.encode().hex(), "format": "qcow2", "virtual_size": 1, "on_disk": 1024}
        for path in plan.layers
    ]
    found = flow(merge, plan, selectors.merge_live(merge.pk))
    assert found is not None
    assert found.drawing.count('data-part="') == 13
    assert "… 289 layers" in found.drawing
    assert "289 KiB" in found.drawing


def test_the_words_follow_the_steps(domain):
    merge = merge_of(domain, "convert")
    live = at(merge, "copy", 0.25)
    assert live["flow"] == {"copy": pytest.approx(0.25, abs=1e-4), "verify": 0}
    assert stage_of(live) == "copy"
    assert "3.25 MiB of 13 MiB have flowed into base-merged-" in shown(merge).words
    live = at(merge, "verify", 0.5)
    assert live["flow"] == {"copy": 1, "verify": pytest.approx(0.5, abs=1e-4)}
    assert "50 % of that have been compared" in shown(merge).words
    at(merge, "switch", 1)
    assert shown(merge).stage == "switch"
    for state in ("failed", "cancelled", "attention", "succeeded"):
        Merge.objects.filter(pk=merge.pk).update(state=state)
        merge.refresh_from_db()
        assert shown(merge).stage == state


def test_the_page_has_the_drawing_its_words_and_nothing_of_an_undo(domain, browser):
    merge = merge_of(domain, "convert")
    at(merge, "copy", 0.5)
    page = browser("auditor").get(f"/merges/{merge.pk}/").text
    assert "data-flow" in page
    assert "6.5 MiB of 13 MiB have flowed into" in page
    assert 'data-words-copy="%(done)s of %(whole)s' in page
    assert Page(page).wrong == []
    Merge.objects.filter(pk=merge.pk).update(strategy="undo", undoes=merge)
    merge.refresh_from_db()
    assert flow(merge, Plan.from_json(merge.plan), selectors.merge_live(merge.pk)) is None
