"""What headers leave: never more than the truth, however requests overtake each other."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.evidence import Evidence

NONE = float("inf")  # no count of our own


@given(st.integers(0, 10**6), st.floats(0, 0.2), st.floats(0.01, 3.0), st.floats(0.2, 40))
def test_overtaking_never_leaves_more_than_the_truth(seed, jitter_s, latency_s, per_s):
    """A server admits in its own order; what is left, less the refill on the way, is at most what it has."""
    random, evidence = Random(seed), Evidence()
    limit = rate = 1000.0
    events = []
    at = 0.0
    for n in range(120):
        at += random.expovariate(per_s)
        arrives = at + jitter_s * random.random()
        events += [(at, 0, n), (arrives, 1, n), (arrives + latency_s * random.random(), 2, n)]
    amounts = [random.randrange(1, 20) for _ in range(120)]
    level, seen_at, total = limit * 1000, 0.0, 0.0
    sends: dict[int, tuple] = {}
    said: dict[int, float] = {}
    for now, what, n in sorted(events):
        if what == 0:
            total += amounts[n]
            sends[n] = (evidence.sent(amounts[n], total, now), now)
        elif what == 1:
            level += rate * (now - seen_at) - amounts[n]
            seen_at = now
            said[n] = level
        else:
            grain, sent_at = sends[n]
            grain.under_way -= amounts[n]
            if evidence.told(grain, sent_at, said[n], rate):
                on_the_way = sum(amounts[m] for m in sends if m not in said)
                truth = level + rate * (now - seen_at) - on_the_way
                assert evidence.left(now, total, rate, NONE) <= truth + rate * jitter_s + 1e-6


def test_one_after_the_other_is_exact():
    """Without anything under way what is left is what remained and the refill since."""
    evidence = Evidence()
    grain = evidence.sent(10, 10.0, 0.0)
    grain.under_way -= 10
    assert evidence.told(grain, 0.0, 90, 2.0)
    assert evidence.left(1.0, 10.0, 2.0, NONE) == pytest.approx(92)
    evidence.sent(5, 15.0, 1.0)
    assert evidence.left(1.0, 15.0, 2.0, NONE) == pytest.approx(87), "what was sent since is off"


def test_an_answer_that_is_too_old_says_nothing():
    """A later one, sent a second later, is in already."""
    evidence = Evidence()
    old, new = evidence.sent(1, 1.0, 0.0), evidence.sent(1, 2.0, 1.0)
    assert evidence.told(new, 1.0, 50, 0.0)
    assert not evidence.told(old, 0.0, 10, 0.0)
    assert evidence.left(1.0, 2.0, 0.0, NONE) == pytest.approx(49), "the old one is under way, for all that is known"
    assert evidence.newest_at == 1.0


def test_nothing_said_leaves_everything():
    """Before the first answer, and after another window has begun."""
    evidence = Evidence()
    assert evidence.left(0.0, 0.0, 1.0, NONE) == float("inf")
    assert evidence.newest_at == -float("inf")
    grain = evidence.sent(1, 1.0, 0.0)
    evidence.told(grain, 0.0, 5, 0.0)
    evidence.forget()
    assert evidence.left(0.0, 1.0, 0.0, NONE) == float("inf")


def test_what_took_nothing_is_not_counted_as_sent():
    """A refused request is taken off the grains after it."""
    evidence = Evidence()
    first = evidence.sent(1, 1.0, 0.0)
    first.under_way -= 1
    evidence.told(first, 0.0, 100, 0.0)
    lost = evidence.sent(50, 51.0, 1.0)
    assert evidence.left(1.0, 51.0, 0.0, NONE) == 50
    evidence.took_nothing(lost, 50)
    assert evidence.left(1.0, 1.0, 0.0, NONE) == 100


def test_old_grains_are_let_go():
    """A million answered requests leave no more than the grains of two seconds."""
    evidence = Evidence()
    for n in range(5000):
        grain = evidence.sent(1, n + 1.0, n / 10)
        grain.under_way -= 1
        evidence.told(grain, n / 10, 5, 1.0)
    assert len(evidence._grains) <= 25


def test_more_than_our_own_count_only_as_far_as_is_certain():
    """What was sent within two seconds, and is not answered, may still be on its way: it is not taken for granted."""
    evidence = Evidence()
    late = evidence.sent(30, 30.0, 0.0)
    new = evidence.sent(1, 31.0, 1.0)
    new.under_way -= 1
    evidence.told(new, 1.0, 100, 0.0)
    assert evidence.left(1.0, 31.0, 0.0, 200.0) == 100, "less than our own count is believed at once"
    assert evidence.left(1.0, 31.0, 0.0, 50.0) == 70
    assert evidence.left(1.0, 31.0, 0.0, 90.0) == 90
    late.under_way -= 30
    assert evidence.left(1.0, 31.0, 0.0, 50.0) == 100
