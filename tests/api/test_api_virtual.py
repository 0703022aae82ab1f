"""`run_jobs` in virtual time: hours of limits and outages, decided by the same engine as the command's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from apikit import MODEL, answer_to, job, take
from virtualrun import Script, SimulatedTransport, in_virtual_time

from batchproc import Result, RunStopped, run_jobs
from batchproc.model import Reply, Trouble
from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings


class Wire:
    """Puts a simulated provider in the place of the wire; what it saw is here afterwards."""

    def __init__(self, script: Script | None = None, **server: Any) -> None:
        self.provider = Provider(SimulatorSettings(**server))
        self.script = script
        self.transport: Any = None
        self.seconds = 0.0

    def __call__(self, **_: Any) -> Any:
        wire = self

        class Transport(SimulatedTransport):
            async def open(self) -> None:
                wire.transport = self

            async def close(self) -> None:
                wire.seconds = asyncio.get_running_loop().time()

        return Transport(self.provider, script=self.script)

    @property
    def statuses(self) -> Counter[int]:
        found: Counter[int] = self.transport.statuses
        return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs jobs against a Wire; the results, or those until it raised."""

    def go(wire: Wire, jobs: Any, into: list[Result] | None = None, **options: Any) -> list[Result]:
        monkeypatch.setattr("batchproc.building.parts.HttpTransport", wire)
        results: list[Result] = [] if into is None else into
        in_virtual_time(take(run_jobs(jobs, base_url="http://simulated/v1", **options), results))
        return results

    return go


def test_the_limits_are_kept_by_the_server_s_own_count(run: Any) -> None:
    """Ten minutes' work at 600 requests a minute takes about that long, with hardly a refusal."""
    wire = Wire(rpm=600, window="bucket", latency="0.2")
    results = run(wire, (job(n) for n in range(6000)), rpm=600)
    assert [r.text for r in results] == [answer_to(n) for n in range(6000)]
    assert wire.statuses[429] <= 6
    assert 9 * 60 - 5 <= wire.seconds <= 9 * 60 + 20, "a full bucket, then 600 a minute"


def test_a_slow_first_job_holds_up_the_results_and_not_the_memory(run: Any) -> None:
    """While the first job takes four minutes, no more than `look_ahead` jobs are begun; then all come in order."""
    pulled = at_most = 0
    taken: list[Result] = []

    def jobs() -> Iterator[dict[str, Any]]:
        nonlocal pulled, at_most
        for n in range(5000):
            pulled += 1
            at_most = max(at_most, pulled - len(taken))
            yield job(n)

    def hold(now: float, before: int, body: bytes) -> Reply | None:
        return Reply(0, {}, b"", Trouble.BROKEN, "cut") if b'"job 0"' in body and now < 240 else None

    wire = Wire(hold, latency="0.1")
    results = run(wire, jobs(), into=taken, concurrency=50, look_ahead=500, max_attempts=200)
    assert [r.index for r in results] == list(range(5000))
    assert at_most <= 500
    assert results[0].attempts > 1


def test_an_outage_is_waited_out(run: Any) -> None:
    """Five minutes without a server cost no job."""

    def script(now: float, before: int, body: bytes) -> Reply | None:
        return Reply(0, {}, b"", Trouble.CONNECT, "no route") if 5 < now < 305 else None

    wire = Wire(script, latency="0.5")
    results = run(wire, (job(n) for n in range(2000)), concurrency=10)
    assert all(r.ok for r in results)
    assert len(results) == 2000
    assert wire.seconds > 305


def test_an_outage_that_is_too_long(run: Any) -> None:
    """After `max_wait` what was answered has been delivered, and RunStopped says why."""

    def script(now: float, before: int, body: bytes) -> Reply | None:
        return Reply(0, {}, b"", Trouble.CONNECT, "no route") if now > 5 else None

    results: list[Result] = []
    with pytest.raises(RunStopped) as caught:
        run(Wire(script, latency="0.5"), (job(n) for n in range(2000)), results, concurrency=10, max_wait=60)
    assert caught.value.reason == "max_wait"
    assert 0 < len(results) < 2000
    assert all(r.ok for r in results)


def test_the_time_is_up(run: Any) -> None:
    """`stop_after` delivers what is in flight, then raises."""
    results: list[Result] = []
    wire = Wire(latency="1")
    with pytest.raises(RunStopped) as caught:
        run(wire, (job(n) for n in range(100_000)), results, concurrency=10, stop_after=30)
    assert caught.value.reason == "stop_after"
    assert len(results) == sum(wire.statuses.values())
    assert 29.9 <= wire.seconds <= 32


def test_a_model_that_is_held_does_not_hold_the_others(run: Any) -> None:
    """One model has a request a minute; what comes as it is answered is not held up by it."""
    slow = job(0, model="gpt-4o")["model"]
    jobs = [job(n, model=slow if n % 10 == 0 else MODEL) for n in range(200)]
    wire = Wire(latency="0.1", by_model={slow: {"rpm": 1}})
    results = run(wire, iter(jobs), ordered=False, max_wait=3600, concurrency=20)
    first = [r.index for r in results[:180]]
    assert sum(index % 10 == 0 for index in first) <= 3
    assert len(results) == 200
