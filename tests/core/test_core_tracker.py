"""A tracker: what each kind of evidence makes it believe, and that no belief lets too much through."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.tracker import CapacityTracker, Kind
from batchproc.model import RateSeen
from batchproc.simulator.windows import make_window


def settle(tracker, now, n, amount=1.0):
    """Send and have accepted, one after the other, as fast as the tracker lets; returns when."""
    for _ in range(n):
        now += tracker.delay_s(amount, now)
        stamp = tracker.take(amount, now)
        tracker.returned(stamp)
        tracker.accepted(now, stamp)
    return now


def to_the_probe(tracker, now=0.0):
    """Use up the limit and send the probe; returns its stamp and when it went."""
    now = settle(tracker, now, int(tracker.limit))
    now += tracker.delay_s(1, now)
    stamp = tracker.take(1, now)
    assert stamp.probe
    return stamp, now


def seen(remaining, reset_s, limit=600):
    """Headers of requests."""
    return RateSeen("requests", limit, remaining, reset_s)


def served(kind, seconds, headers=True, seed=0, limit=600, jitter_s=0.03, latency_s=0.5):
    """A tracker against the simulated window; the tracker, what was accepted and what was refused."""
    random = Random(seed)
    tracker = CapacityTracker(limit, 0.0)
    window = make_window(kind, limit, 60.0, requests=True, phase_s=23.0 if kind in ("fixed", "azure") else 0.0)
    now, paused, good, bad, n = 0.0, 0.0, 0, 0, 0
    events: list = []
    while now < seconds:
        at = max(paused, now + tracker.delay_s(1, now))
        if not events or at <= events[0][0]:
            now = at
            n += 1
            heappush(events, (now + 0.02 + jitter_s * random.random(), n, "arrives", tracker.take(1, now), None))
            continue
        now, _, what, stamp, said = heappop(events)
        n += 1
        if what == "arrives":
            wait_s = window.wait_s(now, 1)
            if wait_s > 0:
                heappush(events, (now + 0.03, n, "refused", stamp, wait_s))
                continue
            window.take(now, 1)
            told = RateSeen("requests", limit, window.remaining(now), window.reset_s(now))
            heappush(events, (now + latency_s * (0.5 + random.random()), n, "accepted", stamp, told))
            continue
        tracker.returned(stamp)
        if what == "refused":
            tracker.refused(1, now, stamp, said)
            paused = max(paused, now + said)
            bad += 1
        else:
            tracker.accepted(now, stamp)
            if headers:
                tracker.told(said, stamp, now)
            good += 1
    return tracker, good, bad


@pytest.mark.parametrize(
    ("kind", "headers", "believed", "least", "most_refused"),
    [
        ("bucket", True, Kind.BUCKET, 3550, 4),
        ("bucket", False, Kind.BUCKET, 3500, 4),
        ("quantized", True, Kind.BUCKET, 2900, 8),
        ("quantized", False, Kind.PACED, 2800, 15),
        ("fixed", True, Kind.FIXED, 2950, 20),
        ("fixed", False, Kind.FIXED, 2350, 20),
        ("sliding", True, Kind.SLIDING, 2950, 8),
        ("sliding", False, Kind.SLIDING, 2900, 20),
        ("azure", True, Kind.FIXED, 2900, 60),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_each_kind_is_found_by_its_evidence(kind, headers, believed, least, most_refused, seed):
    """Five minutes at 600 a minute, answers out of order: the right kind, nearly all of it, few refusals."""
    tracker, good, bad = served(kind, 300, headers, seed)
    assert tracker.kind is believed
    assert good >= least
    assert bad <= most_refused


@given(
    st.integers(1, 10**6),
    st.none() | st.floats(0.5, 60),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 10**6), st.booleans()), max_size=60),
)
def test_no_window_over_its_limit(limit, burst_s, steps):
    """In any t seconds no more than limit + rate·t is taken, whatever is accepted on the way."""
    tracker = CapacityTracker(limit, 0.0, burst_s=burst_s)
    now, taken = 0.0, []
    for pause, amount, accepted in steps:
        amount = min(amount, limit)
        now += pause
        now += tracker.delay_s(amount, now)
        stamp = tracker.take(amount, now)
        taken.append((now, amount))
        if accepted:
            tracker.accepted(now, stamp)
    for first in range(len(taken)):
        total = 0
        for at, amount in taken[first:]:
            total += amount
            assert total <= limit + tracker.rate * (at - taken[first][0]) + 1e-6 * limit + 1e-6


EVIDENCE = st.tuples(
    st.floats(0, 20),
    st.sampled_from(["take", "take", "accept", "refuse", "tell", "give back"]),
    st.integers(1, 700),
    st.none() | st.floats(0, 100),
)


@given(st.lists(EVIDENCE, max_size=60), st.integers(1, 600))
def test_the_wait_is_pure_and_enough(steps, amount):
    """Whatever was believed by then: asking changes nothing, and a wait that is waited is over after few more."""
    tracker, now, stamps = CapacityTracker(600, 0.0), 0.0, []
    for pause, what, number, seconds in steps:
        now += pause
        if what == "take" or not stamps:
            now += tracker.delay_s(min(number, 600), now)
            stamps.append(tracker.take(min(number, 600), now))
            continue
        stamp = stamps.pop(number % len(stamps))
        tracker.returned(stamp)
        if what == "accept":
            tracker.accepted(now, stamp)
        elif what == "refuse":
            tracker.give_back(stamp.amount, now, stamp)
            tracker.refused(stamp.amount, now, stamp, seconds)
        elif what == "tell":
            tracker.told(seen(min(number, 600), seconds), stamp, now)
        else:
            tracker.give_back(stamp.amount, now, stamp)
    delay = tracker.delay_s(amount, now)
    assert delay == tracker.delay_s(amount, now)
    assert 0 <= delay < float("inf")
    waited = 0.0
    while delay > 0 and waited < 10_000:
        waited += delay + 1e-6
        delay = tracker.delay_s(amount, now + waited)
    assert delay == 0
    if tracker.kind is not Kind.FIXED:
        assert waited <= 300, "no debt is larger than a few windows"


def test_the_burst_doubles_with_what_is_accepted():
    """From one second's worth, by what the server accepts, up to the whole limit."""
    tracker = CapacityTracker(6000, 0.0)
    stamp = tracker.take(1, 0.0)
    sizes = [tracker.burst]
    while tracker.burst < 6000:
        for _ in range(int(sizes[-1])):
            tracker.accepted(0.0, stamp)
        sizes.append(tracker.burst)
    assert sizes == [100, 200, 400, 800, 1600, 3200, 6000]


