"""Between the engine and whoever takes the results: in order or as they come, and never without bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from batchproc.api.result import Result

_MOST_BYTES = 64 << 20  # of results that wait to be taken


class Delivery:
    """Results in by `put`, out by `next`; `full` says that no more jobs should be taken from the input.

    Full is: `look_ahead` jobs are on their way (`pulled`, and not taken as results), or 64 MiB of results wait.
    """

    def __init__(self, *, ordered: bool, look_ahead: int) -> None:
        self.pulled = 0
        self.room: Callable[[], None] = lambda: None  # called when it is not full any more
        self._taken = 0
        self._ordered = ordered
        self._look_ahead = look_ahead
        self._next = 0
        self._bytes = 0
        self._ready: deque[Result] = deque()
        self._early: dict[int, Result] = {}
        self._waker: asyncio.Future[None] | None = None
        self._over = False

    @property
    def left(self) -> int:
        """How many more jobs may be taken from the input."""
        return 0 if self._bytes >= _MOST_BYTES else self._look_ahead - (self.pulled - self._taken)

    @property
    def full(self) -> bool:
        """See the class."""
        return self.left <= 0

    def put(self, result: Result) -> None:
        """A result is there."""
        self._bytes += len(result.line)
        if not self._ordered:
            self._ready.append(result)
        elif result.index != self._next:
            self._early[result.index] = result
            return
        else:
            following: Result | None = result
            while following is not None:
                self._ready.append(following)
                self._next += 1
                following = self._early.pop(self._next, None)
        self._wake()

    def end(self) -> None:
        """No more will come: what waits for an earlier result that will not come goes out by its index."""
        self._ready.extend(self._early[index] for index in sorted(self._early))
        self._early.clear()
        self._over = True
        self._wake()

    async def next(self) -> Result | None:
        """The next result, None after the last."""
        while not self._ready:
            if self._over:
                return None
            self._waker = asyncio.get_running_loop().create_future()
            try:
                await self._waker
            finally:
                self._waker = None
        was_full = self.full
        result = self._ready.popleft()
        self._taken += 1
        self._bytes -= len(result.line)
        if was_full and not self.full:
            self.room()
        return result

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
