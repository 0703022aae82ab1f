"""Both trackers of a model: both or neither, and each refusal and each header to the one that it is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.capacity import REQUESTS, TOKENS, DualCapacity
from batchproc.core.tracker import CapacityTracker, Kind
from batchproc.model import Demand, RateSeen

DEMANDS = st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2000)), max_size=40)


@given(st.integers(1, 600), st.integers(1, 1000), DEMANDS)
def test_both_or_neither(rpm, tpm, demands):
    """No time is right before both trackers have room, and a charge is on both."""
    dual = DualCapacity(CapacityTracker(rpm, 0.0), CapacityTracker(tpm, 0.0))
    assert dual.requests is not None
    assert dual.tokens is not None
    now = 0.0
    for pause, tokens in demands:
        now += pause
        demand = Demand(1, tokens)
        delay, why = dual.delay_s(demand, now)
        own = dual.tokens.delay_s(tokens, now) if tokens <= tpm else 0.0
        assert delay == max(dual.requests.delay_s(1, now), own)
        assert (why == "") == (delay == 0)
        now += delay
        levels = dual.requests.level(now), dual.tokens.level(now)
        dual.take(demand, now)
        assert dual.requests.level(now) == pytest.approx(levels[0] - 1)
        assert dual.tokens.level(now) == pytest.approx(levels[1] - min(tokens, tpm))


def test_a_job_over_the_whole_limit_waits_for_a_request_only():
    """Waiting does not make it smaller: whether it passes is the server's to say."""
    dual = DualCapacity(CapacityTracker(60, 0.0, burst_s=1), CapacityTracker(1000, 0.0))
    dual.take(Demand(1, 1000), 0.0)
    assert dual.delay_s(Demand(1, 1001), 0.0) == (pytest.approx(1.0), "requests per minute")
    assert dual.delay_s(Demand(1, 1000), 0.0)[1] == "tokens per minute"


def test_a_pause_holds_everything_and_the_longest_counts():
    """A shorter pause does not end a longer one."""
    dual = DualCapacity(None, None)
    dual.pause(10.0, "a")
    dual.pause(5.0, "b")
    assert dual.delay_s(Demand(1, 5), 4.0) == (6.0, "a")
    assert dual.delay_s(Demand(1, 5), 10.0) == (0.0, "")


@pytest.mark.parametrize(
    ("by", "kinds", "tokens"),
    [
        (REQUESTS, (Kind.PACED, Kind.UNKNOWN), 6000.0),
        (TOKENS, (Kind.UNKNOWN, Kind.PACED), 0.0),
        (None, (Kind.PACED, Kind.PACED), 0.0),
    ],
)
def test_only_the_tracker_that_refused_is_cut(by, kinds, tokens):
    """A refusal for requests gives the tokens back; one for tokens leaves the requests; an unknown one cuts both."""
    dual = DualCapacity(CapacityTracker(100, 0.0), CapacityTracker(6000, 0.0))
    assert dual.requests is not None
    assert dual.tokens is not None
    stamps = dual.take(Demand(1, 50), 0.0)
    dual.returned(stamps)
    dual.refused(Demand(1, 50), stamps, 0.0, wait_s=None, by=by)
    assert (dual.requests.kind, dual.tokens.kind) == kinds
    assert dual.tokens.level(0.0) == tokens
    assert dual.requests.level(0.0) == (99 if by == TOKENS else 0)


def test_headers_go_to_the_tracker_that_they_are_about():
    """Of another window than the tracker's they say nothing; a daily limit of requests for example."""
    dual = DualCapacity(CapacityTracker(600, 0.0), CapacityTracker(6000, 0.0))
    assert dual.requests is not None
    assert dual.tokens is not None
    stamps = dual.take(Demand(1, 50), 0.0)
    dual.told([RateSeen(TOKENS, 5000, 4950, 0.6), RateSeen(REQUESTS, 10, 9, 1.0, 86_400.0)], stamps, 0.5)
    assert (dual.requests.limit, dual.tokens.limit) == (600, 5000)
    assert dual.tokens.kind is Kind.BUCKET
    dual.told([RateSeen(REQUESTS, 10, 9, 1.0, 60.0)], stamps, 0.5)
    assert dual.requests.limit == 10
    dual.told([RateSeen(REQUESTS, 5, 4, 1.0)], (None, None), 0.5)
    assert dual.requests.limit == 10, "of a request that was not charged"


def test_what_never_arrived_is_given_back_on_both():
    """And a request that was not charged gives nothing back."""
    dual = DualCapacity(CapacityTracker(600, 0.0), CapacityTracker(6000, 0.0))
    assert dual.requests is not None
    assert dual.tokens is not None
    stamps = dual.take(Demand(1, 50), 0.0)
    dual.returned(stamps)
    dual.give_back(Demand(1, 50), stamps, 0.0)
    dual.give_back(Demand(1, 50), (None, None), 0.0)
    assert (dual.requests.level(0.0), dual.tokens.level(0.0)) == (600, 6000)


def test_limits_are_learnt():
    """An unknown limit is taken over, a lower one too, a higher one is no news; a fixed burst stays fixed."""
    dual = DualCapacity(None, CapacityTracker(1000, 0.0, burst_s=3))
    assert dual.learn(REQUESTS, 500, 0.0)
    assert not dual.learn(REQUESTS, 500, 0.0)
    assert not dual.learn(REQUESTS, 900, 0.0)
    assert dual.learn(TOKENS, 600, 0.0)
    assert dual.requests is not None
    assert dual.tokens is not None
    assert (dual.requests.limit, dual.tokens.limit) == (500, 600)
    assert (dual.requests.burst, dual.tokens.burst) == (25, 30), "three seconds' worth of each"
    bare = DualCapacity(None, None, burst_s=3)
    bare.learn(TOKENS, 600, 0.0)
    assert bare.tokens is not None
    assert bare.tokens.burst == 30
    bare.give_back(Demand(1, 5), (None, None), 0.0)
    bare.accepted(Demand(1, 5), (None, None), 0.0)
    bare.refused(Demand(1, 5), (None, None), 0.0, wait_s=1.0, by=REQUESTS)
    assert bare.requests is None
