"""The trackers: nothing over a limit, both or neither, and a wait that is neither too short nor too long."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.capacity import REQUESTS, TOKENS, CapacityTracker, DualCapacity
from batchproc.model import Demand

LIMITS = st.integers(1, 10**7)
BURSTS = st.none() | st.floats(0.5, 60)
STEPS = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 10**6), st.booleans()), max_size=60)


@given(LIMITS, BURSTS, STEPS)
def test_no_window_over_its_limit(limit, burst_s, steps):
    """In any interval of t seconds no more than limit + rate·t is taken, whatever is accepted on the way."""
    tracker = CapacityTracker(limit, 0.0, burst_s=burst_s)
    now, taken = 0.0, []
    for pause, amount, accepted in steps:
        amount = min(amount, limit)
        now += pause
        now += tracker.delay_s(amount, now)
        tracker.take(amount, now)
        taken.append((now, amount))
        if accepted:
            tracker.accepted(amount, now)
    for first in range(len(taken)):
        total = 0
        for at, amount in taken[first:]:
            total += amount
            assert total <= limit + tracker.rate * (at - taken[first][0]) + 1e-6 * limit + 1e-6


@given(LIMITS, BURSTS, STEPS, st.integers(1, 10**6))
def test_delay_is_pure_and_exact(limit, burst_s, steps, amount):
    """After the wait nothing more is to wait for; a little earlier there is; asking changes nothing."""
    tracker = CapacityTracker(limit, 0.0, burst_s=burst_s)
    now = 0.0
    for pause, spent, accepted in steps:
        now += pause
        tracker.take(min(spent, limit), now)
        if accepted:
            tracker.accepted(spent, now)
    before = copy.copy(vars(tracker))
    delay = tracker.delay_s(amount, now)
    assert vars(tracker) == before
    assert tracker.delay_s(amount, now + delay + 1e-6) == 0
    if delay > 1e-3:
        assert tracker.delay_s(amount, now + delay * 0.999) == pytest.approx(delay * 0.001, rel=1e-3, abs=1e-6)


@given(LIMITS, st.floats(0, 100), st.integers(1, 1000))
def test_giving_back_undoes_a_charge(limit, at, amount):
    """A charge that is given back at once leaves no trace, and never more than was there."""
    tracker = CapacityTracker(limit, 0.0)
    tracker.take(min(amount, limit), at)
    tracker.give_back(min(amount, limit), at)
    assert tracker.level(at) == pytest.approx(limit)
    assert tracker.delay_s(1, at) == 0


def test_the_burst_doubles_with_what_is_accepted():
    """From one second's worth, by what the server accepts, up to the whole limit."""
    tracker = CapacityTracker(6000, 0.0)
    sizes = [tracker.burst]
    while tracker.burst < 6000:
        for _ in range(int(sizes[-1])):
            tracker.accepted(1, 0.0)
        sizes.append(tracker.burst)
    assert sizes == [100, 200, 400, 800, 1600, 3200, 6000]


def test_a_fixed_burst_neither_grows_nor_falls():
    """`--burst 2` is two seconds' worth, whatever the server says; and it follows the limit."""
    tracker = CapacityTracker(6000, 0.0, burst_s=2)
    tracker.accepted(5000, 0.0)
    assert tracker.burst == 200
    tracker.refused(1, 1.0, sent_at=0.5, wait_s=None)
    assert tracker.burst == 200
    tracker.resize(600, 2.0)
    assert tracker.burst == 20, "two seconds' worth of the limit as it is now"


def test_an_unexpected_refusal_falls_back_to_one_second_s_worth():
    """And from then on no further than half of what was refused."""
    tracker = CapacityTracker(6000, 0.0)
    for _ in range(1500):
        tracker.accepted(1, 0.0)
    tracker.refused(1, 10.0, sent_at=9.0, wait_s=None)
    assert tracker.burst == 100
    for _ in range(5000):
        tracker.accepted(1, 10.0)
    assert 800 <= tracker.burst <= 820, "half of 1600, lifted slowly"


def test_refusals_of_one_round_trip_count_once():
    """Those that were sent before the cut say nothing new; one that was sent after it does."""
    tracker = CapacityTracker(6000, 0.0)
    tracker.accepted(1500, 0.0)
    for late in range(5):
        tracker.refused(1, 10.0 + late / 10, sent_at=9.0, wait_s=None)
    tracker.accepted(100_000, 11.0)
    assert tracker.burst == pytest.approx(800, rel=0.3)
    tracker.refused(1, 12.0, sent_at=11.5, wait_s=None)
    tracker.accepted(100_000, 12.0)
    assert tracker.burst < 700


