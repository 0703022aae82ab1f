"""Deadlines that do not run while the process is stopped.

A process that is suspended (Ctrl-Z, SIGSTOP, a frozen container, a laptop that sleeps) finds all its deadlines passed
when it wakes up, although nobody was late: answers may be waiting in its sockets. Once a second the clock is looked at;
what lies between two looks beyond that second was slept, and every deadline moves by so much.
"""

from __future__ import annotations

import asyncio

BEAT_S = 1.0
SLEPT_S = 1.0  # a beat that is late by more was late because nothing ran


class Deadlines:
    """Time limits of attempts, `seconds` each, in time that the process was awake."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._beat_at = 0.0

    def begin(self) -> asyncio.Timeout:
        """A deadline from now on, to be used in `async with`, and then to be given to `end`."""
        now = self._loop.time()
        if self._timer is None:
            self._beat_at = now + BEAT_S
            self._timer = self._loop.call_at(self._beat_at, self._beat)
        else:
            self._look(now)
        limit = asyncio.timeout_at(now + self._seconds)
        self._running.add(limit)
        return limit

    def end(self, limit: asyncio.Timeout) -> None:
        """The attempt is over."""
        self._running.discard(limit)

    def close(self) -> None:
        """Look at the clock no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        now = self._loop.time()
        self._look(now)
        self._timer = None
        if self._running:
            self._beat_at = now + BEAT_S
            self._timer = self._loop.call_at(self._beat_at, self._beat)

    def _look(self, now: float) -> None:
        slept = now - self._beat_at
        if slept > SLEPT_S:
            self._beat_at = now
            for limit in self._running:
                when = limit.when()
                if when is not None and not limit.expired():
                    limit.reschedule(when + slept)
