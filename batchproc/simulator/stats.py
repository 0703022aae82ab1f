"""What the server counts about itself: the judge's own figures."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from batchproc.simulator.decision import Decision

_CELL_S = 0.1
_CELLS = 600  # a minute


class _MinutePeak:
    """The largest sum in any stretch of a minute, to a tenth of a second."""

    __slots__ = ("_cells", "_sum", "peak")

    def __init__(self) -> None:
        self._cells: deque[list[int]] = deque()
        self._sum = 0
        self.peak = 0

    def add(self, now_s: float, amount: int) -> None:
        cell = int(now_s / _CELL_S)
        cells = self._cells
        while cells and cells[0][0] <= cell - _CELLS:
            self._sum -= cells.popleft()[1]
        if cells and cells[-1][0] == cell:
            cells[-1][1] += amount
        else:
            cells.append([cell, amount])
        self._sum += amount
        self.peak = max(self.peak, self._sum)


class Stats:
    """Counters over the life of the server."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.peak_in_flight = 0
        self.disconnected = 0
        self.followed_redirects = 0
        self._requests = self._admitted = self._charged = self._usage = 0
        self._refused: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._request_peak = _MinutePeak()
        self._token_peak = _MinutePeak()

    def entered(self) -> None:
        """A request is being answered."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def left(self) -> None:
        """It is answered, or its client is gone."""
        self.in_flight -= 1

    def record(self, now_s: float, decision: Decision) -> None:
        """Count a decision, taken at `now_s`."""
        self._requests += 1
        self._statuses[decision.status] += 1
        if decision.admitted:
            self._admitted += 1
            self._charged += decision.charged
            self._usage += decision.usage
            self._request_peak.add(now_s, 1)
            self._token_peak.add(now_s, decision.charged)
        if decision.refused is not None:
            self._refused[decision.refused] += 1
        if decision.fault is not None:
            self._faults[decision.fault] += 1
        if decision.model is not None:
            self._models[decision.model] += 1

    def document(self) -> dict[str, Any]:
        """All counters, ready for JSON."""
        return {
            "requests": self._requests,
            "admitted": self._admitted,
            "refused": dict(self._refused),
            "by_status": {str(status): count for status, count in sorted(self._statuses.items())},
            "faults": dict(self._faults),
            "by_model": dict(self._models),
            "tokens_charged": self._charged,
            "tokens_used": self._usage,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "peak_requests_per_minute": self._request_peak.peak,
            "peak_tokens_per_minute": self._token_peak.peak,
            "disconnected": self.disconnected,
            "followed_redirects": self.followed_redirects,
        }
