"""What ends a run early, or a job without a request; and the counts of a run."""

from __future__ import annotations

import pytest

from batchproc.core.decisions import Done, Grant, Halt, HaltKind
from batchproc.core.modelqueue import Policy
from batchproc.core.stats import Stats
from batchproc.events import JobEnded, JobRequeued, OutageBegan, OutageEnded, RequestEnded, RequestSent, Stopping
from batchproc.model import NO_USAGE, Answer, FaultKind, Usage

GOOD = Answer(200, None, b"{}", Usage(10, 5))


def test_a_time_out_is_repeated_once_at_most(world, fault):
    """It may have been billed: two attempts, then the job fails."""
    w = world().submit(20)
    w.run(lambda job, a, now: (600.0, fault("TIMEOUT", "request_timeout")) if job.index == 3 else (1.0, GOOD))
    assert w.ends.pop(3) == "request_timeout"
    assert [i for _, i in w.sent].count(3) == 2
    assert set(w.ends.values()) == {""}


def test_the_first_five_all_timing_out_stops_the_run(world, fault):
    """With the hint to raise the time-out."""
    w = world().submit(50)
    w.run(lambda *_: (1.0, fault("TIMEOUT", "request_timeout")))
    assert isinstance(w.last, Halt)
    assert (w.last.kind, "--timeout" in (w.last.hint or "")) == (HaltKind.TIMEOUTS, True)
    assert len(w.ends) >= 5


def test_time_outs_after_another_end_stop_nothing(world, fault):
    """One job that ended otherwise, if only by giving up, shows that the time-out is long enough."""
    w = world(Policy(max_attempts=1)).submit(20)
    w.run(lambda job, a, now: (0.1, fault("SERVER")) if job.index == 0 else (9.0, fault("TIMEOUT", "request_timeout")))
    assert isinstance(w.last, Done)
    assert len(w.ends) == 20


def test_twenty_answers_of_no_such_model_stop_the_run(world, fault):
    """When nothing else was ever answered; and no job is failed for it."""
    w = world(Policy(concurrency=1)).submit(100)
    w.run(lambda *_: (0.1, fault("REJECTED", "model_not_found", no_model=True)))
    assert isinstance(w.last, Halt)
    assert w.last.kind is HaltKind.REFUSED
    assert len(w.sent) == 20
    assert not w.ends


def test_a_few_jobs_that_all_name_a_wrong_model_stop_the_run_at_once(world, fault):
    """Every request of the run uses that model: nothing is burnt, and twenty answers are not waited for."""
    w = world().submit(3)
    w.run(lambda *_: (0.1, fault("REJECTED", "model_not_found", no_model=True)))
    assert isinstance(w.last, Halt)
    assert w.last.kind is HaltKind.REFUSED
    assert not w.ends
    assert len(w.sent) <= 6


def test_some_jobs_with_a_wrong_model_stop_nothing(world, fault):
    """One answer, or another failure, and the model's name is those jobs' own matter."""
    unknown = fault("REJECTED", "model_not_found", no_model=True)
    for other in (GOOD, fault("REJECTED", "bad")):
        w = world().submit(100)
        w.run(lambda job, a, now, o=other: (0.1, o if job.index == 5 else unknown))
        assert isinstance(w.last, Done)


@pytest.mark.parametrize(("share", "halts"), [(0.04, True), (0.05, False), (None, False)])
def test_fail_over(world, fault, share, halts):
    """More than this share of finished jobs, after twenty."""
    w = world(Policy(fail_over=share, concurrency=1)).submit(100)
    w.run(lambda job, a, now: (0.1, fault("REJECTED", "bad") if job.index % 20 == 19 else GOOD))
    assert isinstance(w.last, Halt if halts else Done)
    if halts:
        assert w.last.kind is HaltKind.FAIL_OVER
        assert len(w.ends) == 20


def test_bad_lines_count_towards_fail_over(world):
    """They failed too."""
    s = world(Policy(fail_over=0.5)).scheduler
    for _ in range(20):
        assert s.halted is None
        s.count_unsent_failure()
    assert isinstance(s.next(0.0), Halt)


