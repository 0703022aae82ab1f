"""A run of the scheduler in virtual time: a server is a function, a wait is an addition."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

import pytest

from batchproc.core.capacity import CapacityTracker, DualCapacity
from batchproc.core.decisions import Done, Ended, Grant, Halt, Requeued, Unsent, Wait
from batchproc.core.modelqueue import Policy
from batchproc.core.scheduler import Scheduler
from batchproc.model import Answer, Fault, FaultKind, Job, Usage


class Fifty:
    """A learner that always expects fifty tokens."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def observe(self, output_tokens: int) -> None:
        self.seen.append(output_tokens)

    def reserve(self) -> int:
        return 50


class World:
    """Runs jobs to the end: `server(job, attempt, now)` gives (latency in seconds, outcome)."""

    def __init__(self, policy: Policy | None = None, rpm: float | None = None, tpm: float | None = None, seed: int = 0):
        def tracker(limit: float | None) -> CapacityTracker | None:
            return CapacityTracker(limit, 0.0) if limit is not None else None

        self.scheduler = Scheduler(
            policy or Policy(), lambda _: DualCapacity(tracker(rpm), tracker(tpm)), lambda _: Fifty()
        )
        self.now = 0.0
        self.random = Random(seed)
        self.sent: list[tuple[float, int]] = []  # (when, index)
        self.ends: dict[int, str] = {}  # index → "" or the code
        self.requeued: list[Requeued] = []
        self.waits: list[Wait] = []
        self.last: object = None
        self.flying: list[tuple[float, int, object, object]] = []

    def job(self, index: int, model: str = "m", tokens: int = 10, path: str = "/x", cap: int | None = None) -> Job:
        return Job(index, index + 1, b"", "", path, model, b"", None, input_tokens=tokens, output_cap=cap)

    def submit(self, n: int, **kwargs: object) -> World:
        for index in range(n):
            self.scheduler.submit(self.job(index, **kwargs))  # type: ignore[arg-type]
        self.scheduler.input_ended()
        return self

    def end(self, index: int, code: str) -> None:
        assert index not in self.ends, f"job {index} ended twice"
        self.ends[index] = code

    def run(self, server: Callable[[Job, int, float], tuple[float, Answer | Fault]], until: float = 1e7) -> World:
        steps = 0
        while self.now < until:
            steps += 1
            assert steps < 300_000, "it polls"
            step = self.last = self.scheduler.next(self.now)
            if isinstance(step, Grant):
                ticket = step.ticket
                self.sent.append((self.now, ticket.job.index))
                latency, outcome = server(ticket.job, ticket.attempts, self.now)
                heappush(self.flying, (self.now + latency, steps, ticket, outcome))
            elif isinstance(step, Unsent):
                self.end(step.ticket.job.index, step.code)
            elif isinstance(step, Done) or (isinstance(step, Halt) and not self.flying):
                break
            else:
                wake = self.now + step.seconds if isinstance(step, Wait) else float("inf")
                if isinstance(step, Wait):
                    assert step.seconds > 0
                    self.waits.append(step)
                assert self.flying or wake < float("inf"), f"stuck with {step}"
                if self.flying and self.flying[0][0] <= wake:
                    self.land()
                else:
                    self.now = max(wake, self.now + 1e-9)
        return self

    def land(self) -> None:
        self.now, _, ticket, outcome = heappop(self.flying)
        step = self.scheduler.finished(ticket, outcome, self.now, self.random.random())  # type: ignore[arg-type]
        if isinstance(step, Ended):
            self.end(step.ticket.job.index, (step.code or step.outcome.code) if isinstance(step.outcome, Fault) else "")
        elif isinstance(step, Requeued):
            self.requeued.append(step)


@pytest.fixture
def world() -> type[World]:
    """The class above."""
    return World


@pytest.fixture
def good() -> Answer:
    """An answer of ten and five tokens."""
    return Answer(200, None, b"{}", Usage(10, 5))


@pytest.fixture
def fault() -> Callable[..., Fault]:
    """A fault by the name of its kind."""
    return lambda kind, code="", **more: Fault(FaultKind[kind], code, "words", **more)
