"""The fold of events into counts and rates; pure, like the rest of this room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from batchproc.events import (
    Event,
    JobEnded,
    JobRequeued,
    OutageBegan,
    OutageEnded,
    RequestEnded,
    RequestSent,
    Stopping,
)
from batchproc.model import FaultKind

_WINDOW_S = 60


class Rate:
    """Requests and tokens of the last 60 s, counted by the second."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, requests, tokens]
        self.requests = 0
        self.tokens = 0
        self.all_requests = 0
        self.all_tokens = 0
        self.by_usage = False  # tokens are counted from the answers, as nothing is charged

    def add(self, at: float, requests: int, tokens: int) -> None:
        """Count what went out at `at`."""
        second = int(at)
        if not self._seconds or self._seconds[-1][0] != second:
            self.forget(at)
            self._seconds.append([second, 0, 0])
        last = self._seconds[-1]
        last[1] += requests
        last[2] += tokens
        self.requests += requests
        self.tokens += tokens
        self.all_requests += requests
        self.all_tokens += tokens

    def forget(self, now: float) -> None:
        """Drop what is older than a minute."""
        while self._seconds and self._seconds[0][0] <= int(now) - _WINDOW_S:
            _, requests, tokens = self._seconds.popleft()
            self.requests -= requests
            self.tokens -= tokens


class Stats:
    """Counts of one run, by listening to its events."""

    def __init__(self) -> None:
        self.requests = 0
        self.rate_limited = 0
        self.retries = 0
        self.ended: deque[list[int]] = deque(maxlen=120)  # [second, jobs ended in it], for the ETA
        self._ends_in: int | None = None
        self.models: dict[str, Rate] = {}
        self.out: dict[str, float] = {}  # model → since when its server is out
        self.stopping = ""
        self.takes: dict[type, Callable[[Any], None]] = {
            RequestSent: self._sent,
            RequestEnded: self._returned,
            JobEnded: self._ended,
            JobRequeued: self._requeued,
            OutageBegan: self._out,
            OutageEnded: self._back,
            Stopping: self._stops,
        }

    def on(self, event: Event) -> None:
        """Count one event."""
        take = self.takes.get(type(event))
        if take is not None:
            take(event)

    def _sent(self, event: RequestSent) -> None:
        self.requests += 1
        rate = self.models.get(event.model)
        if rate is None:
            rate = self.models[event.model] = Rate()
        rate.add(event.at, 1, event.tokens)

    def _returned(self, event: RequestEnded) -> None:
        if event.kind is FaultKind.RATE_LIMITED:
            self.rate_limited += 1
        elif event.kind is FaultKind.CONNECT:
            self.requests -= 1  # it never reached the server
        elif event.kind is None and event.usage.total_tokens:
            rate = self.models[event.model]
            if not rate.all_tokens or rate.by_usage:
                rate.by_usage = True
                rate.add(event.at, 0, event.usage.total_tokens)

    def _requeued(self, event: JobRequeued) -> None:
        if event.kind is not FaultKind.CONNECT:
            self.retries += 1

    def _out(self, event: OutageBegan) -> None:
        self.out.setdefault(event.model, event.at)

    def _back(self, event: OutageEnded) -> None:
        self.out.pop(event.model, None)

    def _stops(self, event: Stopping) -> None:
        self.stopping = event.why

    def _ended(self, event: JobEnded) -> None:
        second = int(event.at)
        if self._ends_in != second:
            self._ends_in = second
            self.ended.append([second, 0])
        self.ended[-1][1] += 1

    def jobs_per_s(self, now: float) -> float | None:
        """How many jobs ended per second lately; None before there is anything to go by."""
        recent = [(s, n) for s, n in self.ended if s > now - 60]
        if not recent or now - recent[0][0] < 1:
            return None
        return sum(n for _, n in recent) / max(1.0, now - recent[0][0])