def test_one_probe_at_a_time():
    """More than the limit in a minute is dared once; what comes of it decides."""
    tracker = CapacityTracker(60, 0.0)
    probe, now = to_the_probe(tracker)
    assert tracker.delay_s(1, now) > 30, "until the oldest leaves the minute"
    tracker.accepted(now, probe)
    assert tracker.kind is Kind.BUCKET
    assert tracker.delay_s(1, now) <= 1.0


def test_a_probe_that_never_arrived_is_sent_again():
    """A connection that broke says nothing."""
    tracker = CapacityTracker(60, 0.0)
    probe, now = to_the_probe(tracker)
    tracker.give_back(1, now, probe)
    assert tracker.kind is Kind.UNKNOWN
    assert tracker.delay_s(1, now) == 0
    assert tracker.take(1, now).probe


@pytest.mark.parametrize(
    ("wait_s", "kind", "why"),
    [
        ("oldest", Kind.SLIDING, "until the oldest send leaves the minute"),
        (None, Kind.SLIDING, "no wait named: the careful one"),
        (12.0, Kind.FIXED, "at another instant the minute begins anew"),
        (500.0, Kind.SLIDING, "longer than any minute says nothing"),
        (0.0, Kind.SLIDING, "no instant"),
    ],
)
def test_a_refused_probe_tells_windows_apart(wait_s, kind, why):
    """By how long it is refused for."""
    tracker = CapacityTracker(60, 0.0)
    probe, now = to_the_probe(tracker)
    tracker.refused(1, now, probe, 60.05 - now if wait_s == "oldest" else wait_s)
    assert tracker.kind is kind, why
    assert tracker.delay_s(1, now) > 5 or wait_s == 0.0


