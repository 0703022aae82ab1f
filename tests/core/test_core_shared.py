"""What one run holds of a shared quota: nothing goes out that is not leased, nothing is kept that is not used."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.core.leased import Leased
from batchproc.core.pot import Pot, exchange
from batchproc.core.shared import IDLE_S, SharedCapacity
from batchproc.lease import BEAT_S, LEASE_S, Ask, Granted
from batchproc.model import Demand, RateSeen, Usage

RPM, TPM = 600, 60_000  # 10 and 1,000 a second
JOB = Demand(1, 100)
WALL = 1e9


class Worker:
    """A run and its way to the store, which takes no time."""

    def __init__(self, pot: Pot, name: str = "a", **more: object) -> None:
        self.pot, self.name, self.wants = pot, name, 0
        parts = [("requests", Leased(RPM)), ("tokens", Leased(TPM))]
        self.capacity = SharedCapacity("q", more.pop("parts", parts), self._want, **more)  # type: ignore[arg-type]

    def _want(self) -> None:
        self.wants += 1

    def trip(self, now: float, *, leaving: bool = False) -> Granted | None:
        """Ask the store, if there is anything to ask."""
        asked = self.capacity.ask(now, leaving=leaving)
        if asked is None:
            return None
        granted = exchange(self.pot, asked, self.name, WALL + now)
        self.capacity.granted(asked, granted, now)
        return granted

    def send(self, now: float, job: Demand = JOB) -> bool:
        """Send a job if it may go; ask for a lease if not."""
        if self.capacity.delay_s(job, now)[0] > 0:
            self.trip(now)
            return False
        self.stamps = self.capacity.take(job, now)
        return True

    def sends(self, until: float, now: float = 0.0, job: Demand = JOB, step: float = 0.01) -> int:
        """How many jobs go out in this time."""
        sent = 0
        while now < until:
            while self.send(now, job):
                sent += 1
            now += step
        return sent


def test_nothing_goes_out_before_the_store_has_answered() -> None:
    """Whatever the time; and it is asked."""
    worker = Worker(Pot())
    for now in (0.0, 10.0, 1e6):
        assert worker.capacity.delay_s(JOB, now)[0] > 0
    assert worker.wants == 3


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_runs_share_the_quota_equally(workers: int) -> None:
    """All of it is used, each has its part, and none is ahead of it."""
    pot = Pot()
    every = [Worker(pot, str(n)) for n in range(workers)]
    counts = [0] * workers
    for tick in range(2000):
        for n, worker in enumerate(every):
            while worker.send(tick / 100):
                counts[n] += 1
    assert sum(counts) == pytest.approx(200, abs=5)
    assert max(counts) - min(counts) <= 2


def test_the_limit_that_binds_sets_the_pace_and_the_other_is_not_hoarded() -> None:
    """Jobs of 400 tokens: two and a half a second; of requests no more than a lease is held."""
    worker = Worker(Pot())
    assert worker.sends(20.0, job=Demand(1, 400)) == pytest.approx(50, abs=2)
    assert worker.capacity.requests is not None
    assert worker.capacity.requests.level(20.0) <= RPM / 60 * LEASE_S + 1


def test_a_job_larger_than_a_lease_gets_what_it_needs() -> None:
    """A third of the minute's tokens: after a third of a minute."""
    worker = Worker(Pot())
    assert worker.sends(61.0, job=Demand(1, 20_000)) == 3


def test_a_lease_that_comes_into_force_is_not_given_back_before_its_job_has_looked() -> None:
    """The task that leases may look first: a job that waited half a minute would wait it again."""
    pot, run = Pot(), SharedCapacity("q", [("tokens", Leased(6000))], lambda: None)
    job = Demand(1, 3000, 1500, 1500)

    def look(now: float) -> None:
        if (ask := run.ask(now)) is not None:
            run.granted(ask, exchange(pot, ask, "w", 1e9 + now), now)

    for now in (0.0, 0.01):
        run.delay_s(job, now)
        look(now)
    due = 0.02 + run.delay_s(job, 0.02)[0]
    assert due == pytest.approx(30.0, abs=0.1)
    now = 0.25
    while now < due:
        look(now)
        now += 0.25
    look(due + 1e-4)
    assert run.delay_s(job, due + 5e-4) == (0.0, "")
    look(due + IDLE_S + 0.1)
    look(due + IDLE_S + 0.2)
    assert pot.parts["tokens/60"].level == pytest.approx(25.0), "what nobody takes goes back all the same"


