"""The five kinds of window, as tables and as invariants."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.simulator.limits import LimitSpec, ModelLimits
from batchproc.simulator.windows import WINDOW_KINDS, Bucket, FixedWindow, SlidingWindow, Window, make_window

# Steps of (seconds since the last step, amount asked for, whether it is admitted), then what is left.
TABLE = [
    ("starts full, holds the whole limit", Bucket(6, 60), [(0, 6, True), (0, 1, False)], 0),
    ("refills one request every ten seconds", Bucket(6, 60), [(0, 6, True), (10, 1, True), (9, 1, False)], 0),
    ("never holds more than its limit", Bucket(6, 60), [(0, 1, True), (3600, 7, False)], 6),
    ("a quantum holds one second's worth", Bucket(600, 60, 10), [(0, 10, True), (0, 1, False), (0.1, 1, True)], 0),
    ("a full quantum admits more than it holds", Bucket(600, 60, 10), [(0, 20, True), (1, 1, False)], 0),
    ("and its debt is paid by the refill", Bucket(600, 60, 10), [(0, 20, True), (1.2, 1, True)], 1),
    ("a slow quantum still admits one", Bucket(6, 60, 0.1), [(0, 1, True), (9, 1, False), (1, 1, True)], 0),
    ("a minute's count starts anew at its end", FixedWindow(6, 60), [(59, 6, True), (1, 6, True)], 0),
    ("and not before", FixedWindow(6, 60), [(0, 6, True), (59, 1, False)], 0),
    ("a phase shifts the minutes", FixedWindow(6, 60, phase_s=30), [(29, 6, True), (1, 6, True)], 0),
    ("a period has its share", FixedWindow(60, 60, 10), [(0, 10, True), (0, 1, False), (10, 10, True)], 0),
    ("a period has a share of one at least", FixedWindow(1, 60, 10), [(0, 1, True), (10, 1, True)], 0),
    ("a sliding minute forgets request by request", SlidingWindow(2, 60), [(0, 1, True), (30, 1, True),
                                                                          (29, 1, False), (1, 1, True)], 0),
    ("more than the limit never passes", SlidingWindow(2, 60), [(0, 3, False), (99, 3, False)], 2),
]  # fmt: skip


@pytest.mark.parametrize(("window", "steps", "left"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_admissions(window: Window, steps: list[tuple[float, int, bool]], left: int) -> None:
    """Each row's reason is its name."""
    now_s = 0.0
    for passed_s, amount, admitted in steps:
        now_s += passed_s
        assert (window.wait_s(now_s, amount) == 0) == admitted
        if admitted:
            window.take(now_s, amount)
    assert window.remaining(now_s) == left


WAITS = [
    ("one request of 500 a minute is 120 ms", Bucket(500, 60), 500, 1, 0.12),
    ("tokens as in a recorded message", Bucket(200_000, 60), 150_974, 53_621, 1.3785),
    ("one of 200 requests a day is 7m12s", Bucket(200, 86_400), 200, 1, 432.0),
    ("one of 10,000 requests a day is 8.64 s", Bucket(10_000, 86_400), 10_000, 1, 8.64),
    ("a fixed minute is waited for whole", FixedWindow(5, 60), 5, 1, 60.0),
    ("a sliding one as well, after a burst", SlidingWindow(5, 60), 5, 1, 60.0),
    ("what is larger than the limit waits for ever", Bucket(5, 60), 0, 6, math.inf),
]


@pytest.mark.parametrize(("window", "used", "asked", "wait_s"), [w[1:] for w in WAITS], ids=[w[0] for w in WAITS])
def test_waits(window: Window, used: int, asked: int, wait_s: float) -> None:
    """The wait is (used + requested - limit) / limit * window for a bucket, the end of the window elsewhere."""
    if used:
        window.take(0.0, used)
    assert window.wait_s(0.0, asked) == pytest.approx(wait_s)


RESETS = [
    ("a bucket is full again after used / limit of a window", "bucket", 15.0),
    ("a fixed minute ends when it ends", "fixed", 60.0),
    ("a sliding one when the newest charge leaves", "sliding", 60.0),
]


@pytest.mark.parametrize(("kind", "reset_s"), [row[1:] for row in RESETS], ids=[row[0] for row in RESETS])
def test_resets(kind: str, reset_s: float) -> None:
    """A reset is the time until nothing sent so far counts any more."""
    window = make_window(kind, 100, 60.0, requests=True)
    assert window.reset_s(0.0) == 0.0
    window.take(0.0, 25)
    assert window.reset_s(0.0) == pytest.approx(reset_s)


arrivals = st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(1, 8)), max_size=120)
limits = st.integers(8, 40)


