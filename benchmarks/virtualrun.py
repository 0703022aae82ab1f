"""Whole runs of the real scheduler, pool and feed in virtual time, against the simulated provider's own windows.

An hour takes about as long as its requests take to be decided: the loop's clock jumps to the next timer as
soon as nothing is left to do. Nothing here opens a file or a socket, and no thread is started.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from batchproc.building.trackers import capacity_maker
from batchproc.core.capacity import DualCapacity
from batchproc.core.concurrency import MOST
from batchproc.core.modelqueue import Policy
from batchproc.core.scheduler import Scheduler
from batchproc.engine.feed import Earlier, Feed
from batchproc.engine.pool import Pool
from batchproc.engine.run import Ending, run
from batchproc.events import Event
from batchproc.model import Position, RawLine, Reply, Result, Trouble
from batchproc.providers.openai import OpenAI
from batchproc.settings import Limits
from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings
from batchproc.store.jobs import JobParser
from batchproc.store.lines import digest_of
from batchproc.store.shelf import Shelf
from batchproc.store.totals import Totals
from batchproc.tokens.output import LearntOutput
from batchproc.tokens.weigh import Weighed, Weigher

T = TypeVar("T")


class Deadlock(Exception):
    """Nothing is scheduled and nothing can happen any more: in real time this would hang for ever."""


class _JumpingSelector(selectors.BaseSelector):
    """Never waits: where the loop would, its clock is moved on instead."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.clock_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock
        self.clock_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Any:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` jumps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.clock_s


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a VirtualLoop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class MemoryLedger:
    """Results in memory, in the place of output and checkpoint."""

    def __init__(self) -> None:
        self.results: dict[int, Result] = {}
        self.totals = Totals()
        self.waiting = self.unsaved = 0
        self.order = self
        self.sends: Counter[int] = Counter()
        self._closed = asyncio.Event()

    def put(self, result: Result) -> None:
        if result.index in self.results:
            raise AssertionError(f"job {result.index} ended twice")
        self.results[result.index] = result
        self.totals.add(result.code, result.usage, result.input_line, result.message)

    def sent(self, model: str, index: int, tokens: int) -> None:
        self.sends[index] += 1

    def not_sent(self, index: int) -> None:
        self.sends[index] -= 1

    def has(self, index: int) -> bool:
        return index in self.results

    def position(self, position: Position) -> None:
        pass

    async def run(self, failing: object = None) -> None:
        await self._closed.wait()

    def close(self, *, done: bool = False) -> None:
        self._closed.set()


Script = Callable[[float, int, bytes], Reply | None]  # (now, how many requests before, body) → a reply instead


class SimulatedTransport:
    """Asks the simulated provider as if over a network of this delay (one way, s) and jitter (s)."""

    def __init__(
        self,
        provider: Provider,
        *,
        script: Script | None = None,
        timeout_s: float = 600.0,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.statuses: Counter[int] = Counter()
        self.times: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self._provider = provider
        self._script = script
        self._timeout_s = timeout_s
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._random = Random(seed).random
        self._now = asyncio.get_running_loop().time

    async def send(self, path: str, model: str, body: bytes) -> Reply:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await asyncio.wait_for(self._send(path, body), self._timeout_s)
        except TimeoutError:
            return Reply(0, {}, b"", Trouble.TIMEOUT, "no answer in time")
        finally:
            self.in_flight -= 1

    async def _send(self, path: str, body: bytes) -> Reply:
        self.times.append(self._now())
        if self._script is not None:
            reply = self._script(self._now(), len(self.times) - 1, body)
            if reply is not None:
                self.statuses[reply.status] += 1
                await asyncio.sleep(0.05)
                return reply
        await self._travel()
        decision = self._provider.decide(self._now(), "/v1" + path, body)  # it counts its slots itself
        await asyncio.sleep(decision.latency_s)
        await self._travel()
        self.statuses[decision.status] += 1
        if decision.wire == "hang":
            await asyncio.Event().wait()
        if decision.wire is not None:
            return Reply(0, {}, b"", Trouble.BROKEN, f"the connection broke ({decision.wire})")
        return Reply(decision.status, decision.headers, decision.body)

    async def _travel(self) -> None:
        if self._delay_s or self._jitter_s:
            await asyncio.sleep(self._delay_s + self._jitter_s * self._random())


async def lines_of(bodies: list[bytes]) -> AsyncIterator[list[RawLine]]:
    """The bodies as the lines of an input."""
    for start in range(0, len(bodies), 1000):
        yield [
            RawLine(i, i + 1, i, body, digest_of(body)) for i, body in enumerate(bodies[start : start + 1000], start)
        ]


class InlineWeigher(Weigher):
    """Counts long bodies on the loop too: a thread would not know virtual time."""

    async def weigh_long(self, path: str, model: str, body: bytes) -> Weighed:
        return self.weigh(path, model, body)


class VirtualRun:
    """One run: `bodies` are bare jobs. After `go` the fields say how it went; `seconds` is virtual time."""

    def __init__(
        self,
        bodies: list[bytes],
        *,
        server: SimulatorSettings,
        limits: Limits | None = None,
        policy: Policy | None = None,
        script: Script | None = None,
        timeout_s: float = 600.0,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        seed: int = 0,
        drain_s: float = 30.0,
        capacity_for: Callable[[str], DualCapacity] | None = None,
        during: Callable[[VirtualRun], Coroutine[Any, Any, None]] | None = None,
        shelves: bool = False,
        transport: Callable[[], Any] | None = None,
    ) -> None:
        self.bodies = bodies
        self.server = Provider(server)
        self._make_transport = transport  # in the place of the simulated provider's
        self.limits = limits or Limits()
        self.policy = policy or Policy()
        self.events: list[Event] = []
        self.seconds = 0.0
        self._script = script
        self._timeout_s = timeout_s
        self._delay_s, self._jitter_s = delay_s, jitter_s
        self._seed = seed
        self._drain_s = drain_s
        self._capacity_for = capacity_for or self._capacity
        self._during = during
        self._shelves = shelves

    def _capacity(self, model: str) -> DualCapacity:
        now = asyncio.get_running_loop().time
        return capacity_maker(lambda model: self.limits, [], now=now, wall=0.0)(model)

    def _simulated(self) -> SimulatedTransport:
        return SimulatedTransport(
            self.server,
            script=self._script,
            timeout_s=self._timeout_s,
            delay_s=self._delay_s,
            jitter_s=self._jitter_s,
            seed=self._seed,
        )

    def go(self) -> VirtualRun:
        """Run to the end."""
        in_virtual_time(self._go())
        return self

    async def _go(self) -> None:
        loop = asyncio.get_running_loop()
        self.ledger = MemoryLedger()
        self.transport = (self._make_transport or self._simulated)()
        self.scheduler = Scheduler(self.policy, self._capacity_for, lambda model: LearntOutput())
        self.pool = Pool(
            self.scheduler,
            self.transport,
            OpenAI("http://simulated/v1", None, {}),
            self.ledger,
            [self.events.append],
            most=self.policy.concurrency or MOST,
            wall=loop.time,
            random=Random(self._seed),
            drain_s=self._drain_s,
        )
        feed = Feed(
            lines_of(self.bodies),
            Earlier(0, None, {}, {}),
            JobParser(endpoint=None, model=None, strip_v1=True),
            InlineWeigher(exact=self.limits.of_tokens),
            self.ledger,
            self.scheduler,
            self.pool,
            shelf=(lambda: Shelf(None)) if self._shelves else None,
        )
        others = [asyncio.create_task(self._during(self))] if self._during else []
        self.ending: Ending = await run(self.pool, feed, self.ledger, tick=lambda: None)
        self.seconds = loop.time()
        feed.close()
        for task in others:
            task.cancel()
