"""Slots and a queue: so many requests are worked on at once, so many more wait their turn, the others are refused.

A request's work is known when it comes in, so its start is too: the instant the earliest slot is free. Nothing
here reads a clock, and no request is ever overtaken.
"""

from __future__ import annotations

from collections import deque
from heapq import heappush, heapreplace

#: A queue of this length never refuses (vLLM, llama.cpp).
ENDLESS = 10**15


class Slots:
    """`slots` requests at once, `queue` more that wait.

    A request holds its slot for the whole of its work, even if its client goes away meanwhile.
    """

    __slots__ = ("_free_s", "_queue", "_slots", "_starts_s")

    def __init__(self, slots: int, queue: int) -> None:
        self._slots = slots
        self._queue = queue
        self._free_s: list[float] = []  # a heap: when each slot in use is free
        self._starts_s: deque[float] = deque()  # of the requests that wait, in order

    def waiting(self, now_s: float) -> int:
        """Requests that have not been begun."""
        starts_s = self._starts_s
        while starts_s and starts_s[0] <= now_s:
            starts_s.popleft()
        return len(starts_s)

    def full(self, now_s: float) -> bool:
        """Whether a request that comes now would neither be begun nor find a place to wait."""
        if len(self._free_s) < self._slots or self._free_s[0] <= now_s:
            return False
        return self.waiting(now_s) >= self._queue

    def take(self, now_s: float, work_s: float) -> float:
        """Let in a request of `work_s` seconds; returns how long it waits before it is begun, in seconds."""
        if len(self._free_s) < self._slots:
            heappush(self._free_s, now_s + work_s)
            return 0.0
        start_s = max(now_s, self._free_s[0])
        heapreplace(self._free_s, start_s + work_s)
        if start_s > now_s:
            self._starts_s.append(start_s)
        return start_s - now_s