def test_what_is_too_large_is_learnt(world, fault):
    """The server counts twice what we do: once it said so, jobs surely over the limit cost no request."""
    w = world(Policy(concurrency=1), tpm=10_000)
    for index, tokens in enumerate((8000, 9000, 100, 5400, 4000)):
        w.scheduler.submit(w.job(index, tokens=tokens, cap=0))
    w.scheduler.input_ended()

    def server(job, attempt, now):
        needed = 2 * job.input_tokens
        large = fault("TOO_LARGE", "rate_limit_exceeded", limit=("tokens", 10_000), requested=needed)
        return 0.1, large if needed > 10_000 else GOOD

    w.run(server)
    assert [i for _, i in w.sent] == [0, 2, 4]
    assert w.ends == {0: "rate_limit_exceeded", 1: "request_too_large", 2: "", 3: "request_too_large", 4: ""}


def test_a_limit_is_learnt_from_a_refusal(world, fault):
    """A model whose limits nobody gave is sent to at the pace that its refusal names."""
    w = world().submit(60)
    sent = []

    def server(job, attempt, now):
        sent.append(now)
        if len(sent) == 8:
            return 0.1, fault("RATE_LIMITED", wait_s=1.0, limit=("requests", 60))
        return 0.1, GOOD

    w.run(server)
    assert w.scheduler.models["m"].capacity.requests.limit == 60
    assert set(w.ends.values()) == {""}


def test_the_first_reason_to_stop_stands(world):
    """Later ones do not hide it."""
    s = world().submit(1).scheduler
    s.halt(Halt(HaltKind.INTERRUPTED, "first"))
    s.halt(Halt(HaltKind.STOP_AFTER, "second"))
    assert s.halted == s.next(0.0) == Halt(HaltKind.INTERRUPTED, "first")


def test_an_abandoned_job_frees_its_place(world):
    """A worker that is cut off holds nothing."""
    s = world().submit(1).scheduler
    step = s.next(0.0)
    assert isinstance(step, Grant)
    s.abandoned(step.ticket)
    assert (s.in_flight, isinstance(s.next(0.0), Done)) == (0, True)


def test_outage_and_retries_can_be_asked_for(world, fault):
    """For the display: since when and why a model is out, and how many jobs wait to be sent again."""
    w = world().submit(1)
    step = w.scheduler.next(5.0)
    assert w.scheduler.out_since("m") is None
    w.scheduler.finished(step.ticket, fault("CONNECT"), 6.0, 0.5)
    assert w.scheduler.out_since("m") == (6.0, "words")
    assert w.scheduler.waiting_retries() == 1


def test_stats_count_what_happened():
    """Requests, refusals, retries, outages and rates of the last minute, by model."""
    stats = Stats()
    for second in range(120):
        stats.on(RequestSent(float(second), "m", second, 10))
        stats.on(RequestEnded(second + 0.5, "m", second, 0.5, None, Usage(3, 4)))
    stats.on(RequestEnded(120.0, "m", 1, 0.1, FaultKind.RATE_LIMITED, NO_USAGE))
    for kind in (FaultKind.RATE_LIMITED, FaultKind.CONNECT):
        stats.on(JobRequeued(120.0, "m", 1, 1, kind, "", 1.0))
    rate = stats.models["m"]
    rate.forget(119.0)
    assert (stats.requests, stats.rate_limited, stats.retries) == (120, 1, 1)
    assert (rate.requests, rate.tokens, rate.all_requests, rate.all_tokens) == (60, 600, 120, 1200)
    stats.on(OutageBegan(1.0, "m", "x"))
    stats.on(OutageBegan(2.0, "m", "x"))
    assert stats.out == {"m": 1.0}
    stats.on(OutageEnded(3.0, "m", 2.0))
    stats.on(Stopping(3.0, "why", 0, 30.0))
    stats.on(JobEnded(3.0, 1, 1, None, ""))
    assert (stats.out, stats.stopping) == ({}, "why")


def test_stats_take_tokens_from_answers_where_nothing_is_charged():
    """Without a limit there is no charge: what the answers say is shown."""
    stats = Stats()
    stats.on(RequestSent(0.0, "m", 0, 0))
    stats.on(RequestEnded(1.0, "m", 0, 1.0, None, Usage(3, 4)))
    stats.on(RequestEnded(2.0, "m", 0, 1.0, None, Usage(1, 1)))
    assert stats.models["m"].tokens == 9


def test_jobs_per_second():
    """Of the last minute; unknown before there is a second to go by."""
    stats = Stats()
    assert stats.jobs_per_s(0.0) is None
    for n in range(100):
        stats.on(JobEnded(n / 10, n, n + 1, None, ""))
    assert stats.jobs_per_s(0.5) is None
    assert stats.jobs_per_s(10.0) == 10.0
    assert stats.jobs_per_s(200.0) is None
