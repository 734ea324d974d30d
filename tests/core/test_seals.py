"""The chain over the audit records, in memory: whatever is done to it, the walk sees it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chains.core.seals import GENESIS, Kind, Link, Walk, digest

TEXTS = st.tuples(*[st.text(max_size=6)] * 8)


def sealed(records: list[tuple[str, ...]]) -> list[Link]:
    chain, before = [], GENESIS
    for number, texts in enumerate(records, 1):
        own = digest(before, "now", texts)
        chain.append(Link(number, number, before, own, "now", texts))
        before = own
    return chain


def faults(chain: list[Link]) -> list[Kind]:
    places = {link.hash: link.seq for link in chain}
    walk = Walk(places.get)
    return [fault.kind for link in chain for fault in walk.step(link)]


def renumbered(chain: list[Link]) -> list[Link]:
    return [replace(link, seq=number) for number, link in enumerate(chain, 1)]


@given(st.lists(TEXTS, max_size=8))
def test_what_nobody_touched_is_sound(records):
    chain = sealed(records)
    walk = Walk(lambda _: None)
    assert [fault for link in chain for fault in walk.step(link)] == []
    assert (walk.count, walk.head) == (len(chain), chain[-1].hash if chain else GENESIS)


@given(st.lists(TEXTS, min_size=1, max_size=8), st.data())
def test_any_changed_text_is_found(records, data):
    chain = sealed(records)
    at = data.draw(st.integers(0, len(chain) - 1))
    field = data.draw(st.integers(0, 7))
    texts = list(chain[at].texts or ())
    texts[field] = data.draw(st.text(max_size=6).filter(lambda text: text != texts[field]))
    chain[at] = replace(chain[at], texts=tuple(texts))
    assert faults(chain) == [Kind.CHANGED]


@given(TEXTS, TEXTS)
def test_what_is_moved_over_a_border_between_texts_is_another_record(one, other):
    assert (digest("", "", one) == digest("", "", other)) == (one == other)


@given(st.lists(TEXTS, min_size=2, max_size=8), st.data())
def test_any_link_but_the_last_that_is_missing_is_found(records, data):
    chain = sealed(records)
    del chain[data.draw(st.integers(0, len(chain) - 2))]
    assert faults(chain) == [Kind.MISSING]
    assert faults(renumbered(chain)) == [Kind.MISSING]


@given(st.lists(TEXTS, min_size=2, max_size=8), st.data())
def test_any_other_order_is_found(records, data):
    chain = sealed(records)
    order = data.draw(st.permutations(range(len(chain))).filter(lambda o: o != sorted(o)))
    assert Kind.REORDERED in faults(renumbered([chain[at] for at in order]))


@given(st.lists(TEXTS, min_size=1, max_size=8), TEXTS, st.data())
def test_any_link_that_is_put_in_before_another_is_found(records, texts, data):
    chain = sealed(records)
    at = data.draw(st.integers(0, len(chain) - 1))
    before = chain[at].previous
    forged = Link(0, 99, before, digest(before, "later", texts), "later", texts)
    assert faults(renumbered([*chain[:at], forged, *chain[at:]])) == [Kind.INSERTED]
