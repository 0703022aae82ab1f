"""The queue of a lane, and when its server counts as out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.concurrency import Window
from batchproc.core.lane import Lane, Ticket
from batchproc.core.retry import MOST_S, backoff_s, pause_s, spread_s
from batchproc.model import Job


def ticket(index: int) -> Ticket:
    return Ticket(Job(index, index, b"", "", "/x", "m", b""))


def lane(fixed: int | None = None) -> Lane:
    return Lane("/x", "m", Window(fixed))


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50)), unique_by=lambda t: t[1]))
def test_retries_go_before_fresh_jobs_and_by_index(retries):
    """Whoever has waited longest: due retries by index, then the queue in its order."""
    one = lane()
    fresh = [ticket(n) for n in range(100, 105)]
    one.queue.extend(fresh)
    for due, index in retries:
        one.requeue(ticket(index), due)
    assert one.waiting_retries == len(retries)
    order = []
    for _ in range(len(one)):
        head = one.head(5.0)
        if head is None:
            break
        one.pop()
        order.append(head.job.index)
    assert order == [*sorted(i for due, i in retries if due <= 5.0), 100, 101, 102, 103, 104]
    assert one.next_due() == min((due for due, _ in retries if due > 5.0), default=float("inf"))


def strike(one: Lane, t: Ticket, now: float) -> bool:
    if not t.strikes:
        t.first_strike_at = now
    t.strikes += 1
    return one.failing(t, now, "500")


def test_an_outage_needs_ten_seconds_and_three_jobs():
    """One job that always fails is that job's own fault."""
    one, jobs = lane(), [ticket(n) for n in range(3)]
    assert not any(strike(one, jobs[n % 2], float(n)) for n in range(30))
    assert strike(one, jobs[2], 30.0), "the third, and ten seconds are long over"
    assert one.out_since == 0.0
    two = lane()
    assert not any(strike(two, ticket(n), n / 10) for n in range(99))
    assert strike(two, ticket(200), 10.0)


def test_a_good_answer_starts_the_ten_seconds_anew():
    """Nothing but 5xx means nothing else in between; and it ends an outage."""
    one = lane()
    for n in range(9):
        strike(one, ticket(n), float(n))
    assert not one.good(9.0)
    assert not any(strike(one, ticket(n), float(n)) for n in range(10, 20))
    assert strike(one, ticket(20), 20.0)
    assert one.good(21.0)
    assert one.out_since is None
    assert one.out_s(22.0, 600.0) == float("inf")


def test_probes_go_out_after_1_2_4_to_30_s():
    """One at a time, doubling, at most every thirty seconds; a good answer resets that."""
    one, now, waits = lane(), 0.0, []
    assert one.unreachable(now, "refused")
    assert not one.unreachable(now, "still")
    for _ in range(8):
        wait = one.may_probe(now)
        waits.append(wait)
        now += wait
        assert one.may_probe(now) == 0
        one.probe_sent()
        assert one.may_probe(now + 1000) == float("inf"), "one is under way"
        one.probe_ended(now)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    one.good(now)
    one.unreachable(now, "again")
    assert one.may_probe(now) == 1


def test_what_came_in_an_outage_is_forgiven():
    """Strikes since the last good answer go, older ones stay."""
    one = lane()
    old, new = ticket(0), ticket(1)
    old.strikes, old.first_strike_at = 3, 1.0
    new.strikes, new.first_strike_at = 3, 6.0
    one.good(5.0)
    one.requeue(old, 9.0)
    one.requeue(new, 7.0)
    one.head(8.0)
    one.forgive()
    assert (old.strikes, new.strikes) == (3, 0)


@pytest.mark.parametrize(
    ("tokens", "large", "why"),
    [
        (999, False, "smaller than anything refused, and within the scale"),
        (1000, True, "as large as what was refused"),
        (530, True, "the server counts twice as much: 1060 of 1000"),
        (520, False, "within five per cent is not sure"),
    ],
)
def test_surely_too_large(tokens, large, why):
    """Sure is what was refused before, or is over by the server's own count."""
    one = lane()
    assert not one.surely_too_large(10**9, 1000)
    one.too_large_from = 1000
    if tokens < 999:
        one.scale = 2.0
    assert one.surely_too_large(tokens, 1000) is large, why


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_backoff_is_full_jitter(strikes, u):
    """Exponential up to a minute; from the fourth on at least a quarter."""
    most = min(60.0, 2.0 ** (min(strikes, 50) - 1))
    wait = backoff_s(strikes, u)
    assert 0 <= wait <= most
    assert wait == max(most * u, most / 4 if strikes >= 4 else 0.0)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=7, max_size=7))
def test_eight_attempts_always_outlast_ten_seconds(us):
    """So that a silent server is known to be out before any job is given up."""
    assert sum(backoff_s(n, u) for n, u in enumerate(us, 1)) > 10


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_are_never_zero(refusals, u):
    """Half to whole of an exponential range, at most a minute."""
    most = min(MOST_S, 2.0 ** (min(refusals, 50) - 1))
    assert most / 2 <= pause_s(refusals, u) <= most


@given(st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_retries_after_a_pause_are_spread(wait, u):
    """Over at most two seconds, and evenly in `u`."""
    assert spread_s(wait, u) == u * min(2.0, 0.1 + wait / 4)
