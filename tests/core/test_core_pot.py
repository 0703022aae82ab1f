"""The quota of one model as it is kept for several runs: whatever is asked, never more is handed out than there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.pot import LONG_S, Level, Pot, exchange
from batchproc.lease import GONE_S, Ask, Want

RATE = 10.0  # a second
BURST_S = 0.25


def ask(cost: float = 0.0, *, window_s: float = 60.0, offline: float = 0.0, **more: object) -> Ask:
    given = RATE * window_s
    want = Want("tokens", window_s, given, cost, offline, more.pop("told", 0.0))  # type: ignore[arg-type]
    return Ask("q", (want,), BURST_S, **more)  # type: ignore[arg-type]


steps = st.lists(
    st.tuples(
        st.floats(0, 3),  # seconds until
        st.sampled_from("abc"),
        st.one_of(st.floats(0, 40), st.just(-1.0)),  # to lease; -1: give back what came last
        st.floats(0, 2),  # to hold
    ),
    max_size=60,
)


@given(steps)
def test_never_more_than_the_total(steps: list[tuple[float, str, float, float]]) -> None:
    """At any instant all that is in force is at most what the rate gave so far and one burst."""
    pot, now = Pot(), 1e9
    exchange(pot, ask(), "a", now)
    first = now
    in_force: list[tuple[float, float]] = []
    last: dict[str, float] = {}
    for seconds, worker, cost, hold_s in steps:
        now += seconds
        if cost < 0:
            cost = -last.pop(worker, 0.0)
        granted = exchange(pot, ask(cost, hold_s=hold_s), worker, now)
        if cost > 0:
            in_force.append((now + granted.wait_s, cost))
            last[worker] = cost
        elif cost < 0:
            in_force.append((now, cost))
        assert granted.wait_s >= granted.hold_s >= 0
    for at, _ in in_force:
        handed_out = sum(cost for when, cost in in_force if when <= at)
        assert handed_out <= RATE * (at - first) + RATE * BURST_S + 1e-3


@given(steps)
def test_who_takes_turns_loses_nothing(steps: list[tuple[float, str, float, float]]) -> None:
    """Leases that are asked for without a pause come into force at exactly the rate."""
    pot, now = Pot(), 1e9
    exchange(pot, ask(), "a", now)
    total, due = 0.0, now
    for _, worker, cost, _ in steps:
        if cost > 0:
            total += cost
            due = now + exchange(pot, ask(cost), worker, now).wait_s
    assert due - now == pytest.approx(total / RATE, abs=1e-3)


def test_it_begins_empty_and_a_day_begins_full() -> None:
    """A store that lost its memory gives no second burst; a day's work of ten jobs need not take a day."""
    assert exchange(Pot(), ask(RATE), "a", 1e9).wait_s == pytest.approx(1.0)
    assert exchange(Pot(), ask(RATE, window_s=86_400.0), "a", 1e9).wait_s == 0.0


def test_what_nobody_asks_for_is_kept_for_a_quarter_of_a_second() -> None:
    """After an hour without work there is no burst of an hour."""
    pot = Pot()
    exchange(pot, ask(), "a", 1e9)
    assert exchange(pot, ask(RATE), "a", 1e9 + 3600).wait_s == pytest.approx(0.75)


@pytest.mark.parametrize("back_s", [2.0, 3600.0, 1e9])
def test_a_clock_that_is_set_back_gives_nothing_for_nothing(back_s: float) -> None:
    """The level does not rise, nobody waits for the old time to come again, a hold lasts as long as before."""
    pot = Pot()
    exchange(pot, ask(), "a", 1e9)
    exchange(pot, ask(5.0), "a", 1e9)
    granted = exchange(pot, ask(hold_s=30.0), "a", 1e9 - back_s)
    assert granted.hold_s == pytest.approx(30.0)
    assert pot.parts["tokens/60"].level == pytest.approx(-5.0)
    exchange(pot, ask(), "a", 1e9 - back_s + 40)
    assert exchange(pot, ask(RATE), "a", 1e9 - back_s + 40).wait_s == pytest.approx(0.75)


def test_a_clock_that_jumps_ahead_gives_one_burst() -> None:
    """Not the refill of a year."""
    pot = Pot()
    exchange(pot, ask(), "a", 1e9)
    exchange(pot, ask(), "a", 2e9)
    assert pot.parts["tokens/60"].level <= RATE * BURST_S


def test_the_first_limit_stands_until_it_is_reset_or_the_server_names_a_lower_one() -> None:
    """What a later run says is told back to it, and changes nothing."""
    pot = Pot()
    exchange(pot, ask(), "a", 1e9)
    other = Ask("q", (Want("tokens", 60.0, 60.0),))
    granted = exchange(pot, other, "b", 1e9)
    assert granted.limits == granted.given == {"tokens/60": 600.0}
    assert exchange(pot, ask(told=300.0), "a", 1e9).limits == {"tokens/60": 300.0}
    assert exchange(pot, ask(told=400.0), "a", 1e9).limits == {"tokens/60": 300.0}
    reset = Ask("q", (Want("tokens", 60.0, 60.0),), reset=True)
    granted = exchange(pot, reset, "b", 1e9)
    assert granted.limits == granted.given == {"tokens/60": 60.0}


def test_a_worker_that_is_silent_is_gone() -> None:
    """Its share is the others' within a second; who leaves is gone at once."""
    pot = Pot()
    for name in "abc":
        granted = exchange(pot, ask(), name, 1e9)
    assert granted.workers == 3
    assert GONE_S < 1.0
    assert exchange(pot, ask(leaving=True), "a", 1e9 + 0.5).workers == 2
    assert exchange(pot, ask(), "b", 1e9 + GONE_S + 0.01).workers == 1


@pytest.mark.parametrize(
    ("away_s", "sent", "owed"),
    [
        (4.0, 0.8 * 4 * RATE, 0.0),  # nobody else had it: what ran over covers it
        (0.0, 8.0, 8.0),  # this run alone did not see the store: it used what the others had
    ],
)
def test_what_was_sent_without_the_store_is_charged(away_s: float, sent: float, owed: float) -> None:
    """First to what would have run over meanwhile."""
    pot = Pot(parts={"tokens/60": Level(600.0, 600.0, 60.0, 0.0)}, at=1e9)
    exchange(pot, ask(offline=sent), "a", 1e9 + away_s)
    full = min(away_s, BURST_S) * RATE
    assert pot.parts["tokens/60"].level == pytest.approx(full - owed)


def test_three_runs_that_come_back_to_an_empty_store_do_not_wait() -> None:
    """What they sent meanwhile it would have refilled."""
    pot = Pot()
    for name in "abc":
        exchange(pot, ask(offline=11.0), name, 1e9)
    assert exchange(pot, ask(RATE), "a", 1e9).wait_s == pytest.approx(1.0)
    assert LONG_S > 60


def test_a_limit_that_one_run_does_not_name_is_told_to_it() -> None:
    """So that it can follow it."""
    pot = Pot()
    exchange(pot, ask(), "a", 1e9)
    assert exchange(pot, Ask("q", (Want("requests", 60.0, 5.0),)), "b", 1e9).limits.keys() == {
        "tokens/60",
        "requests/60",
    }