def test_an_early_refusal_means_pacing():
    """Refused with a tenth of the limit used: enforced over something short, so a second's worth at most."""
    tracker = CapacityTracker(600, 0.0)
    now = settle(tracker, 0.0, 60)
    stamp = tracker.take(1, now)
    tracker.refused(1, now, stamp, 0.1)
    assert (tracker.kind, tracker.burst) == (Kind.PACED, 10)
    start, now = now, settle(tracker, now, 100)
    assert now - start >= 8.9, "a second's worth, then ten a second"


def test_refusals_of_one_round_trip_count_once():
    """Those that were sent before the cut say nothing new; one that was sent after it does."""
    tracker = CapacityTracker(600, 0.0)
    stamps = [tracker.take(1, 0.0) for _ in range(10)]
    for n, stamp in enumerate(stamps):
        tracker.refused(1, 0.5 + n / 100, stamp, None)
    assert (tracker.kind, tracker.burst) == (Kind.PACED, 10)
    later = tracker.take(1, 2.0)
    tracker.refused(1, 2.5, later, None)
    assert tracker.burst == pytest.approx(7)


def test_a_fixed_burst_turns_evidence_off():
    """`--burst 2` is two seconds' worth, whatever the server says."""
    tracker = CapacityTracker(6000, 0.0, burst_s=2)
    stamp = tracker.take(1, 0.0)
    tracker.accepted(0.0, stamp)
    tracker.refused(1, 1.0, stamp, 30.0)
    tracker.told(seen(5, 1.0, 6000), stamp, 1.0)
    assert (tracker.kind, tracker.burst) == (Kind.PACED, 200)


@pytest.mark.parametrize(
    ("wait_s", "level", "why"),
    [
        (0.12, -11.0, "0.12 s at 100 a second: the bucket lacks 12 of 1"),
        (None, 0.0, "no wait named: as good as empty"),
        (1e9, -6000.0, "a wait of years empties no more than a window"),
    ],
)
def test_a_refusal_with_a_wait_tells_the_level(wait_s, level, why):
    """Where the wait is named, the bucket lacks just what refills in it."""
    tracker = CapacityTracker(6000, 0.0, burst_s=60)
    tracker.refused(1, 5.0, tracker.take(1, 4.0), wait_s)
    assert tracker.level(5.0) == pytest.approx(level), why


def quantized():
    """A tracker that knows by headers that the bucket holds ten of 600 a minute."""
    tracker, now = CapacityTracker(600, 0.0), 0.0
    for n in range(20):
        now = n / 2
        stamp = tracker.take(1, now)
        tracker.returned(stamp)
        tracker.told(seen(9, 0.1), stamp, now)
    assert tracker.kind is Kind.BUCKET
    return tracker, now


def test_a_long_wait_for_a_debt_does_not_make_a_fixed_window():
    """What headers say beyond doubt is not overruled by a refusal whose wait we charged too little for."""
    tracker, now = quantized()
    tracker.refused(1, now + 1.0, tracker.take(1, now + 1.0), 24.0)
    assert tracker.kind is Kind.BUCKET
    assert tracker.level(now + 1.0) == pytest.approx(-239)


def test_headers_revise_what_a_refusal_seemed_to_say():
    """A kind that was picked by a refusal becomes a bucket again once c stays the same for some seconds."""
    tracker = CapacityTracker(600, 0.0)
    probe, now = to_the_probe(tracker)
    tracker.refused(1, now, probe, 12.0)
    assert tracker.kind is Kind.FIXED
    for n in range(20):
        now = 200 + n / 2
        stamp = tracker.take(1, now)
        tracker.returned(stamp)
        tracker.told(seen(9, 0.1), stamp, now)
    assert tracker.kind is Kind.BUCKET
    assert tracker.level(now) == pytest.approx(9)


