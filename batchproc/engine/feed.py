"""Brings jobs from the input to the scheduler: no more than it can use soon, and none that is answered.

A model that is held (refused for seconds, or until midnight) must not stop the others, whose jobs may come later in
the input, and must not fill the memory: of each lane so many jobs wait in memory, what comes after them is put aside
on disk, and reading goes on.

On a resume whose input is not the file it was (another time or size, a pipe, a compressed file) the lines that
are answered are read again first and compared with what the output says it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Protocol

from msgspec import structs

from batchproc.core.scheduler import Scheduler
from batchproc.engine.pool import Pool
from batchproc.errors import InputChanged
from batchproc.model import BadJob, Job, Position, RawLine
from batchproc.ports import Parser, ResultSink, Shelf, Weigher
from batchproc.resultline import refused

_STEP = 32  # lines between two turns of everybody else
_LONG = 16_384  # bytes of a body above which counting leaves the event loop
_MOST_JOBS = 4096  # waiting in memory
_MOST_BYTES = 64 << 20
_MOST_IN_LANE = 1000
_REFILL = 250  # taken from a shelf at a time
_POSITION_EVERY = 256
_HEAD_START_S = 0.03

HINT = "put the old input back to go on, or start over with `--fresh` (the old files are renamed, not deleted)"


class Tries(Protocol):
    """How often jobs without a result were sent."""

    def get(self, index: int, default: int, /) -> int:
        """The requests of a job."""
        ...


def compare(raw: RawLine, digest: bytes | None) -> None:
    """Raise InputChanged where an answered line is not what it was; its digest then, None where that is not known."""
    if digest is not None and digest != raw.digest:
        raise InputChanged(
            f"line {raw.line} of the input (job {raw.index}) is answered already, and reads differently now", HINT
        )


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
        sent: Tries,
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
        shelf: Callable[[], Shelf] | None = None,
    ) -> None:
        self.read = 0  # one past the highest index read
        self.offset = 0  # bytes read
        self.line = 0  # the last line read, from 1
        self.checked: int | None = None  # lines compared so far, while that goes on
        self.ended = False  # the input was read to its end
        self.finished = False  # so far as it is wanted (`limit`), everything was submitted
        self._read_all = False
        self._lines = lines
        self._earlier = earlier
        self._parser = parser
        self._weigher = weigher
        self._sink = sink
        self._scheduler = scheduler
        self._pool = pool
        self._limit = limit
        self._mean_bytes = 0.0
        self._begun = False  # the first job was submitted
        self._new_shelf = shelf
        self._shelves: dict[tuple[str, str], Shelf] = {}

    async def run(self) -> None:
        """Feed until the input ends. Raises InputChanged, UsageError."""
        cut = False
        async for batch in self._lines:
            for n, raw in enumerate(batch[await self._compare(batch) :]):
                if self._limit is not None and raw.index >= self._limit:
                    cut = True
                    break
                job = self._take(raw)
                if job is not None and not self._submitted_at_once(job):
                    await self._submit(job)
                if n % _STEP == _STEP - 1:
                    await self._turn()
            await self._turn()
            if cut:
                break
        if self.read < self._earlier.next_index and self._limit is None:
            raise InputChanged(
                f"the input has {self.read} jobs, but {self._earlier.next_index} are answered already", HINT
            )
        self.ended = not cut
        self.checked = None
        self._read_all = True
        self._scheduler.all_read()
        self._pool.pump()
        while self._shelves:
            await self._turn()
        self.finished = True
        self._scheduler.input_ended()
        self._pool.pump()

    async def _compare(self, batch: list[RawLine]) -> int:
        """Compare the lines at the beginning of a batch that the output answers, in few steps; how many those were."""
        written, end = self._earlier.written, self._earlier.next_index
        if written is None or self._limit is not None or not batch or batch[0].index >= end:
            return 0
        known = batch[: end - batch[0].index]
        for start in range(0, len(known), _POSITION_EVERY):
            part = known[start : start + _POSITION_EVERY]
            for raw, digest in zip(part, islice(written, len(part)), strict=False):
                if digest != raw.digest:
                    compare(raw, digest)
            last = part[-1]
            self.read, self.offset, self.line = last.index + 1, last.offset, last.line
            self.checked = self.read
            self._sink.position(Position(last.index, last.line, last.offset))
            await asyncio.sleep(0)
        return len(known)

    async def _turn(self) -> None:
        """Let everybody else work; wait while enough jobs are there."""
        await self._refill()
        self._pool.pump()
        wanted = self._pool.wants_jobs
        while self._enough():
            wanted.clear()
            await wanted.wait()
            await self._refill()
        await asyncio.sleep(0)

    def _most(self) -> int:
        """Jobs that may wait in memory."""
        return max(64, min(_MOST_JOBS, int(_MOST_BYTES / (self._mean_bytes or 1.0))))

    @property
    def full(self) -> bool:
        """Whether nothing can be read before something is sent: the memory is used up, and there is no shelf."""
        return self._new_shelf is None and self._scheduler.queued >= self._most()

    def _enough(self) -> bool:
        """Whether reading on would be of no use: enough jobs wait that may be sent soon."""
        if self._read_all:
            return bool(self._shelves)
        if self._new_shelf is None:
            return self.full
        return self._scheduler.queued_in_open_models(asyncio.get_running_loop().time()) >= self._most()

    async def _refill(self) -> None:
        """Bring jobs back from the shelves of lanes that run low."""
        for key, shelf in list(self._shelves.items()):
            if self._scheduler.waiting_in(*key) < _REFILL:
                for raw in shelf.take(_REFILL):
                    job = self._parser.parse(raw)
                    if not isinstance(job, BadJob) and not self._submitted_at_once(job):
                        await self._submit(job)
                if not len(shelf):
                    shelf.close()
                    del self._shelves[key]

    def _take(self, raw: RawLine) -> Job | None:
        """The job of a line, where it is to be submitted now."""
        index = raw.index
        self.read, self.offset, self.line = index + 1, raw.offset, raw.line
        if index % _POSITION_EVERY == 0:
            self._sink.position(Position(index, raw.line, raw.offset))
        earlier = self._earlier
        if index < earlier.next_index:
            if earlier.written is not None:
                self.checked = index + 1
                compare(raw, next(earlier.written, None))
            return None
        self.checked = None
        if self._sink.has(index):
            compare(raw, earlier.waiting.pop(index, None))
            return None
        job = self._parser.parse(raw)
        if isinstance(job, BadJob):
            self._pool.end_bad(refused(job, earlier.sent.get(index, 0)))
            return None
        self._mean_bytes += (len(job.body) - self._mean_bytes) / 100
        shelf = self._shelves.get((job.path, job.model)) if self._shelves else None
        if shelf is None and self._new_shelf is not None:
            waiting = self._scheduler.waiting_in(job.path, job.model)
            if waiting >= _REFILL and waiting >= min(_MOST_IN_LANE, self._most() // 2) and self._held(job.model):
                shelf = self._shelves[job.path, job.model] = self._new_shelf()
        if shelf is None:
            return job
        shelf.put(raw)
        return None

    def _held(self, model: str) -> bool:
        return self._scheduler.model(model).held(asyncio.get_running_loop().time())

    def _submitted_at_once(self, job: Job) -> bool:
        """Submit a job, unless that takes a while: the first one, a long one, when counting has just become needed."""
        weigher = self._weigher
        if not self._begun or len(job.body) > _LONG:
            return False
        if not weigher.exact and self._scheduler.counts_tokens(job.model):
            return False
        self._queue(job, weigher.weigh(job.path, job.model, job.body))
        return True

    async def _submit(self, job: Job) -> None:
        if not self._begun:
            self._begun = True
            if await self._head_start(job):
                return
        if not self._weigher.exact and self._scheduler.counts_tokens(job.model):  # learnt from the server
            await asyncio.to_thread(self._weigher.count_exactly, job.model)
        if len(job.body) > _LONG:
            self._queue(job, await self._weigher.weigh_long(job.path, job.model, job.body))
        else:
            self._queue(job, self._weigher.weigh(job.path, job.model, job.body))

    def _queue(self, job: Job, weighed: tuple[int, int, int | None, int]) -> None:
        tokens, limiter, cap, n = weighed
        job = structs.replace(job, input_tokens=tokens, limiter_tokens=limiter, output_cap=cap, choices=n)
        self._scheduler.submit(job, self._earlier.sent.get(job.index, 0))

    async def _head_start(self, job: Job) -> bool:
        """Send the first job by what it weighs at most, and load what counting needs while it is under way.

        Its answer is what the others wait for: how many may be in flight is not known before. Loading holds the
        interpreter's lock, so the request has to be out by then.
        """
        weighed = self._weigher.at_most(job.path, job.body)
        if weighed is None:
            return False
        self._queue(job, weighed)
        self._pool.pump()
        await asyncio.sleep(_HEAD_START_S)
        await asyncio.to_thread(self._weigher.preload, job.model)
        return True

    def close(self) -> None:
        """Drop what was put aside."""
        for shelf in self._shelves.values():
            shelf.close()
        self._shelves.clear()
