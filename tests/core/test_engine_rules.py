"""Where an engine and a storage do not agree."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chains.core.engine_rules import (
    EngineDisk,
    EngineFacts,
    EngineVolume,
    VolumeKey,
    engine_findings,
    settled,
)
from chains.core.findings import Code, Severity

OLD = EngineVolume("old", "before\nthe upgrade", 1.0, "ok")
NEW = EngineVolume("new", "Active VM", 2.0, "ok", is_active=True)
DISK = EngineDisk("disk", "root", ("web1",), "ok", {"old": OLD, "new": NEW})
FACTS = EngineFacts("domain", {"disk": DISK})
STORAGE = {"a/old": VolumeKey("disk", "old"), "a/new": VolumeKey("disk", "new")}


def found(facts=FACTS, volumes=None, passing=()):
    findings = engine_findings(facts, STORAGE if volumes is None else volumes, passing)
    return [(finding.code, finding.path) for finding in findings]


def with_disk(**changes):
    return EngineFacts("domain", {"disk": DISK._replace(**changes)})


def test_both_agree():
    assert found() == []
    assert found(EngineFacts("domain"), {}) == []


def test_a_volume_that_the_engine_does_not_know():
    more = STORAGE | {"a/x": VolumeKey("disk", "x"), "b/y": VolumeKey("other", "y")}
    assert found(volumes=more) == [(Code.ENGINE_UNKNOWN, "a/x"), (Code.ENGINE_UNKNOWN, "b/y")]
    assert found(volumes=more, passing=["a/x", "b/y"]) == []
    details = [finding.detail for finding in engine_findings(FACTS, more)]
    assert "“root” of web1" in details[0]
    assert "nor a disk" in details[1]


def test_a_template_lies_beside_the_disks_that_were_made_from_it():
    template = EngineDisk("t", "template", (), "ok", {"base": EngineVolume("base")})
    facts = EngineFacts("domain", {"disk": DISK, "t": template})
    beside = STORAGE | {"a/base": VolumeKey("disk", "base"), "t/base": VolumeKey("t", "base")}
    assert found(facts, beside) == []


def test_a_volume_that_is_not_on_the_storage():
    (finding,) = engine_findings(FACTS, {"a/new": VolumeKey("disk", "new")})
    assert (finding.code, finding.path) == (Code.ENGINE_MISSING, "a/new")
    assert finding.severity is Severity.CRITICAL
    assert "“before\\nthe upgrade”" in finding.detail
    assert found(volumes={}) == [(Code.ENGINE_MISSING, "")] * 2
    # What is about to go is still there.
    assert found(passing=list(STORAGE)) == []


def test_illegal_volumes():
    illegal = {"old": OLD._replace(status="illegal"), "new": NEW}
    assert found(with_disk(volumes=illegal)) == [(Code.ENGINE_ILLEGAL, "a/old")]
    assert found(with_disk(status="illegal")) == [(Code.ENGINE_ILLEGAL, "a/new")]


def test_locked_disks_are_only_said_to_be_locked():
    both = [(Code.ENGINE_LOCKED, "a/new"), (Code.ENGINE_LOCKED, "a/old")]
    assert found(with_disk(status="locked")) == both
    more = {"a/x": VolumeKey("disk", "x")}
    assert found(with_disk(status="locked"), more) == [(Code.ENGINE_LOCKED, "a/x")]
    locked = {"old": OLD._replace(status="locked"), "new": NEW}
    assert found(with_disk(volumes=locked)) == [(Code.ENGINE_LOCKED, "a/old")]


def test_what_changes_while_it_is_looked_at_is_left_alone():
    later = with_disk(volumes={"new": NEW})
    assert found(later) == [(Code.ENGINE_UNKNOWN, "a/old")]
    assert found(settled(FACTS, later)) == []
    assert found(settled(FACTS, EngineFacts("domain"))) == []
    assert settled(FACTS, FACTS) == FACTS
    assert found(replace(FACTS, unsettled=frozenset({"disk"})), {}) == []


# Few uuids, so that they meet; any words.
UUID = st.sampled_from(["", "a", "b", "c\n", "\udcff"])
WORDS = st.text(max_size=5)
STATUS = st.sampled_from(["ok", "illegal", "locked", ""])
KEYS = st.builds(VolumeKey, UUID, UUID)
VOLUMES = st.builds(EngineVolume, UUID, WORDS, st.none(), STATUS, st.booleans())
DISKS = st.builds(
    EngineDisk, UUID, WORDS, st.tuples(WORDS), STATUS, st.dictionaries(UUID, VOLUMES, max_size=3)
)


@given(st.dictionaries(UUID, DISKS, max_size=3), st.dictionaries(WORDS, KEYS, max_size=5))
def test_every_finding_is_of_a_path_or_of_the_domain(disks, volumes):
    for finding in engine_findings(EngineFacts("domain", disks), volumes):
        assert finding.path in {"", *volumes}
        assert finding.detail.isprintable()
