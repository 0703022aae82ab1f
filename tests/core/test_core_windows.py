"""The windows: none over its limit by more than its definition allows, and waits that are exact."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.windows import Bucket, Fixed, Sliding

LIMITS = st.integers(1, 10**6)
STEPS = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 10**6)), max_size=50)
KINDS = {
    "bucket": lambda limit: Bucket(limit, limit / 60, 0.0),
    "second": lambda limit: Bucket(max(1.0, limit / 60), limit / 60, 0.0),
    "sliding": lambda limit: Sliding(limit, 60.0),
    "fixed": lambda limit: Fixed(limit, 23.0, 60.0, 0.0),
}


def played(window, limit, steps):
    """What is taken when each step waits as it is told."""
    now, taken = 0.0, []
    for pause, amount in steps:
        amount = min(amount, limit)
        now += pause
        now += window.delay_s(amount, now)
        window.take(amount, now)
        taken.append((now, amount))
    return taken


@given(LIMITS, STEPS)
def test_a_bucket_lets_its_capacity_and_the_refill_through(limit, steps):
    """In any t seconds no more than limit + rate·t."""
    taken = played(KINDS["bucket"](limit), limit, steps)
    for first in range(len(taken)):
        total = 0
        for at, amount in taken[first:]:
            total += amount
            assert total <= limit + limit / 60 * (at - taken[first][0]) + 1e-6 * limit + 1e-6


@given(LIMITS, STEPS)
def test_a_sliding_window_holds_its_limit(limit, steps):
    """In any stretch shorter than the window no more than the limit."""
    taken = played(KINDS["sliding"](limit), limit, steps)
    for n, (start, _) in enumerate(taken):
        assert sum(amount for at, amount in taken[n:] if at - start < 60 - 1e-6) <= limit


@given(LIMITS, STEPS)
def test_a_fixed_window_holds_its_limit_in_each_period(limit, steps):
    """Periods begin at 23 s and every 60 s after it; a hair around the instant is not judged."""
    window = KINDS["fixed"](limit)
    sums: dict[int, float] = {}
    for at, amount in played(window, limit, steps):
        period = int((at + 37.0 + 1e-6) // 60)
        sums[period] = sums.get(period, 0) + amount
    assert all(total <= limit + 1e-6 for total in sums.values())


@given(st.sampled_from(sorted(KINDS)), LIMITS, STEPS, st.integers(1, 10**6), st.floats(0, 1))
def test_the_wait_is_pure_and_exact(kind, limit, steps, amount, margin_s):
    """Asking twice says the same, after the wait nothing is to wait for, just before there is."""
    window = KINDS[kind](limit)
    now = 0.0
    for pause, spent in steps:
        now += pause
        window.take(min(spent, limit), now)
    window.margin_s = margin_s
    delay = window.delay_s(amount, now)
    assert copy.deepcopy(window).delay_s(amount, now) == delay
    assert window.delay_s(amount, now) == delay
    if delay > 1e-3:
        assert copy.deepcopy(window).delay_s(amount, now + delay * 0.999) > 0
    if kind != "fixed":  # a debt there goes over into further windows
        assert window.delay_s(amount, now + delay + 1e-6) == 0


@pytest.mark.parametrize(
    ("capacity", "taken", "amount", "margin_s", "delay", "why"),
    [
        (60, 0, 60, 0.0, 0.0, "a full bucket gives all it has"),
        (60, 60, 1, 0.0, 1.0, "one a second"),
        (60, 60, 1, 0.5, 1.5, "the margin comes on top"),
        (10, 10, 50, 0.0, 10.0, "more than it holds waits for a full one"),
        (10, 10, 50, 0.5, 10.5, "and there the margin comes on top too"),
        (10, 40, 10, 0.0, 40.0, "a debt is refilled first"),
    ],
)
def test_a_bucket_s_waits(capacity, taken, amount, margin_s, delay, why):
    """At one a second."""
    bucket = Bucket(capacity, 1.0, 0.0)
    bucket.take(taken, 0.0)
    bucket.margin_s = margin_s
    assert bucket.delay_s(amount, 0.0) == pytest.approx(delay), why


def test_a_bucket_knows_when_it_was_last_full():
    """What would have refilled since is lost, which only this instant shows."""
    bucket = Bucket(10, 1.0, 0.0)
    bucket.take(5, 1.0)
    bucket.take(5, 2.0)
    assert bucket.full_at == 1.0
    bucket.take(1, 20.0)
    assert bucket.full_at == 20.0


def test_a_bucket_of_another_size_keeps_what_is_used():
    """Smaller, larger and grown ones hold less by what went out."""
    bucket = Bucket(100, 1.0, 0.0)
    bucket.take(40, 0.0)
    bucket.resize(50, 2.0, 0.0)
    assert bucket.level(0.0) == 10
    bucket.grow(20, 60, 0.0)
    assert (bucket.capacity, bucket.level(0.0)) == (60, 20), "at most 60, and so much more is there"
    bucket.grow(20, 60, 0.0)
    assert bucket.level(0.0) == 20


def test_time_that_goes_back_refills_nothing():
    """Only time that passes does."""
    bucket = Bucket(60, 1.0, 100.0)
    bucket.take(60, 100.0)
    for now in (100.0, 50.0, 0.0):
        assert bucket.delay_s(1, now) == pytest.approx(1.0)
        bucket.take(0, now)
    assert bucket.level(101.0) == pytest.approx(1.0)


def test_a_sliding_window_forgets_at_the_instant():
    """Grains are remembered at the later instant, margins and earlier processes count."""
    window = Sliding(10, 60.0)
    window.before(4, 59.0, 0.0)
    window.take(3, 0.0)
    window.take(3, 0.04)
    assert window.delay_s(1, 0.5) == pytest.approx(0.5), "what was sent 59 s earlier goes first"
    assert window.delay_s(5, 0.5) == pytest.approx(59.54), "the later of the two that are as one"
    assert window.oldest_expires(2.0) == pytest.approx(60.04)
    window.give_back(3)
    assert window.used(2.0) == 3
    assert window.used(61.0) == 0
    assert window.oldest_expires(61.0) == 61.0
    window.give_back(3)
    assert window.used(61.0) == 0, "nothing there to forget"


def test_a_grain_never_lasts_longer_than_its_charges():
    """A steady trickle closer than a grain does not extend one charge for ever."""
    window = Sliding(10**6, 60.0)
    for n in range(1000):
        window.take(1, n * 0.01)
    assert window.used(60.2) <= 1000 - 15


def test_a_fixed_window_begins_anew():
    """At its end, later by the margin, after any number of periods; a debt goes over."""
    window = Fixed(10, 23.0, 60.0, 0.0)
    window.take(10, 0.0)
    assert window.delay_s(1, 3.0) == pytest.approx(20.05)
    window.margin_s = 0.5
    assert window.delay_s(1, 3.0) == pytest.approx(20.5)
    assert window.left(23.5) == 10
    assert window.ends == 83.0
    window.set_left(-5, 30.0)
    assert window.left(84.0) == 5, "a debt"
    assert window.left(1000.0) == 10
    assert 1000.0 < window.ends <= 1060.0


def test_a_few_go_first_into_a_window_that_may_not_be_open_yet():
    """Where the first are refused, it opens when they were told; the others have not gone out."""
    window = Fixed(100, 10.0, 60.0, 100.0)
    window.margin_s = 0.0
    went = 0
    while window.delay_s(1, 10.0) == 0:
        window.take(1, 10.0)
        went += 1
    assert went == 3, "a fiftieth, and the one that goes beyond it"
    assert window.delay_s(1, 10.0) == pytest.approx(0.3)
    assert window.not_yet(0.2, 10.05)
    assert window.delay_s(1, 10.1) == pytest.approx(0.15)
    assert window.delay_s(1, 10.26) == 0
    assert not window.not_yet(40.0, 10.3), "that is no window about to begin"
    assert not window.not_yet(0.2, 30.0), "it has been open for long"


def test_a_large_job_goes_first_too():
    """Whatever it takes of the window."""
    window = Fixed(100, 10.0, 60.0, 100.0)
    assert window.delay_s(80, 10.05) == 0
    window.take(80, 10.05)
    assert window.delay_s(1, 10.05) == pytest.approx(0.3)
    assert window.delay_s(30, 10.5) > 50


def test_a_few_go_first_when_a_full_sliding_window_opens():
    """After a while without room: the refusals of the first say how much too early the rest would be."""
    window = Sliding(100, 60.0)
    for n in range(100):
        window.take(1, n / 1000)
    assert window.delay_s(1, 30.0) > 29
    went = 0
    while window.delay_s(1, 60.2) == 0:
        window.take(1, 60.2)
        went += 1
    assert went == 3
    assert window.delay_s(1, 60.2) == pytest.approx(0.3)
    assert window.delay_s(1, 60.5) == 0


def test_a_sliding_window_with_room_is_not_held_up():
    """A pause of the client's own is no full window."""
    window = Sliding(100, 60.0)
    for n in range(30):
        window.take(1, n / 10)
    for _ in range(60):
        assert window.delay_s(1, 20.0) == 0
        window.take(1, 20.0)
