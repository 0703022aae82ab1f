"""Order: results in any order in, indices in order out; and what two files say about where to go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.order import InOrder
from batchproc.core.resume import Decision, Found, Step, decide


@given(st.permutations(range(40)), st.integers(0, 5), st.integers(1, 50), st.booleans())
def test_order_is_the_identity(arrivals, start, most, straight):
    """For every order of arrival and every size of a bite: out come 0, 1, 2 …, each once."""
    order, out = InOrder(start), []
    for n in arrivals:
        index = n + start
        if straight and index == order.next_index:
            out.append(index)
            order.advance()
        else:
            order.put(index, index * 10)
        assert index in order
        while order.ready():
            taken = order.take(most)
            out.extend(where // 10 for where in taken)
        assert order.next_index == start + len(out)
    assert out == list(range(start, start + 40))
    assert (order.waiting, order.items(), order.end) == (0, [], start + 40)


@pytest.mark.parametrize(
    ("arrivals", "released", "why"),
    [
        ([0, 1, 2, 3], [1, 1, 1, 1], "in order: each goes at once"),
        ([3, 2, 1, 0], [0, 0, 0, 4], "backwards: the first one frees all"),
        ([1, 0, 3, 2], [0, 2, 0, 2], "in pairs"),
        ([1, 2, 3, 0], [0, 0, 0, 4], "the first one last"),
        ([0, 2, 3, 1], [1, 0, 0, 3], "a gap in the middle"),
        ([0, 1, 3, 2], [1, 1, 0, 2], "a gap at the end"),
        ([2, 0, 1, 3], [0, 1, 2, 1], "one early"),
    ],
)
def test_arrival_patterns(arrivals, released, why):
    """What each arrival lets out."""
    order = InOrder()
    out = []
    for index in arrivals:
        order.put(index, index)
        out.append(len(order.take(99)))
    assert out == released, why


def test_a_job_ends_once():
    """A second result for an index is refused, written or waiting."""
    order = InOrder(5)
    order.put(7, 1)
    for index in (7, 4, 0):
        with pytest.raises(ValueError, match=f"index {index} has a result already"):
            order.put(index, 2)
    assert order.waiting == 1


def test_moved_results_are_found_where_they_are():
    """The place of a waiting result may change; written and unknown ones have none."""
    order = InOrder()
    order.put(3, 30)
    order.move(3, 31)
    assert order.where(3) == 31
    assert order.where(2) is None
    assert order.where(99) is None
    assert order.items() == [(3, 31)]
    assert (order.end, order.ready(), 3 in order, 2 in order) == (4, False, True, False)


def test_memory_is_trimmed_and_nothing_is_lost():
    """After a long run has gone out, the slots before it go too."""
    order, n = InOrder(), 200_000
    order.put(n, 7)
    for index in range(n - 1, -1, -1):
        order.put(index, index)
    out = []
    while len(out) < n - 1000:
        out += order.take(1000)
    assert len(order._slots) < n / 2
    assert order.items() == [(i, i) for i in range(n - 1000, n)] + [(n, 7)]
    out += order.take(10**9)
    assert out == [*range(n), 7]
    assert len(order._slots) == 0


SAME = {"base_url": "a", "endpoint": None}


@pytest.mark.parametrize(
    ("found", "decision", "why"),
    [
        (Found(False, None, False), Decision(Step.START), "nothing is there"),
        (Found(False, None, True), Decision(Step.FOREIGN), "nothing says that this run made it"),
        (Found(True, SAME, False), Decision(Step.GO_ON), "ours, nothing written yet"),
        (Found(True, SAME, True), Decision(Step.GO_ON), "ours"),
        (Found(True, {"base_url": "a"}, True), Decision(Step.GO_ON), "a setting that was not there is None"),
        (Found(True, None, False), Decision(Step.START), "its first write never reached the disk"),
        (Found(True, None, True), Decision(Step.VERIFY), "the ids in the output can still tell"),
        (
            Found(True, {"base_url": "b", "endpoint": "/x"}, False),
            Decision(Step.CHANGED, (("base_url", "b", "a"), ("endpoint", "/x", None))),
            "all that differs is named, by name, before and now",
        ),
        (
            Found(True, {**SAME, "model": "m"}, True),
            Decision(Step.CHANGED, (("model", "m", None),)),
            "a setting that is gone differs too",
        ),
    ],
)
def test_decide(found, decision, why):
    """The table in the module's text."""
    assert decide(found, SAME) == decision, why
