"""Servers that name no limit, in virtual time: so many slots, with a queue before them or without.

Used by `concurrency.py` and the tests. A request travels `NET_S` each way; one that finds no slot waits in the
queue, and where that is full it is refused at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from random import Random

from batchproc.model import Reply, Trouble

NET_S = 0.01
_ANSWER = b'{"id":"c","choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
_503 = b'{"error":{"message":"no slot is free","type":"unavailable_error","code":503}}'
_429 = b'{"error":{"message":"too many concurrent requests"}}'

Draw = Callable[[Random], float]


@dataclass(frozen=True)
class Kind:
    """A server. `work` draws the seconds of an answer; `slowed(n)` is their factor while `n` are worked on."""

    slots: Callable[[float], int]  # at an instant
    work: Draw
    queue: Callable[[int], float] = lambda slots: 0.0  # how many may wait, by slots
    status: int = 503
    slowed: Callable[[int], float] = lambda n: 1.0
    faults: float = 0.0  # share of requests that are refused whatever is in flight


def constant(s: float) -> Draw:
    return lambda u: s


def lognormal(median_s: float, sigma: float) -> Draw:
    return lambda u: median_s * min(20.0, u.lognormvariate(0.0, sigma))


def no_queue(slots: int) -> float:
    return 0.0


def as_long(slots: int) -> float:
    return slots


def endless(slots: int) -> float:
    return inf


class SlotTransport:
    """Sends to a server of this kind."""

    def __init__(self, kind: Kind, *, timeout_s: float = 600.0, seed: int = 0) -> None:
        self.answered: list[float] = []
        self.refused: list[float] = []
        self.timed_out = 0
        self.sizes: list[tuple[float, int]] = []  # (when, in flight), at each send
        self.in_flight = self.most_in_flight = 0
        self.statuses: Counter[int] = Counter()
        self._kind = kind
        self._timeout_s = timeout_s
        self._random = Random(seed)
        self._draws = Random(seed + 1)  # the n-th to be worked on takes as long in every run
        self._working = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()

    async def send(self, path: str, model: str, body: bytes) -> Reply:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.sizes.append((self._loop.time(), self.in_flight))
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.sleep(NET_S * (0.5 + self._random.random()))
                reply = await self._serve()
                await asyncio.sleep(NET_S * (0.5 + self._random.random()))
        except TimeoutError:
            self.timed_out += 1
            return Reply(0, {}, b"", Trouble.TIMEOUT, "no answer in time")
        finally:
            self.in_flight -= 1
        self.statuses[reply.status] += 1
        (self.answered if reply.status == 200 else self.refused).append(self._loop.time())
        return reply

    async def _serve(self) -> Reply:
        kind, slots = self._kind, self._kind.slots(self._loop.time())
        full = self._working >= slots and len(self._queue) >= kind.queue(slots)
        if full or (kind.faults and self._random.random() < kind.faults):
            return Reply(kind.status, {}, _503 if kind.status == 503 else _429)
        if self._working >= slots:
            turn = self._loop.create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._working -= 1
                    self._next()
                raise
        else:
            self._working += 1
        try:
            await self._work(kind.work(self._draws))
        finally:
            self._working -= 1
            self._next()
        return Reply(200, {}, _ANSWER)

    async def _work(self, work_s: float) -> None:
        """In ten steps, each as slow as it is full: a batch that others join and leave."""
        if self._kind.slowed(1000) == 1.0:
            await asyncio.sleep(work_s)
            return
        for _ in range(10):
            await asyncio.sleep(work_s / 10 * self._kind.slowed(self._working))

    def _next(self) -> None:
        slots = self._kind.slots(self._loop.time())
        while self._queue and self._working < slots:
            turn = self._queue.popleft()
            if not turn.done():
                self._working += 1
                turn.set_result(None)
