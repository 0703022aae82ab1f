"""The one writer: results in, in any order; the output grows in order, the rest waits in the checkpoint.

Results are collected for a few milliseconds and written as a group: those that extend the unbroken run to
the output, the others to the checkpoint. Both writes go to the page cache, so they survive the death of the
process; about twice a second the output is fsynced, then a mark of that state is appended to the checkpoint,
which is fsynced in turn. Writing goes on meanwhile, from another thread.

A record leaves the checkpoint only by compaction, and only after the output that holds it was fsynced.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from batchproc.core.order import InOrder
from batchproc.errors import DiskFailed
from batchproc.model import Position, Result
from batchproc.store import compact
from batchproc.store.checkpoint import (
    Header,
    Mark,
    Sent,
    Totals,
    mark_record,
    parse_result,
    read_record,
    result_record,
    sent_record,
)
from batchproc.store.files import AppendFile
from batchproc.store.input import InputIdentity

GROUP_S = 0.015  # how long results are collected before they are written
SYNC_S = 0.5  # how long after a write the fsync begins
DRAIN = 1024  # waiting results moved to the output at a time
_RECENT_BYTES = 8 << 20  # waiting lines kept in memory too, to spare reading them back
_COMPACT_BYTES = 16 << 20  # a checkpoint smaller than this is never compacted
_START = Position(0, 1, 0)


class ResultStore:
    """Takes results and sent requests; writes output and checkpoint.

    `put` and `sent` only collect; `run` writes, until `close`. A failing disk makes `run` raise DiskFailed.
    """

    def __init__(
        self,
        output: AppendFile,
        checkpoint: AppendFile,
        order: InOrder,
        *,
        header: Header,
        totals: Totals,
        written: Totals,
        input_identity: InputIdentity | None,
        wall: Callable[[], float] = time.time,
        unanswered: dict[int, int] | None = None,
        compacts: bool = True,
    ) -> None:
        self.order = order
        self.totals = totals  # of every result that is there
        self.unanswered = unanswered if unanswered is not None else {}  # index → requests sent, no result yet
        self.done = False
        self._header = header
        self._written = written  # of the results in the output
        self._output = output
        self._checkpoint = checkpoint
        self._input = input_identity
        self._wall = wall
        self._results: list[Result] = []
        self._sent: dict[str, list[tuple[int, int]]] = {}
        self._undone: list[int] = []  # jobs whose request turned out not to have been sent
        self._recent_sent: deque[Sent] = deque()
        self._recent: dict[int, bytes] = {}
        self._recent_size = 0
        self._positions: deque[Position] = deque()
        self._position = _START
        self._state = Mark(0.0, order.next_index, output.size, _START, written.copy(), input_identity)
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._mirror: AppendFile | None = None
        self._closing = False
        self._compacts = compacts

    # --- collecting: called for every job, never waits -------------------------------------------------

    def put(self, result: Result) -> None:
        """Take the result of a job; it is saved within a few hundredths of a second."""
        self.totals.add(result.code, result.usage, result.input_line, result.message)
        self.unanswered.pop(result.index, None)
        self._results.append(result)
        self._wake.set()

    def sent(self, model: str, index: int, tokens: int) -> None:
        """Note that a request goes out now: after a restart it still counts against its minute."""
        self.unanswered[index] = self.unanswered.get(index, 0) + 1
        group = self._sent.get(model)
        if group is None:
            group = self._sent[model] = []
        group.append((index, tokens))
        self._wake.set()

    def not_sent(self, index: int) -> None:
        """The request noted last for this job never reached the server."""
        left = self.unanswered.get(index, 0) - 1
        if left > 0:
            self.unanswered[index] = left
        else:
            self.unanswered.pop(index, None)
        self._undone.append(index)
        self._wake.set()

    def position(self, position: Position) -> None:
        """Note where a line of the input starts; every few hundred lines is enough."""
        self._positions.append(position)

    def has(self, index: int) -> bool:
        """Whether this job has its result, written or waiting."""
        return index in self.order

    # --- writing -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until closed. Raises DiskFailed."""
        syncing = asyncio.create_task(self._sync_loop())
        try:
            while not self._closing:
                wake = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait([wake, syncing], return_when=asyncio.FIRST_COMPLETED)
                if syncing.done():
                    wake.cancel()
                    syncing.result()
                if not self._closing and not self.order.ready():
                    await asyncio.sleep(GROUP_S)
                self._wake.clear()
                await self._flush()
        finally:
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)
        while self._results or self._sent or self._undone or self.order.ready():
            await self._flush()
        await self._make_durable(force=True)

    def close(self, *, done: bool = False) -> None:
        """End `run` after everything collected is written and durable; `done` marks the run as finished."""
        self.done = done
        self._closing = True
        self._wake.set()

    async def _flush(self) -> None:
        async with self._writing:
            results, self._results = self._results, []
            records = self._sent_records()
            fresh = {r.index: r for r in results}
            await self._extend_output(fresh)
            start = self._checkpoint.size + sum(map(len, records))
            early: list[tuple[int, int]] = []
            for r in fresh.values():
                record = result_record(r)
                early.append((r.index, start))
                start += len(record)
                records.append(record)
                self._remember(r)
            if records:
                await self._append(b"".join(records))
            for index, where in early:
                self.order.put(index, where)
            if self.order.ready():
                self._wake.set()
            self._settle()

    async def _extend_output(self, fresh: dict[int, Result]) -> None:
        """Write what extends the unbroken run: fresh results, and one helping of those that wait."""
        order, written = self.order, self._written
        lines: list[bytes] = []
        drained = 0
        while True:
            r = fresh.pop(order.next_index, None)
            if r is not None:
                lines.append(r.line)
                written.add(r.code, r.usage, r.input_line, r.message)
                order.advance()
                continue
            if drained >= DRAIN or not order.ready():
                break
            first = order.next_index
            offsets = order.take(DRAIN - drained)
            drained += len(offsets)
            lines.extend(await self._read_waiting(first, offsets))
        if lines:
            await self._output.append(b"".join(lines))

    async def _read_waiting(self, first: int, offsets: list[int]) -> list[bytes]:
        lines: list[bytes] = []
        missing: list[int] = []
        for n, offset in enumerate(offsets):
            record = self._recent.pop(first + n, None)
            if record is None:
                missing.append(offset)
                record = b""
            else:
                self._recent_size -= len(record)
            lines.append(record)
        fd = self._checkpoint.fd
        if missing:
            read = await asyncio.to_thread(lambda: [read_record(fd, offset) for offset in missing])
            found = iter(read)
            lines = [line or next(found) for line in lines]
        out: list[bytes] = []
        for n, record in enumerate(lines):
            r = parse_result(record)
            if r is None or r.index != first + n:
                raise DiskFailed(
                    f"the saved answer of job {first + n} cannot be read back from `{self._checkpoint.path}`",
                    "check the disk, then run the same command again: this job is asked again",
                )
            self._written.add(r.code, r.usage, r.input_line, "")
            out.append(r.line)
        return out

    def _remember(self, r: Result) -> None:
        if self._recent_size < _RECENT_BYTES:
            record = result_record(r)[:-1]
            self._recent[r.index] = record
            self._recent_size += len(record)

    def _sent_records(self) -> list[bytes]:
        if not self._sent and not self._undone:
            return []
        now = self._wall()
        groups, self._sent = self._sent, {}
        records: list[bytes] = []
        for model, group in groups.items():
            sent = Sent(now, model, len(group), sum(t for _, t in group), [i for i, _ in group])
            self._recent_sent.append(sent)
            records.append(sent_record(sent))
        if self._undone:
            records.append(sent_record(Sent(now, "", 0, 0, [], self._undone)))
            self._undone = []
        while self._recent_sent and self._recent_sent[0].at < now - 61:
            self._recent_sent.popleft()
        return records

    async def _append(self, data: bytes) -> None:
        await self._checkpoint.append(data)
        if self._mirror is not None:
            await self._mirror.append(data)

    def _settle(self) -> None:
        """Remember a state in which output and counts agree: what the next mark will say."""
        n = self.order.next_index
        while self._positions and self._positions[0].index <= n:
            self._position = self._positions.popleft()
        self._state = Mark(
            self._wall(), n, self._output.size, self._position, self._written.copy(), self._input, self.done
        )
        self._dirty.set()

    # --- making durable ----------------------------------------------------------------------------------

    async def _sync_loop(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(SYNC_S)
            self._dirty.clear()
            await self._make_durable()
            if self._compacts and self._checkpoint.size > _COMPACT_BYTES:
                await self._compact()

    async def _make_durable(self, *, force: bool = False) -> None:
        if force:
            self._settle()
        state = self._state
        await self._output.sync()
        async with self._writing:
            await self._append(mark_record(state))
        await self._checkpoint.sync()
        if self._mirror is not None:
            await self._mirror.sync()

    async def _compact(self) -> None:
        async with self._writing:
            plan = compact.Plan(self._checkpoint, self.order.items())
        if not plan.worth_it():
            return
        # The plan holds every result that was not in the output then; what was in the output must be
        # durable before its record may go.
        await self._output.sync()
        head = compact.head_of(self._header, self._state, list(self._recent_sent), self.unanswered, self._wall())
        await plan.copy(head)
        async with self._writing:
            await plan.catch_up()
            self._mirror = plan.new
        await plan.replace()
        async with self._writing:
            old, self._checkpoint, self._mirror = self._checkpoint, plan.new, None
            plan.move(self.order)
        await old.close()