def _play(window: Window, steps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    now_s = 0.0
    admitted = []
    for passed_s, amount in steps:
        now_s += passed_s
        if window.wait_s(now_s, amount) == 0:
            window.take(now_s, amount)
            admitted.append((now_s, amount))
        else:
            window.charge_refused(now_s, 1)
    return admitted


@given(limits, arrivals)
def test_no_minute_of_a_sliding_window_is_over_its_limit(limit: int, steps: list[tuple[float, int]]) -> None:
    """In any 60 s, wherever they begin, at most the limit is admitted."""
    admitted = _play(SlidingWindow(limit, 60.0), steps)
    for first_s, _ in admitted:
        assert sum(n for at_s, n in admitted if first_s <= at_s < first_s + 60.0 - 1e-6) <= limit


@given(limits, arrivals)
def test_a_bucket_never_gives_more_than_it_holds_and_is_refilled(limit: int, steps: list[tuple[float, int]]) -> None:
    """Between any two admissions, what is admitted is at most the capacity and the refill between them."""
    admitted = _play(Bucket(limit, 60.0), steps)
    for first, (first_s, _) in enumerate(admitted):
        total = 0
        for at_s, amount in admitted[first:]:
            total += amount
            assert total <= limit + (at_s - first_s) * limit / 60.0 + 1e-3


@given(limits, arrivals, st.floats(0.0, 60.0))
def test_no_fixed_minute_is_over_its_limit(limit: int, steps: list[tuple[float, int]], phase_s: float) -> None:
    """Counted from the phase, no minute admits more than the limit."""
    admitted = _play(FixedWindow(limit, 60.0, phase_s=phase_s), steps)
    minutes: dict[int, int] = {}
    for at_s, amount in admitted:
        minute = math.floor((at_s + 1e-9 - phase_s) / 60.0)
        minutes[minute] = minutes.get(minute, 0) + amount
    assert all(total <= limit for total in minutes.values())


@given(st.sampled_from(WINDOW_KINDS), limits, arrivals, st.integers(1, 8))
def test_who_waits_as_told_is_let_in(kind: str, limit: int, steps: list[tuple[float, int]], amount: int) -> None:
    """After `wait_s`, nothing else being sent, the same amount passes; `remaining` is never out of range."""
    window = make_window(kind, limit, 60.0, requests=True)
    _play(window, steps)
    now_s = sum(passed_s for passed_s, _ in steps)
    assert 0 <= window.remaining(now_s) <= limit
    now_s += window.wait_s(now_s, amount)
    assert window.wait_s(now_s, amount) == 0.0


def test_both_or_neither() -> None:
    """A request without room for its tokens takes none, and the minute's requests pay for the refusal."""
    limits = ModelLimits(LimitSpec(rpm=10, tpm=100, rpd=50))
    assert limits.admit(0.0, 90) is None
    refusal = limits.admit(0.0, 20)
    assert refusal is not None
    assert (refusal.dimension, refusal.limit, refusal.used, refusal.requested) == ("tpm", 100, 90, 20)
    assert refusal.wait_s == pytest.approx(6.0)
    assert limits.remaining(0.0) == {"rpm": 8, "tpm": 10, "rpd": 49}
    assert limits.reset_s(0.0) == {"rpm": 12.0, "tpm": 54.0, "rpd": 1728.0}


def test_refusals_can_be_free() -> None:
    """With `charge_refused` off a refusal leaves no trace."""
    limits = ModelLimits(LimitSpec(rpm=10, tpm=100, charge_refused=False))
    assert limits.admit(0.0, 100) is None
    assert limits.admit(0.0, 1) is not None
    assert limits.remaining(0.0) == {"rpm": 9, "tpm": 0}


def test_the_longest_wait_is_named() -> None:
    """Where the minute and the day are both used up, the day's wait is the honest one."""
    limits = ModelLimits(LimitSpec(rpm=1, rpd=1))
    assert limits.admit(0.0, 5) is None
    refusal = limits.admit(0.0, 5)
    assert refusal is not None
    assert refusal.dimension == "rpd"
    assert refusal.wait_s == 86_400.0


def test_more_than_the_limit_is_too_large() -> None:
    """No wait helps a request of more tokens than a whole window has."""
    refusal = ModelLimits(LimitSpec(tpm=100)).admit(0.0, 101)
    assert refusal is not None
    assert refusal.too_large


SHOWN = [
    ("the day, where it is the lower rate", LimitSpec(rpm=500, rpd=10_000), 86_400.0),
    ("the minute, where the day is no bound", LimitSpec(rpm=5, rpd=10_000), 60.0),
]


@pytest.mark.parametrize(("spec", "window_s"), [row[1:] for row in SHOWN], ids=[row[0] for row in SHOWN])
def test_which_limit_the_headers_show(spec: LimitSpec, window_s: float) -> None:
    """Of the minute's and the day's limit the headers show the tighter one."""
    shown = ModelLimits(spec).shown_requests
    assert shown is not None
    assert shown.window_s == window_s