def test_what_lies_unused_is_given_back_and_the_worker_is_gone() -> None:
    """After a second."""
    pot = Pot()
    worker = Worker(pot)
    for now in (0.0, 0.001):
        worker.send(now)
    held = pot.parts["requests/60"].level
    assert held < 0
    assert worker.trip(0.3 + IDLE_S) is not None
    assert pot.workers == {}
    assert pot.parts["requests/60"].level == pytest.approx(2.5)  # all of it, up to what is kept
    assert worker.trip(0.3 + 2 * IDLE_S) is None
    assert worker.capacity.delay_s(JOB, 1.7)[0] > 0


def test_everything_is_given_back_at_the_end() -> None:
    """Also what is booked and not yet in force; a debt is charged."""
    pot = Pot()
    worker = Worker(pot)
    worker.sends(1.0)
    worker.capacity.delay_s(JOB, 1.0)
    worker.trip(1.0)
    at_most = sum(p.balance + p.pending for p in (worker.capacity.requests, worker.capacity.tokens))  # type: ignore[union-attr]
    exchange(pot, Ask("q", ()), "a", WALL + 1.0)  # refilled until now
    before = sum(part.level for part in pot.parts.values())
    worker.trip(1.0, leaving=True)
    assert sum(part.level for part in pot.parts.values()) == pytest.approx(before + at_most)
    assert pot.workers == {}


def test_usage_settles_what_is_held() -> None:
    """A job that used less leaves the rest; one that used more leaves a debt, which the next lease pays."""
    worker = Worker(Pot())
    sent = 0
    for tick in range(1000):
        while worker.send(tick / 100):
            sent += 1
            worker.capacity.settle(JOB, Usage(100, 100), worker.stamps, tick / 100)
    assert sent == pytest.approx(50, abs=3)


def test_a_wait_that_the_server_asks_for_holds_everybody() -> None:
    """The others hear of it with their next lease or sign of life, and send nothing until it is over."""
    pot = Pot()
    a, b = Worker(pot, "a"), Worker(pot, "b")
    now = 0.0
    for tick in range(100):
        now = tick / 100
        a.send(now)
        b.send(now)
    a.capacity.refused(JOB, a.stamps, now, wait_s=5.0, by=None)
    asked = a.wants
    assert asked
    a.trip(now)
    b.trip(now + BEAT_S)
    assert b.capacity.delay_s(JOB, now + BEAT_S) == (pytest.approx(5.0 - BEAT_S), "the provider's pause")
    for tick in range(400):
        assert not b.send(now + BEAT_S + tick / 100)
    assert b.sends(now + 10.0, now + 5.2) > 20


def test_signs_of_life_are_given_while_a_booking_waits() -> None:
    """And no more often than needed."""
    pot = Pot()
    worker = Worker(pot)
    worker.send(0.0, Demand(1, 50_000))
    worker.send(0.01, Demand(1, 50_000))
    trips = sum(worker.trip(tick / 100) is not None for tick in range(2, 1000))
    assert 30 <= trips <= 42
    assert pot.workers


def test_a_fraction_leaves_the_rest_to_others() -> None:
    """Half, and the others have what they want."""
    pot = Pot()
    nice, other = Worker(pot, "a", fraction=0.25), Worker(pot, "b")
    counts = [0, 0]
    for tick in range(2000):
        for n, worker in enumerate((nice, other)):
            while worker.send(tick / 100):
                counts[n] += 1
    assert counts[0] == pytest.approx(50, abs=3)
    assert counts[1] == pytest.approx(150, abs=5)