def test_a_debt_shows_in_the_reset():
    """Nothing remains, full again in 25 s: at ten a second 240 are lacking of ten."""
    tracker, now = quantized()
    stamp = tracker.take(240, now + 1)
    tracker.returned(stamp)
    tracker.told(seen(0, 25.0), stamp, now + 1)
    assert tracker.level(now + 1) == pytest.approx(-240)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (seen(199, 432.0, 200), "a daily limit, which takes longer than a minute to be full again"),
        (seen(9999, 8.64, 10_000), "a daily limit above the minute's"),
        (seen(600, 0.0), "nothing used"),
        (seen(600, None), "no reset"),
        (seen(550, 1e9), "a reset in years"),
    ],
)
def test_headers_that_speak_of_something_else_change_nothing(headers, why):
    """The limit and what may be taken stay as they are, up to what remains."""
    tracker = CapacityTracker(600, 0.0)
    stamp = tracker.take(1, 0.0)
    tracker.returned(stamp)
    tracker.told(headers, stamp, 0.5)
    assert tracker.limit == 600, why
    assert tracker.kind in (Kind.UNKNOWN, Kind.BUCKET), why
    assert tracker.delay_s(1, 0.5) == 0, why


def test_nothing_remains_without_a_reset():
    """Then nothing is sent until something is refilled."""
    tracker = CapacityTracker(600, 0.0)
    stamp = tracker.take(1, 0.0)
    tracker.returned(stamp)
    tracker.told(seen(0, None), stamp, 0.0)
    assert tracker.delay_s(1, 0.0) == pytest.approx(0.15), "a request's worth, and the margin"


def test_a_lower_limit_in_the_headers_is_taken_over():
    """The lower of both holds: the server's, and never more than was given, also after it is raised again."""
    tracker = CapacityTracker(600, 0.0)
    stamp = tracker.take(1, 0.0)
    tracker.told(seen(299, 0.2, 300), stamp, 0.5)
    assert (tracker.limit, tracker.rate) == (300, 5)
    tracker.told(seen(999, 0.2, 1000), stamp, 0.5)
    assert (tracker.limit, tracker.rate) == (600, 10)


def test_resize_keeps_what_is_used():
    """A smaller limit: what went out counts; the wait for it is even."""
    tracker = CapacityTracker(6000, 0.0, burst_s=60)
    tracker.take(400, 0.0)
    tracker.resize(600, 0.0)
    assert (tracker.level(0.0), tracker.rate, tracker.burst) == (200, 10, 600)
    assert tracker.limit == 600


@pytest.mark.parametrize(("ago_s", "used"), [(0.0, 1000), (59.9, 1000), (60.0, 0), (1e9, 0)])
@pytest.mark.parametrize("burst_s", [None, 60])
def test_what_an_earlier_process_sent_counts_within_the_window(ago_s, used, burst_s):
    """In full within the window, not at all after it."""
    tracker = CapacityTracker(6000, 0.0, burst_s=burst_s)
    tracker.charged_before(1000, ago_s, 0.0)
    assert tracker.level(0.0) == 6000 - used


@given(st.integers(1, 10**6), st.floats(0, 100), st.integers(1, 1000))
def test_giving_back_undoes_a_charge(limit, at, amount):
    """A charge that is given back at once leaves no trace."""
    tracker = CapacityTracker(limit, 0.0)
    stamp = tracker.take(min(amount, limit), at)
    tracker.give_back(min(amount, limit), at, stamp)
    tracker.returned(stamp)
    assert tracker.level(at) == pytest.approx(limit)
    assert tracker.delay_s(1, at) <= 0.05, "but for the margin, where the whole limit is one"


def test_a_day_does_not_trust_an_answer_that_overtook_others():
    """Of five requests the last is answered first, and four are still on their way: they are not forgotten."""
    day = CapacityTracker(100, 0.0, window_s=86_400.0)
    stamps = [day.take(1, float(at)) for at in range(5)]
    for used, stamp in ((1, stamps[4]), (2, stamps[0])):
        day.returned(stamp)
        day.told(RateSeen("requests", 100, 100 - used, used * 864.0), stamp, 6.0)
    for _ in range(95):
        assert day.delay_s(1, 6.0) == 0
        day.take(1, 6.0)
    assert day.delay_s(1, 6.0) > 800
