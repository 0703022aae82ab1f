"""The ledger of a run without files: results go to whoever takes them, nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from batchproc.api.delivery import Delivery
from batchproc.api.result import Result
from batchproc.errors import DiskFailed
from batchproc.model import Position
from batchproc.model import Result as Ended
from batchproc.store.totals import Totals


def result_of(ended: Ended) -> Result:
    """What the engine calls a result, as a user sees it."""
    return Result(ended.index, ended.line, ended.usage, failed=ended.code is not None)


class NoFiles:
    """Implements `ports.Ledger`."""

    waiting = 0
    unsaved = 0

    def __init__(self, delivery: Delivery) -> None:
        self.totals = Totals()
        self.unanswered: Collection[int] = ()
        self._delivery = delivery
        self._closed = asyncio.Event()

    @property
    def order(self) -> NoFiles:
        """Nothing waits here."""
        return self

    def put(self, result: Ended) -> None:
        """Pass the result of a job on."""
        self.totals.add(result.code, result.usage, result.input_line, result.message, result.model)
        self._delivery.put(result_of(result))

    def sent(self, model: str, index: int, tokens: int) -> None:
        """A request goes out: nothing to note."""

    def not_sent(self, index: int) -> None:
        """It did not: nothing to note."""

    def lost(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """An attempt brought no usage back."""
        self.totals.lose(model, input_tokens, output_tokens)

    def has(self, index: int) -> bool:
        """Nothing was answered before."""
        return False

    def position(self, position: Position) -> None:
        """Nobody will enter the input in the middle."""

    async def run(self, failing: Callable[[DiskFailed, bool], None] | None = None) -> None:
        """Nothing to write: wait until closed."""
        await self._closed.wait()

    def close(self, *, done: bool = False) -> None:
        """Let `run` end."""
        self._closed.set()
