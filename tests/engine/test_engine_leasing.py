"""Whole runs on one quota in virtual time: a store in memory that can be lost, a server that counts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from virtualrun import SimulatedTransport, VirtualRun, in_virtual_time

from batchproc.core.decisions import HaltKind
from batchproc.core.leased import Leased
from batchproc.core.modelqueue import Policy
from batchproc.core.pot import Pot, exchange
from batchproc.core.shared import SharedCapacity
from batchproc.engine.leasing import Leasing
from batchproc.events import Note
from batchproc.lease import Ask, Granted, QuotaLost
from batchproc.model import Reply
from batchproc.settings import Limits
from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings

RPM = 1200
TOO_MANY = json.dumps({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}).encode()


class Memory:
    """The store; `away(now)` says whether it is lost at an instant."""

    def __init__(self, pots: dict[str, Pot], worker: str, away: Callable[[float], bool]) -> None:
        self.pots, self.worker, self.away = pots, worker, away
        self.trips = 0
        self.closed = False

    async def open(self) -> None:
        """Nothing to do."""

    async def exchange(self, asks: Sequence[Ask]) -> list[Granted]:
        await self.probe()
        self.trips += 1
        now = asyncio.get_running_loop().time() + 1e9
        return [exchange(self.pots.setdefault(ask.name, Pot()), ask, self.worker, now) for ask in asks]

    async def probe(self) -> None:
        await asyncio.sleep(0.001)
        if self.away(asyncio.get_running_loop().time()):
            raise QuotaLost("away")

    async def close(self) -> None:
        self.closed = True


class One(VirtualRun):
    """A run beside others, with the task that leases."""

    def __init__(self, fleet: Fleet, name: str, jobs: int, **more: Any) -> None:
        self.store = Memory(fleet.pots, name, fleet.away)
        self.leasing = Leasing(self.store, "memory", fleet.on_loss)
        self.fleet = fleet
        self.fraction = more.pop("fraction", 1.0)
        message = [{"role": "user", "content": name}]
        bodies = [json.dumps({"model": f"m{k % fleet.models}", "messages": message}).encode() for k in range(jobs)]
        super().__init__(
            bodies,
            server=fleet.settings,
            limits=Limits(rpm=RPM),
            policy=Policy(concurrency=200),
            capacity_for=self._shared,
            transport=lambda: Counting(fleet, name),
            during=lambda run: self._lease(run),
        )

    async def _lease(self, run: VirtualRun) -> None:
        await self.leasing.run(run.pool)

    def _shared(self, model: str) -> SharedCapacity:
        parts = [("requests", Leased(RPM))]
        return self.leasing.capacity(model, model, parts, fraction=self.fraction, burst_s=None, reset=False)

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]


class Counting(SimulatedTransport):
    """Notes when each run sent what."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        super().__init__(fleet.provider, script=fleet.script)
        self.fleet, self.name = fleet, name

    async def send(self, path: str, model: str, body: bytes) -> Reply:
        self.fleet.sent.append((asyncio.get_running_loop().time(), self.name, model))
        return await super().send(path, model, body)


class Fleet:
    """Several runs in one loop."""

    def __init__(
        self,
        runs: int = 3,
        jobs: int = 200,
        *,
        away: tuple[float, float] = (0.0, 0.0),
        on_loss: str = "share",
        models: int = 1,
        script: Any = None,
        fractions: Sequence[float] = (),
    ) -> None:
        self.pots: dict[str, Pot] = {}
        self.away = lambda now: away[0] <= now < away[1]
        self.on_loss, self.models, self.script = on_loss, models, script
        self.settings = SimulatorSettings(rpm=RPM, latency="0.1", window="bucket")
        self.provider = Provider(self.settings)
        self.sent: list[tuple[float, str, str]] = []
        shares = [*fractions, *[1.0] * runs][:runs]
        self.runs = [One(self, f"r{n}", jobs, fraction=share) for n, share in enumerate(shares)]

    def go(self) -> Fleet:
        async def together() -> None:
            await asyncio.gather(*(run._go() for run in self.runs))
            await asyncio.sleep(0.1)  # what is cancelled at the end gives back first

        in_virtual_time(together())
        return self

    def rate(self, begin: float, end: float, of: str = "") -> float:
        """Requests a second ÷ the limit."""
        return sum(begin <= at < end and of in (name, "") for at, name, _ in self.sent) / (end - begin) / (RPM / 60)


