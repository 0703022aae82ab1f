"""Both trackers of a model: both or neither, and each refusal and each header to the one that it is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.capacity import REQUESTS, TOKENS, DualCapacity
from batchproc.core.tracker import CapacityTracker, Kind
from batchproc.model import Demand, RateSeen, Usage

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


def day(used: int, limit: int = 10_000) -> RateSeen:
    """A day's bucket as OpenAI's headers show it (recorded: 10,000, one used, reset 8.64 s)."""
    return RateSeen(REQUESTS, limit, limit - used, used * 86_400 / limit)


MINUTE, DAY = 60.0, 86_400.0


@pytest.mark.parametrize(
    ("looks", "window"),
    [
        ([(0, day(1))], None),  # a minute that ends in 8.64 s could look so
        ([(0, day(1)), (1, day(2))], DAY),
        ([(0, day(8))], DAY),  # no minute takes 69 s to be as new
        ([(0, RateSeen(REQUESTS, 5000, 4999, 0.012))], MINUTE),
        ([(0, RateSeen(REQUESTS, 1440, 1439, 60.0)), (1, RateSeen(REQUESTS, 1440, 1437, 59.0))], MINUTE),  # a fixed one
        ([(0, RateSeen(REQUESTS, 120, 119, 500.0)), (30, RateSeen(REQUESTS, 120, 118, 1000.0))], None),  # milliseconds
        ([(0, RateSeen(REQUESTS, 50, 40, 7200.0)), (1, RateSeen(REQUESTS, 50, 39, 7199.0))], None),  # too close
        ([(0, RateSeen(REQUESTS, 50, 40, 7200.0)), (9, RateSeen(REQUESTS, 50, 39, 7191.0))], DAY),  # ends at midnight
        ([(0, RateSeen(REQUESTS, 50, 0, 90.0))], MINUTE),  # a debt of a minute's bucket
        ([(0, RateSeen(REQUESTS, 50, 49, None))], MINUTE),
        ([(0, RateSeen(REQUESTS, 50, 49, 5.0, 10.0))], 10.0),  # the name says it
    ],
)
def test_which_window_a_header_is_about(looks, window):
    """Each answer: when it came, what it said; then what is believed."""
    dual = DualCapacity(None, None)
    found = None
    for at, seen in looks:
        found = dual.window_of(seen, float(at))
    assert found == window


def test_a_day_is_followed_beside_the_minute():
    """It gets a tracker of its own, which is told; the minute's is left alone."""
    dual = DualCapacity(CapacityTracker(600, 0.0), None)
    for used in (1, 2, 3):
        stamps = dual.take(Demand(1, 0), float(used))
        dual.told([day(used)], stamps, used + 0.5)
    assert [(p.why, p.tracker and p.tracker.limit) for p in dual.parts] == [
        ("requests per minute", 600),
        ("tokens per minute", None),
        ("requests per day", 10_000),
    ]
    assert dual.learnt == [("requests per day", 10_000)]
    assert dual.delay_s(Demand(1, 0), 4.0) == (0.0, "")


@pytest.mark.parametrize(
    ("by", "daily", "waits"),
    [
        ("tokens", False, (False, True, False, True)),
        ("requests", False, (True, False, False, False)),
        ("requests", True, (False, False, True, False)),
        (None, True, (False, False, False, False)),  # of a day, but nobody knows of what: the pause holds
        (None, False, (True, True, False, True)),
        ("input_tokens", False, (False, False, False, True)),
    ],
)
def test_a_refusal_empties_what_it_is_about(by, daily, waits):
    """Requests and tokens per minute, requests per day, input tokens per minute: which has nothing left now?"""
    more = [(REQUESTS, CapacityTracker(1000, 0.0, window_s=DAY)), ("input_tokens", CapacityTracker(6000, 0.0))]
    dual = DualCapacity(CapacityTracker(6000, 0.0), CapacityTracker(6000, 0.0), more)
    demand = Demand(1, 40, 20, 20)
    stamps = dual.take(demand, 0.0)
    dual.returned(stamps)
    dual.refused(demand, stamps, 0.0, wait_s=None, by=by, daily=daily)
    assert tuple(p.tracker.delay_s(p.amount(demand), 0.0) > 0 for p in dual.parts if p.tracker) == waits


def test_what_was_not_used_comes_back_where_the_provider_settles():
    """And what was used beyond the estimate is charged."""
    more = [("input_tokens", CapacityTracker(1000, 0.0)), ("output_tokens", CapacityTracker(1000, 0.0))]
    dual = DualCapacity(None, CapacityTracker(2000, 0.0), more)
    demand = Demand(1, 500, 100, 400)
    stamps = dual.take(demand, 0.0)
    dual.settle(demand, Usage(130, 20), stamps, 0.0)
    assert [p.tracker.level(0.0) for p in dual.parts if p.tracker] == [1850, 870, 980]
    dual.settle(demand, Usage(), stamps, 0.0)
    assert [p.tracker.level(0.0) for p in dual.parts if p.tracker] == [1850, 870, 980], "no usage says nothing"


def test_input_read_from_a_cache_is_charged_to_tokens_but_not_to_input_tokens():
    """Anthropic's limits of input tokens do not count what was read from its cache."""
    dual = DualCapacity(None, CapacityTracker(2000, 0.0), [("input_tokens", CapacityTracker(1000, 0.0))])
    stamps = dual.take(demand := Demand(1, 500, 400, 100), 0.0)
    dual.settle(demand, Usage(400, 100, 300), stamps, 0.0)
    assert [p.tracker.level(0.0) for p in dual.parts if p.tracker] == [1500, 900]


def test_a_restart_remembers_the_day_and_the_minute():
    """Each limit is charged with what falls into its own window; a day's bucket has been refilling since."""
    dual = DualCapacity(CapacityTracker(60, 0.0), None, [(REQUESTS, CapacityTracker(100, 0.0, window_s=DAY))])
    dual.charged_before(80, 0, DAY / 2, 0.0)
    dual.charged_before(10, 0, 30.0, 0.0)
    assert [p.tracker.level(0.0) for p in dual.parts if p.tracker] == [50, 10]
    assert dual.delay_s(Demand(1, 0), 0.0) == (0.0, "")
    dual.charged_before(10, 0, 1.0, 0.0)
    assert dual.delay_s(Demand(1, 0), 0.0)[0] == 0.0, "half of the day's bucket was refilled since: it may be dared"


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
    bare.accepted((None, None), 0.0)
    bare.refused(Demand(1, 5), (None, None), 0.0, wait_s=1.0, by=REQUESTS)
    assert bare.requests is None
