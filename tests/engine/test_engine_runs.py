"""Whole runs in virtual time: the real pool, feed and scheduler against the simulated provider."""

from __future__ import annotations

import asyncio
import json

import pytest
from virtualrun import VirtualRun

from batchproc.core.decisions import Halt, HaltKind
from batchproc.core.modelqueue import Policy
from batchproc.events import OutageBegan, OutageEnded, RequestSent, Stopping
from batchproc.model import Reply, Trouble
from batchproc.settings import Limits
from batchproc.simulator.settings import SimulatorSettings


def bodies(n: int, *, model: str = "gpt-4o-mini", words: int = 3) -> list[bytes]:
    """`n` small chat jobs."""
    return [
        json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": f"job {i} " + "word " * words}],
                "max_tokens": 16,
            }
        ).encode()
        for i in range(n)
    ]


def contents(run: VirtualRun) -> list[str]:
    """What was answered, by index."""
    found = []
    for index in range(len(run.bodies)):
        line = json.loads(run.ledger.results[index].line)
        found.append(line["response"]["body"]["choices"][0]["message"]["content"] if line["error"] is None else None)
    return found


def everything_answered(run: VirtualRun) -> None:
    """Every job ended exactly once, with the answer to its own question."""
    assert sorted(run.ledger.results) == list(range(len(run.bodies)))
    for index, content in enumerate(contents(run)):
        assert content is not None
        assert f"job {index} " in content
    assert run.ending.complete
    assert not run.scheduler.in_flight
    assert not run.scheduler.queued


QUICK = SimulatorSettings(latency="0.2")


def test_every_job_is_answered_once() -> None:
    """Without limits and faults each job takes one request."""
    run = VirtualRun(bodies(500), server=QUICK).go()
    everything_answered(run)
    assert run.transport.statuses == {200: 500}


def test_slow_start_doubles() -> None:
    """Eight in flight before the first answer; then twice as many each round trip."""
    run = VirtualRun(bodies(2000), server=QUICK).go()
    first = [t for t in run.transport.times if t < 0.19]
    second = [t for t in run.transport.times if 0.19 <= t < 0.39]
    assert len(first) == 8
    assert len(second) == 16
    assert run.seconds < 3


def test_fixed_concurrency_is_used_after_the_first_answer_and_never_exceeded() -> None:
    """`--concurrency 50` means 50 in flight, from the first answer on."""
    run = VirtualRun(bodies(1000), server=QUICK, policy=Policy(concurrency=50)).go()
    everything_answered(run)
    assert run.transport.most_in_flight == 50
    assert len([t for t in run.transport.times if t < 0.19]) == 8
    assert run.seconds < 1000 / 50 * 0.2 + 1


@pytest.mark.parametrize("window", ["bucket", "fixed", "sliding", "quantized"])
def test_limits_are_kept_on_every_kind_of_window(window: str) -> None:
    """3,000 jobs at 600 a minute take what they must, with few refusals, on every kind of server."""
    server = SimulatorSettings(rpm=600, window=window, latency="0.3")
    run = VirtualRun(bodies(3000), server=server, limits=Limits(rpm=600)).go()
    everything_answered(run)
    optimum = {"bucket": 240, "quantized": 299, "fixed": 240, "sliding": 240}[window]
    assert run.seconds < optimum * 1.05
    assert run.transport.statuses[429] < 15


def test_tokens_bind_where_they_are_scarcer() -> None:
    """A job takes a request and its tokens together: the scarcer of the two decides."""
    server = SimulatorSettings(rpm=6000, tpm=6000, charge="sum", latency="0.2")
    run = VirtualRun(bodies(1000, words=30), server=server, limits=Limits(rpm=6000, tpm=6000)).go()
    everything_answered(run)
    assert run.transport.statuses[429] < 20
    assert run.pool.waiting_for == ""


@pytest.mark.parametrize("seed", range(3))
def test_a_quarter_of_the_answers_are_faults(seed: int) -> None:
    """25% faults of every retryable kind: each job still ends once, with its own answer."""
    server = SimulatorSettings(faults=("any=25%",), latency="lognormal:0.2,0.8", seed=seed)
    run = VirtualRun(bodies(800), server=server, seed=seed).go()
    everything_answered(run)


def test_ten_minutes_without_a_network_cost_no_job() -> None:
    """Nothing is counted against a job while no connection can be made; then the run goes on."""

    def script(now: float, _n: int, _body: bytes) -> Reply | None:
        down = 5 <= now < 605
        return Reply(0, {}, b"", Trouble.CONNECT, "no connection to x: refused") if down else None

    server = SimulatorSettings(rpm=1200, latency="0.2")
    run = VirtualRun(bodies(2000), server=server, limits=Limits(rpm=1200), script=script, policy=Policy(max_wait_s=700))
    run.go()
    everything_answered(run)
    assert any(isinstance(e, OutageBegan) for e in run.events)
    ended = [e for e in run.events if isinstance(e, OutageEnded)]
    assert ended[-1].lasted_s > 590
    during = [e for e in run.events if isinstance(e, RequestSent) and 10 < e.at < 600]
    assert len(during) < 40  # one probe every 1 → 30 s