@pytest.mark.parametrize("share", [0.8, 0.4])
def test_without_the_store_a_run_goes_on_with_a_part_of_its_last_share(share: float) -> None:
    """Frozen at the loss, evenly, and charged on return."""
    pot = Pot()
    a, b = Worker(pot, "a"), Worker(pot, "b")
    for tick in range(100):
        a.send(tick / 100)
        b.send(tick / 100)
    a.capacity.lose(share, 2)
    sent = 0
    for tick in range(100, 1100):
        now = tick / 100
        while a.capacity.delay_s(JOB, now)[0] <= 0:
            a.capacity.take(JOB, now)
            sent += 1
    assert sent == pytest.approx(RPM / 60 * 10 * share / 2, abs=3)
    owed = a.capacity.requests.offline  # type: ignore[union-attr]
    assert owed == pytest.approx(sent, abs=2)
    a.capacity.found()
    assert a.trip(11.0) is not None
    assert a.capacity.requests.offline == 0.0  # type: ignore[union-attr]
    assert pot.parts["requests/60"].spare == pytest.approx(60 * 10 - owed, abs=600)


@pytest.mark.parametrize(("share", "workers"), [(0.0, 3), (0.8, 0)])
def test_without_the_store_nothing_is_sent_if_nothing_may_be(share: float, workers: int) -> None:
    """`pause`; or a store that has never said how many runs there are."""
    worker = Worker(Pot())
    worker.capacity.lose(share, workers)
    for now in (0.0, 1.0, 1e6):
        assert worker.capacity.delay_s(JOB, now)[0] > 0


def test_a_limit_that_only_another_run_names_is_followed() -> None:
    """Who joins with `--rpm` alone is held by the tokens too."""
    pot = Pot()
    Worker(pot, "a").send(0.0)
    late = Worker(pot, "b", parts=[("requests", Leased(RPM))])
    assert late.sends(10.0, job=Demand(1, 500)) == pytest.approx(20, abs=2)
    assert late.capacity.counts_tokens


def test_another_limit_than_the_first_runs_is_told_once_and_does_not_hold() -> None:
    """With what to type."""
    pot = Pot()
    Worker(pot, "a").send(0.0)
    late = Worker(pot, "b", parts=[("requests", Leased(60 * RPM)), ("tokens", Leased(TPM))])
    assert late.sends(5.0) == pytest.approx(50, abs=4)
    assert [text for text in late.capacity.news if "--quota-reset" in text] == late.capacity.news
    assert len(late.capacity.news) == 1


def test_a_lower_limit_that_the_server_tells_one_run_holds_for_all() -> None:
    """From its headers or its words."""
    pot = Pot()
    a, b = Worker(pot, "a"), Worker(pot, "b")
    for tick in range(100):
        a.send(tick / 100)
    a.capacity.told([RateSeen("requests", 60, 5)], a.stamps, 1.0)
    a.trip(1.0 + BEAT_S)
    assert b.sends(11.0, 1.5) <= 10
    assert b.capacity.requests is not None
    assert b.capacity.requests.limit == 60
    assert b.capacity.learn("tokens", 30_000, 11.0)
    b.trip(11.0 + BEAT_S)
    assert pot.parts["tokens/60"].limit == 30_000


def test_a_day_is_leased_in_the_steps_of_its_minute() -> None:
    """Not request by request; and its end is for all."""
    pot = Pot()
    parts = [("requests", Leased(RPM)), ("requests", Leased(100, window_s=86_400.0))]
    worker = Worker(pot, "a", parts=parts)
    assert worker.sends(30.0, job=Demand(1, 0)) == 100


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from((0, 1, 2)), st.integers(1, 3000), st.booleans()), min_size=5, max_size=80),
    st.floats(0.001, 0.2),
)
def test_never_more_is_sent_than_there_is(steps: list[tuple[int, int, bool]], step_s: float) -> None:
    """Jobs of all sizes, runs that come and are killed: all that was sent fits rate × time and one burst."""
    pot = Pot()
    workers = [Worker(pot, str(n)) for n in range(3)]
    tokens, now = 0, 0.0
    for n, size, killed in steps:
        now += step_s
        if killed and size < 100:
            workers[n] = Worker(pot, str(n))
        job = Demand(1, size)
        if workers[n].send(now, job):
            tokens += size
        assert tokens <= TPM / 60 * (now + 0.25) + 1e-3