@pytest.mark.parametrize(
    ("amount", "wait_s", "level", "why"),
    [
        (1, 0.12, -11.0, "0.12 s at 100 a second: the bucket lacks 12 of 1"),
        (1, None, 0.0, "no wait named: as good as empty"),
        (500, 1.0, 400.0, "a large one that lacks only a part"),
        (1, 1e9, -6000.0, "a wait of years empties no more than a window"),
    ],
)
def test_a_refusal_with_a_wait_tells_the_level(amount, wait_s, level, why):
    """Where the wait is named, the bucket lacks just what refills in it."""
    tracker = CapacityTracker(6000, 0.0)
    tracker.refused(amount, 5.0, sent_at=4.0, wait_s=wait_s)
    assert tracker.level(5.0) == pytest.approx(level), why


def test_resize_keeps_what_is_used():
    """A smaller limit: what went out counts; never more than one window's worth behind; a larger one gives room."""
    tracker = CapacityTracker(6000, 0.0)
    tracker.take(400, 0.0)
    tracker.resize(600, 0.0)
    assert (tracker.level(0.0), tracker.rate, tracker.burst) == (200, 10, 100)
    tracker = CapacityTracker(6000, 0.0)
    tracker.take(6000, 0.0)
    tracker.resize(600, 0.0)
    assert tracker.level(0.0) == -600, "no wait beyond two windows for what another limit let through"
    tracker.resize(60_000, 0.0)
    assert tracker.burst == 1000, "one second's worth is the least"


@pytest.mark.parametrize(("ago_s", "level"), [(0.0, 5000), (59.9, 5000), (60.0, 6000), (1e9, 6000)])
def test_what_an_earlier_process_sent_counts_within_the_window(ago_s, level):
    """In full within the window, not at all after it."""
    tracker = CapacityTracker(6000, 0.0)
    tracker.charged_before(1000, ago_s)
    assert tracker.level(0.0) == level


def test_a_clock_that_stands_or_goes_back_gives_nothing():
    """Only time that passes refills."""
    tracker = CapacityTracker(60, 100.0)
    tracker.take(60, 100.0)
    for now in (100.0, 50.0, 0.0):
        assert tracker.delay_s(1, now) == pytest.approx(60.0), "60 were taken at one a second"
        tracker.take(0, now)
    assert tracker.level(100.0) == 0


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
    dual = DualCapacity(CapacityTracker(60, 0.0), CapacityTracker(1000, 0.0))
    dual.take(Demand(1, 1000), 0.0)
    assert dual.delay_s(Demand(1, 1001), 0.0) == (pytest.approx(1.0), REQUESTS)
    assert dual.delay_s(Demand(1, 1000), 0.0)[1] == TOKENS


def test_a_pause_holds_everything_and_the_longest_counts():
    """A shorter pause does not end a longer one."""
    dual = DualCapacity(None, None)
    dual.pause(10.0, "a")
    dual.pause(5.0, "b")
    assert dual.delay_s(Demand(1, 5), 4.0) == (6.0, "a")
    assert dual.delay_s(Demand(1, 5), 10.0) == (0.0, "")


def test_only_the_tracker_that_refused_is_cut():
    """A refusal for requests gives the tokens back; one for tokens leaves the requests; an unknown one cuts both."""
    for by, requests, tokens in ((REQUESTS, 0.0, 6000.0), (TOKENS, 99.0, 0.0), (None, 0.0, 0.0)):
        dual = DualCapacity(CapacityTracker(100, 0.0), CapacityTracker(6000, 0.0))
        assert dual.requests is not None
        assert dual.tokens is not None
        dual.take(Demand(1, 50), 0.0)
        dual.refused(Demand(1, 50), 0.0, sent_at=0.0, wait_s=None, by=by)
        assert dual.requests.level(0.0) == requests, by
        assert dual.tokens.level(0.0) == tokens, by


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
    bare.give_back(Demand(1, 5), 0.0)
    bare.accepted(Demand(1, 5), 0.0)
    bare.refused(Demand(1, 5), 0.0, sent_at=0.0, wait_s=1.0, by=REQUESTS)
    assert bare.requests is None