def test_ten_minutes_of_5xx_cost_no_job() -> None:
    """A server that answers with nothing but 503 is out as well."""

    def script(now: float, _n: int, _body: bytes) -> Reply | None:
        return Reply(503, {}, b"<html>down</html>") if 5 <= now < 605 else None

    server = SimulatorSettings(rpm=1200, latency="0.2")
    run = VirtualRun(bodies(1500), server=server, limits=Limits(rpm=1200), script=script, policy=Policy(max_wait_s=700))
    run.go()
    everything_answered(run)


def test_an_outage_longer_than_max_wait_ends_the_run_resumable() -> None:
    """After `--max-wait` the run stops; what is unanswered stays unanswered."""

    def script(now: float, _n: int, _body: bytes) -> Reply | None:
        return Reply(0, {}, b"", Trouble.CONNECT, "refused") if now >= 2 else None

    run = VirtualRun(bodies(1500), server=SimulatorSettings(rpm=600, latency="0.2"), limits=Limits(rpm=600))
    run._script = script
    run.policy = Policy(max_wait_s=60)
    run.go()
    assert not run.ending.complete
    assert run.ending.halt is not None
    assert run.ending.halt.kind is HaltKind.MAX_WAIT
    assert not run.ledger.totals.failed
    assert 60 <= run.seconds < 75


def test_one_job_that_always_fails_is_given_up_alone() -> None:
    """A single 500 concerns its job alone: it has its attempts, the others go on."""

    def script(_now: float, _n: int, body: bytes) -> Reply | None:
        return Reply(500, {}, b'{"error":{"message":"boom","type":"server_error"}}') if b"job 7 " in body else None

    run = VirtualRun(bodies(50), server=QUICK, script=script).go()
    assert run.ending.complete
    assert run.ledger.totals.succeeded == 49
    failed = json.loads(run.ledger.results[7].line)
    assert failed["error"]["code"] == "attempts_exhausted"
    assert failed["attempts"] == 8
    assert failed["response"]["status_code"] == 500


def test_a_refused_key_stops_at_once_and_keeps_what_was_in_flight() -> None:
    """After the first such answer no request goes out; answers under way are kept; nothing is failed."""

    def script(now: float, n: int, _body: bytes) -> Reply | None:
        body = b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}'
        return Reply(401, {}, body) if n == 20 else None

    run = VirtualRun(bodies(300), server=SimulatorSettings(latency="0.5"), script=script).go()
    assert run.ending.halt is not None
    assert run.ending.halt.kind is HaltKind.REFUSED
    assert not run.ledger.totals.failed
    refused_at = run.transport.times[20] + 0.05
    assert max(run.transport.times) <= refused_at
    assert run.ledger.totals.succeeded == len(run.transport.times) - 1


def test_a_long_retry_after_ends_the_run_at_once() -> None:
    """A wait that is known to be longer than `--max-wait` is not begun."""

    def script(_now: float, n: int, _body: bytes) -> Reply | None:
        return Reply(429, {"retry-after": "7200"}, b'{"error":{"message":"slow"}}') if n >= 10 else None

    run = VirtualRun(bodies(100), server=QUICK, script=script).go()
    assert run.ending.halt is not None
    assert run.ending.halt.kind is HaltKind.MAX_WAIT
    assert run.seconds < 5


def test_a_server_that_never_answers_is_given_up_by_the_deadline() -> None:
    """Two attempts at most run into the time-out; when the first five jobs all do, the run stops."""
    server = SimulatorSettings(faults=("hang=100%",), latency="0.1")
    run = VirtualRun(bodies(40), server=server, timeout_s=30).go()
    assert run.ending.halt is not None
    assert run.ending.halt.kind is HaltKind.TIMEOUTS
    assert max(run.ledger.sends.values()) == 2


def test_an_interruption_waits_for_what_is_in_flight() -> None:
    """The first signal stops the sending; answers under way still count."""

    async def interrupt(run: VirtualRun) -> None:
        await asyncio.sleep(1.0)
        run.pool.halt(Halt(HaltKind.INTERRUPTED, "interrupted"))

    run = VirtualRun(bodies(5000), server=SimulatorSettings(latency="0.4"), during=interrupt).go()
    assert not run.ending.complete
    assert max(run.transport.times) <= 1.0
    assert run.ledger.totals.succeeded == len(run.transport.times)
    assert run.seconds < 2


