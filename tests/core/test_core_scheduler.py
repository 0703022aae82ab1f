"""Whole runs in virtual time: every job ends once, in its turn, and waits are exact."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.core.decisions import Done, Grant, Halt, HaltKind, Idle, Wait
from batchproc.core.modelqueue import Policy
from batchproc.model import Answer, Fault, FaultKind, Usage

GOOD = Answer(200, None, b"{}", Usage(10, 5))
KINDS = [k for k in FaultKind if k is not FaultKind.REFUSED]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.floats(0.01, 30), st.none() | st.sampled_from(KINDS), st.none() | st.floats(0, 20)),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 25),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 60, 6000]),
    st.integers(0, 9),
)
def test_every_job_ends_exactly_once(world, script, n, concurrency, rpm, seed):
    """Whatever fails, each job has one end, or is still queued when the run halts; nothing is lost."""
    calls = 0

    def server(job, attempt, now):
        nonlocal calls
        calls += 1
        latency, kind, wait_s = script[calls % len(script)] if calls < 200 else (0.1, None, None)
        return latency, Fault(kind, "c", "m", wait_s=wait_s) if kind else GOOD

    w = world(Policy(concurrency=concurrency), rpm=rpm, tpm=100_000, seed=seed)
    for index in range(n):
        w.scheduler.submit(w.job(index, model=f"m{index % 2}"))
    w.scheduler.input_ended()
    w.run(server)
    assert w.scheduler.in_flight == 0
    assert len(w.ends) + w.scheduler.queued == n
    halted = w.scheduler.halted is not None  # nothing but time-outs: also when that took the last job
    assert isinstance(w.last, Halt if halted else Done)
    assert halted or len(w.ends) == n


def test_first_come_first_served(world):
    """In a lane jobs go out by index."""
    w = world(rpm=600).submit(200)
    w.run(lambda *_: (1.0, GOOD))
    assert [i for _, i in w.sent] == list(range(200))
    assert isinstance(w.last, Done)


def test_a_large_job_is_not_starved(world):
    """Small ones behind it wait, or it would never find room."""
    w = world(tpm=6000)
    for index in range(100):
        w.scheduler.submit(w.job(index, tokens=5500 if index == 20 else 50, path=f"/{index % 2}"))
    w.scheduler.input_ended()
    w.run(lambda *_: (0.5, GOOD))
    assert [i for _, i in w.sent] == list(range(100))


def test_one_paused_model_does_not_hold_another(world, fault):
    """A minute's pause of one costs the other nothing."""
    w = world()
    for index in range(40):
        w.scheduler.submit(w.job(index, model="ab"[index % 2]))
    w.scheduler.input_ended()
    ended: dict[str, float] = {}

    def server(job, attempt, now):
        if job.model == "a" and now < 60:
            return 0.1, fault("RATE_LIMITED", wait_s=60.0)
        ended[job.model] = now
        return 0.1, GOOD

    w.run(server)
    assert ended["b"] < 2
    assert 60 < ended["a"] < 70
    assert set(w.ends.values()) == {""}


def test_waits_are_exact(world):
    """A whole minute's worth at once, then one a second: one wait for each, and not one look too many."""
    w = world(rpm=60).submit(150)
    w.run(lambda *_: (0.01, GOOD))
    gaps = [b - a for (a, _), (b, _) in zip(w.sent[-80:], w.sent[-79:], strict=False)]
    assert gaps == pytest.approx([1.0] * 79, abs=1e-6)
    assert w.sent[-1][0] == pytest.approx(90.0, abs=1.0)
    assert len(w.waits) <= 2 * 150
    assert "requests per minute of m" in w.waits[-1].why


def test_a_retry_that_becomes_due_before_the_room_of_another(world, fault):
    """The wait for a large job ends early where a small retry, whose turn it then is, would fit."""
    w = world(tpm=6000)
    s = w.scheduler
    for index, tokens in enumerate((10, 5900)):
        s.submit(w.job(index, tokens=tokens, cap=50 if index == 0 else 0))
    s.input_ended()
    first = s.next(0.0)
    assert isinstance(first, Grant)
    s.finished(first.ticket, fault("SERVER"), 0.0, 0.5)
    step = s.next(0.0)
    assert isinstance(step, Wait)
    assert step.seconds == pytest.approx(0.5), "the burst would have room for the large one after 0.6 s"


