"""Brings jobs from the input to the scheduler: no more than it can use soon, and none that is answered.

On a resume whose input is not the file it was (another time or size, a pipe, a compressed file) the lines that
are answered are read again first and compared with what the output says it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from msgspec import structs

from batchproc.core.scheduler import Scheduler
from batchproc.engine.pool import Pool
from batchproc.errors import InputChanged
from batchproc.model import BadJob, Position, RawLine
from batchproc.ports import Parser, ResultSink, Weigher
from batchproc.resultline import refused

_STEP = 32  # lines between two turns of everybody else
_LONG = 16_384  # bytes of a body above which counting leaves the event loop
_MOST_JOBS = 4096  # waiting in memory
_MOST_BYTES = 64 << 20
_POSITION_EVERY = 256

_HINT = "put the old input back to go on, or start over with `--fresh` (the old files are renamed, not deleted)"


class Earlier:
    """What an earlier run answered.

    `next_index` lines are written; `written` yields the digest of the input line that each of them answers, and is
    None where the input need not be compared. `waiting` are digests of results that wait, by index; `sent` is how
    often jobs without a result were sent.
    """

    def __init__(
        self,
        next_index: int,
        written: Iterator[bytes | None] | None,
        waiting: dict[int, bytes],
        sent: dict[int, int],
    ) -> None:
        self.next_index = next_index
        self.written = written
        self.waiting = waiting
        self.sent = sent


class Feed:
    """Reads `lines` to their end, or to `limit` jobs."""

    def __init__(
        self,
        lines: AsyncIterator[list[RawLine]],
        earlier: Earlier,
        parser: Parser,
        weigher: Weigher,
        sink: ResultSink,
        scheduler: Scheduler,
        pool: Pool,
        *,
        limit: int | None = None,
    ) -> None:
        self.read = 0  # one past the highest index read
        self.offset = 0  # bytes read
        self.checked: int | None = None  # lines compared so far, while that goes on
        self.ended = False
        self._lines = lines
        self._earlier = earlier
        self._parser = parser
        self._weigher = weigher
        self._sink = sink
        self._scheduler = scheduler
        self._pool = pool
        self._limit = limit
        self._mean_bytes = 0.0

    async def run(self) -> None:
        """Feed until the input ends. Raises InputChanged, UsageError."""
        cut = False
        async for batch in self._lines:
            for n, raw in enumerate(batch):
                if self._limit is not None and raw.index >= self._limit:
                    cut = True
                    break
                await self._take(raw)
                if n % _STEP == _STEP - 1:
                    await self._turn()
            await self._turn()
            if cut:
                break
        if self.read < self._earlier.next_index and self._limit is None:
            raise InputChanged(
                f"the input has {self.read} jobs, but {self._earlier.next_index} are answered already", _HINT
            )
        self.ended = not cut
        self.checked = None
        self._scheduler.input_ended()
        self._pool.pump()

    async def _turn(self) -> None:
        """Let everybody else work; wait while enough jobs are there."""
        self._pool.pump()
        most = max(64, min(_MOST_JOBS, int(_MOST_BYTES / (self._mean_bytes or 1.0))))
        wanted = self._pool.wants_jobs
        while self._scheduler.queued >= most:
            wanted.clear()
            await wanted.wait()
        await asyncio.sleep(0)

    async def _take(self, raw: RawLine) -> None:
        index = raw.index
        self.read, self.offset = index + 1, raw.offset
        if index % _POSITION_EVERY == 0:
            self._sink.position(Position(index, raw.line, raw.offset))
        earlier = self._earlier
        if index < earlier.next_index:
            if earlier.written is not None:
                self.checked = index + 1
                self._compare(raw, next(earlier.written, None))
            return
        self.checked = None
        if self._sink.has(index):
            self._compare(raw, earlier.waiting.pop(index, None))
            return
        job = self._parser.parse(raw)
        if isinstance(job, BadJob):
            self._pool.end_bad(refused(job))
            return
        if len(job.body) > _LONG:
            tokens, limiter, cap = await self._weigher.weigh_long(job.path, job.model, job.body)
        else:
            tokens, limiter, cap = self._weigher.weigh(job.path, job.model, job.body)
        self._mean_bytes += (len(job.body) - self._mean_bytes) / 100
        job = structs.replace(job, input_tokens=tokens, limiter_tokens=limiter, output_cap=cap)
        self._scheduler.submit(job, earlier.sent.get(index, 0))

    @staticmethod
    def _compare(raw: RawLine, digest: bytes | None) -> None:
        if digest is not None and digest != raw.digest:
            raise InputChanged(
                f"line {raw.line} of the input (job {raw.index}) is answered already, and reads differently now", _HINT
            )