def test_a_drain_ends_when_its_time_is_up() -> None:
    """What has not come back by then stays unanswered."""

    async def interrupt(run: VirtualRun) -> None:
        await asyncio.sleep(1.0)
        run.pool.halt(Halt(HaltKind.INTERRUPTED, "interrupted"), drain_s=3)

    server = SimulatorSettings(faults=("hang=30%",), latency="0.4")
    run = VirtualRun(bodies(200), server=server, during=interrupt).go()
    assert not run.ending.complete
    assert 3.9 < run.seconds < 4.5


def test_two_models_do_not_hold_each_other() -> None:
    """A model that is refused for minutes lets the other go on at its own pace."""

    def script(now: float, _n: int, body: bytes) -> Reply | None:
        return Reply(429, {"retry-after": "120"}, b"{}") if b'"slow"' in body and now < 100 else None

    mixed = [b for pair in zip(bodies(300, model="slow"), bodies(300, model="fast"), strict=True) for b in pair]
    run = VirtualRun(mixed, server=QUICK, script=script).go()
    assert run.ending.complete
    last_fast = max(e.at for e in run.events if isinstance(e, RequestSent) and e.model == "fast")
    assert last_fast < 10


def test_a_held_model_neither_stops_others_nor_fills_the_memory() -> None:
    """Thousands of jobs of a refused model come first: they go to disk, and the other model's are reached."""

    def script(now: float, _n: int, body: bytes) -> Reply | None:
        return Reply(429, {"retry-after": "300"}, b"{}") if b'"slow"' in body and now < 280 else None

    jobs = bodies(9000, model="slow") + bodies(200, model="fast")
    most = 0

    async def look(run: VirtualRun) -> None:
        nonlocal most
        while True:
            most = max(most, run.scheduler.queued)
            await asyncio.sleep(0.05)

    run = VirtualRun(jobs, server=QUICK, script=script, policy=Policy(concurrency=64), during=look, shelves=True).go()
    assert run.ending.complete
    fast = [e.at for e in run.events if isinstance(e, RequestSent) and e.model == "fast"]
    assert max(fast) < 20
    assert most < 6000
    assert run.ledger.totals.succeeded == len(jobs)


def test_a_model_held_too_long_lets_the_others_finish_first() -> None:
    """Known to be longer than `--max-wait`: the run ends with exit 5, but not before everything else is done."""

    def script(_now: float, _n: int, body: bytes) -> Reply | None:
        return Reply(429, {"retry-after": "7200"}, b"{}") if b'"slow"' in body else None

    jobs = bodies(3000, model="slow") + bodies(200, model="fast")
    run = VirtualRun(jobs, server=QUICK, script=script, policy=Policy(concurrency=64), shelves=True).go()
    assert run.ending.halt is not None
    assert run.ending.halt.kind is HaltKind.MAX_WAIT
    assert run.ledger.totals.succeeded == 200
    assert run.seconds < 20


@pytest.mark.parametrize("window", ["bucket", "fixed", "sliding", "quantized"])
def test_limits_nobody_named_are_learnt_from_headers(window: str) -> None:
    """Without --rpm and --tpm the first answers tell the limits; few requests are refused."""
    server = SimulatorSettings(rpm=600, tpm=60_000, window=window, latency="0.3")
    run = VirtualRun(bodies(2500), server=server).go()
    everything_answered(run)
    optimum = {"bucket": 190, "quantized": 249, "fixed": 240, "sliding": 240}[window]
    assert run.seconds < optimum * 1.06
    assert run.transport.statuses[429] < 25
    capacity = run.scheduler.model("gpt-4o-mini").capacity
    assert capacity.requests is not None
    assert capacity.tokens is not None
    assert (capacity.requests.limit, capacity.tokens.limit) == (600, 60_000)


def test_no_polling() -> None:
    """A run that waits for a minute's limit wakes a few times for each request, not a thousand times a second."""
    woken = 0

    async def count(run: VirtualRun) -> None:
        nonlocal woken
        original = run.pool.pump

        def pump() -> None:
            nonlocal woken
            woken += 1
            original()

        run.pool.pump = pump  # type: ignore[method-assign]

    server = SimulatorSettings(rpm=60, window="quantized", latency="0.1")
    run = VirtualRun(bodies(60), server=server, limits=Limits(rpm=60), during=count).go()
    everything_answered(run)
    assert run.seconds > 55
    assert woken < 60 * 6


def test_a_stop_is_noticed_while_every_worker_is_busy() -> None:
    """The drain begins at the halt, not when the next worker comes back."""

    async def interrupt(run: VirtualRun) -> None:
        await asyncio.sleep(1.0)
        run.pool.halt(Halt(HaltKind.INTERRUPTED, "interrupted"), drain_s=2)

    server = SimulatorSettings(faults=("hang=100%",), latency="0.1")
    run = VirtualRun(bodies(30), server=server, policy=Policy(concurrency=4), during=interrupt).go()
    assert run.seconds == pytest.approx(3.0, abs=0.1)
    assert any(isinstance(e, Stopping) for e in run.events)