def test_refused_ends_it(world, fault):
    """Nothing is sent after the first such answer; what is in flight is counted; the job stays unanswered."""
    w = world().submit(100)

    def server(job, attempt, now):
        return (0.5, fault("REFUSED", "invalid_api_key")) if job.index == 3 else (1.0, GOOD)

    w.run(server)
    assert isinstance(w.last, Halt)
    assert w.last.kind is HaltKind.REFUSED
    assert len(w.sent) == 8
    assert sorted(w.ends) == [0, 1, 2, 4, 5, 6, 7]
    assert w.scheduler.in_flight == 0


@pytest.mark.parametrize(
    ("kind", "more", "least", "most", "why"),
    [
        ("RATE_LIMITED", {"wait_s": 3600.0}, 0, 1, "known longer: at once"),
        ("RATE_LIMITED", {"wait_s": 1.0}, 600, 610, "grown longer, a second at a time"),
        ("RATE_LIMITED", {}, 600, 700, "grown longer, without a word"),
        ("CONNECT", {}, 600, 601, "no connection"),
        ("OVERLOADED", {}, 600, 601, "nothing but 5xx"),
        ("BROKEN", {}, 600, 601, "every connection breaks"),
    ],
)
def test_max_wait(world, fault, kind, more, least, most, why):
    """The run ends after --max-wait, and no job is lost to it."""
    w = world().submit(20)
    w.run(lambda *_: (0.1, fault(kind, **more)))
    assert isinstance(w.last, Halt), why
    assert w.last.kind is HaltKind.MAX_WAIT, why
    assert w.last.hint
    assert least <= w.now <= most, why
    assert (w.ends, w.scheduler.queued) == ({}, 20)


def test_a_daily_limit_can_be_waited_for(world, fault):
    """--on-daily-limit wait lifts --max-wait for it."""
    w = world(Policy(wait_for_daily=True)).submit(5)
    w.run(lambda job, a, now: (0.1, GOOD if now > 7200 else fault("RATE_LIMITED", wait_s=7200.0, daily=True)))
    assert set(w.ends.values()) == {""}


def test_refusals_between_other_ends_are_no_long_wait(world, fault):
    """Answers that reject a job have passed the limit: the wait since the first refusal is over."""
    w = world(Policy(max_wait_s=50, concurrency=1)).submit(60)

    def server(job, attempt, now):
        limited = attempt == 1 and job.index % 4 == 0
        return (5.0, fault("RATE_LIMITED", wait_s=2.0) if limited else fault("REJECTED", "bad"))

    w.run(server)
    assert isinstance(w.last, Done)
    assert len(w.ends) == 60


@pytest.mark.parametrize("kind", ["CONNECT", "SERVER", "OVERLOADED", "BROKEN"])
def test_an_outage_costs_no_job(world, fault, kind):
    """Nearly ten minutes of it: every job is answered afterwards, and the server was left in peace."""
    w = world().submit(100)
    w.run(lambda job, a, now: (0.1, fault(kind) if 0.15 < now < 565 else GOOD))
    assert list(w.ends.values()).count("") == 100
    during = [t for t, _ in w.sent if 30 < t < 565]
    assert 15 <= len(during) <= 30, "one probe every 1 → 30 s"


@pytest.mark.parametrize("attempts", [1, 3, 8])
def test_a_job_that_always_fails_is_given_up(world, fault, attempts):
    """After so many attempts; the others are answered, and nobody calls it an outage."""
    w = world(Policy(max_attempts=attempts)).submit(50)
    w.run(lambda job, a, now: (0.1, fault("SERVER") if job.index == 7 else GOOD))
    assert w.ends.pop(7) == "attempts_exhausted"
    assert set(w.ends.values()) == {""}
    assert [i for _, i in w.sent].count(7) == attempts


def test_failures_to_connect_are_not_counted(world, fault):
    """Neither as attempts nor against the limits."""
    w = world(rpm=60).submit(1)
    seen = []

    def server(job, attempt, now):
        seen.append(attempt)
        return 0.1, fault("CONNECT") if len(seen) < 12 else GOOD

    w.run(server)
    assert seen == [1] * 12
    assert w.ends == {0: ""}


def test_retries_of_one_pause_are_spread(world, fault):
    """Refused together, they do not come back in one instant."""
    w = world(Policy(concurrency=8)).submit(8)
    w.run(lambda job, a, now: (0.1, GOOD if a > 1 else fault("RATE_LIMITED", wait_s=10.0)))
    again = [t for t, _ in w.sent[8:]]
    assert len(set(again)) == 8
    assert min(again) >= 10.1
    assert 0.5 < max(again) - min(again) <= 2.0


def test_idle_until_there_are_jobs_and_done_when_none_are_left(world):
    """An empty scheduler waits for the input's end."""
    s = world().scheduler
    assert isinstance(s.next(0.0), Idle)
    s.input_ended()
    assert isinstance(s.next(0.0), Done)