def test_three_runs_use_the_quota_and_have_a_third_each() -> None:
    """No refusals; the end is as if one had done it; everything is given back and closed."""
    fleet = Fleet().go()
    assert all(len(run.ledger.results) == 200 for run in fleet.runs)
    assert fleet.rate(1, 25) == pytest.approx(1.0, abs=0.03)
    parts = Counter(name for at, name, _ in fleet.sent if 1 <= at < 25)
    assert max(parts.values()) <= 1.1 * min(parts.values())
    for begin in range(20):
        assert fleet.rate(begin, begin + 10) <= 1.05
    assert all(run.store.closed for run in fleet.runs)
    assert all(run.transport.statuses.keys() == {200} for run in fleet.runs)


def test_models_have_a_quota_each_and_a_round_trip_together() -> None:
    """Two models are twice as quick, for hardly more trips."""
    fleet = Fleet(1, 400, models=2).go()
    assert fleet.rate(1, 9) == pytest.approx(2.0, abs=0.1)
    assert fleet.runs[0].store.trips < 10 * 10


def test_a_wait_that_one_run_is_told_stops_all() -> None:
    """After the leases that were out, nothing for three seconds; then all of it again."""
    told: list[float] = []

    def script(now: float, n: int, body: bytes) -> Reply | None:
        if now < 5 or told:
            return None
        told.append(now)
        return Reply(429, {"retry-after": "3"}, TOO_MANY)

    fleet = Fleet(script=script).go()
    assert fleet.rate(told[0] + 0.6, told[0] + 2.9) == 0.0
    assert fleet.rate(told[0] + 3.3, told[0] + 9) == pytest.approx(1.0, abs=0.06)
    assert all(len(run.ledger.results) == 200 for run in fleet.runs)


def test_a_fraction_holds_while_others_have_the_rest() -> None:
    """A fifth, and four fifths."""
    fleet = Fleet(2, 300, fractions=(0.2,)).go()
    assert fleet.rate(1, 15, "r0") == pytest.approx(0.2, abs=0.02)
    assert fleet.rate(1, 15, "r1") == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("on_loss", "least", "most"), [("share", 0.7, 0.85), ("pause", 0.0, 0.05)])
def test_a_store_that_is_away_for_four_seconds(on_loss: str, least: float, most: float) -> None:
    """A part of each share, or nothing; all of it within two seconds of its return, and never more."""
    fleet = Fleet(away=(5.0, 9.0), on_loss=on_loss).go()
    assert least <= fleet.rate(5.5, 9.0) <= most
    assert fleet.rate(11.0, 20.0) == pytest.approx(1.0, abs=0.04)
    for begin in range(15):
        assert fleet.rate(begin, begin + 10) <= 1.05
    for run in fleet.runs:
        assert ["lost" in text for text in run.notes] == [True, False]
        assert run.notes[1].endswith("is back")
        assert len(run.ledger.results) == 200


def test_a_store_that_never_comes_back() -> None:
    """`share`: every job is done all the same, at four fifths, and the end waits for nobody."""
    fleet = Fleet(away=(5.0, 1e9)).go()
    assert fleet.rate(6.0, 20.0) == pytest.approx(0.8, abs=0.03)
    assert all(len(run.ledger.results) == 200 for run in fleet.runs)


def test_fail_stops_with_what_to_do() -> None:
    """What is in flight is awaited."""
    fleet = Fleet(away=(5.0, 1e9), on_loss="fail").go()
    for run in fleet.runs:
        halt = run.ending.halt
        assert halt is not None
        assert halt.kind is HaltKind.QUOTA
        assert "memory" in halt.message
        assert halt.hint
        assert run.pool.left == 0
        assert 0 < len(run.ledger.results) < 200


@pytest.mark.parametrize("on_loss", ["share", "pause", "fail"])
def test_a_store_that_never_answers_stops_the_run_before_anything_is_sent(on_loss: str) -> None:
    """How many there are is not known: no share can be taken of it."""
    fleet = Fleet(away=(0.0, 1e9), on_loss=on_loss).go()
    assert not fleet.sent
    assert all(run.ending.halt is not None for run in fleet.runs)
