"""The lines of the jobs that a retry sends again, out of the whole input.

Where the input is not the file it was (a failed job may have been corrected), every line that is answered is compared
before anything is sent; the chosen ones wait on a shelf meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

from batchproc.core.chosen import ANSWERED, CHOSEN, GOOD, Chosen
from batchproc.engine.feed import HINT, compare
from batchproc.errors import InputChanged
from batchproc.model import Position, RawLine
from batchproc.ports import Shelf

_HELPING = 250


class NewDigests(Protocol):
    """Digests of the input lines that this retry has results for."""

    def pop(self, index: int, default: bytes | None = None) -> bytes | None:
        """Take one out."""
        ...


class Again:
    """Reads `lines` to the last job of the run.

    `written` yields the digest of the input line that each line of the output answers; it is None where the input need
    not be compared. `longer`: the input has more jobs than the run had; `position` is where its last job stands.
    """

    def __init__(
        self,
        lines: AsyncIterator[list[RawLine]],
        chosen: Chosen,
        written: Iterator[bytes | None] | None,
        settled: NewDigests,
        shelf: Callable[[], Shelf],
    ) -> None:
        self.longer = False
        self.position = Position(0, 1, 0)
        self._lines = lines
        self._chosen = chosen
        self._written = written
        self._settled = settled
        self._shelf = shelf
        self._read = 0

    async def read(self) -> AsyncIterator[list[RawLine]]:
        """Yield the chosen lines. Raises InputChanged where an answered one reads differently, or is not there."""
        shelf = self._shelf() if self._written is not None else None
        try:
            async for batch in self._lines:
                chosen = [raw for raw in batch if self._take(raw)]
                if shelf is not None:
                    for raw in chosen:
                        if not raw.too_long:
                            shelf.put(raw)
                    chosen = [raw for raw in chosen if raw.too_long]  # these are never sent
                    await asyncio.sleep(0)
                yield chosen
                if self.longer:
                    break
            if self._read < self._chosen.jobs:
                raise InputChanged(f"the input has {self._read} jobs, but the output has {self._chosen.jobs}", HINT)
            while shelf is not None and len(shelf):
                yield shelf.take(_HELPING)
        finally:
            if shelf is not None:
                shelf.close()

    def _take(self, raw: RawLine) -> bool:
        """Compare a line; whether it is to be sent."""
        index = raw.index
        if index >= self._chosen.jobs:
            self.longer = True
            return False
        self._read = index + 1
        self.position = Position(index, raw.line, raw.offset)
        self._chosen.lines[index] = raw.line
        digest = next(self._written, None) if self._written is not None else None
        state = self._chosen.state[index]
        if state == GOOD:
            compare(raw, digest)
        elif state == ANSWERED:
            compare(raw, self._settled.pop(index))
        return state == CHOSEN
