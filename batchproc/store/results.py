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
from collections.abc import Callable

from msgspec import structs

from batchproc.core.order import InOrder
from batchproc.errors import DiskFailed
from batchproc.model import Position, Result
from batchproc.store import compact
from batchproc.store.checkpoint import Header, Mark, Told, mark_record
from batchproc.store.entry import START, Entry
from batchproc.store.files import AppendFile
from batchproc.store.input import InputIdentity
from batchproc.store.journal import Journal, soon_after, to_its_end
from batchproc.store.notes import Notes
from batchproc.store.rescue import Rescue
from batchproc.store.sending import SentLog
from batchproc.store.sums import LineSums
from batchproc.store.timeline import KeptTimeLine
from batchproc.store.totals import Totals
from batchproc.store.waiting import Waiting

GROUP_S = 0.015  # how long results are collected before they are written; 0.05 is what is promised
SYNC_S = 0.5  # how long after a write the fsync begins


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
        sent: SentLog | None = None,
        compared_from: int = 0,
        record_bytes: int = 0,
        last_index: int = -1,
        compacts: bool = True,
    ) -> None:
        self.order = order
        self.totals = totals  # of every result that is there
        self.done = False
        self._header = header
        self._written = written  # of the results in the output
        self._output = output
        self._journal = Journal(checkpoint, record_bytes=record_bytes, compacts=compacts, last_index=last_index)
        self._wall = wall
        self._entry = Entry(input_identity, compared_from)
        self._results: list[Result] = []
        self._sent = sent if sent is not None else SentLog()
        self._waiting = Waiting(order)
        self._sums = LineSums(order.next_index)
        self._state = Mark(0.0, order.next_index, output.size, START, written.copy(), self._entry.identity)
        self._wake = asyncio.Event()
        self.notes = Notes(self._wake.set)
        self._dirty = asyncio.Event()
        self._ending = asyncio.Event()
        self._closing = False
        self._sent_some = False  # in this process: its last mark must say that it ended in order
        self._unsaid = False  # lost attempts that no mark knows yet
        self._rescue = Rescue(self._journal, output, order)
        self.unsaved = 0  # results that could be written nowhere

    @property
    def unanswered(self) -> dict[int, int]:
        """How many requests were sent for each job that has no result."""
        return self._sent.unanswered

    # --- collecting: called for every job, never waits -------------------------------------------------

    def put(self, result: Result) -> None:
        """Take the result of a job; it is saved within a few hundredths of a second."""
        self.totals.add(result.code, result.usage, result.input_line, result.message, result.model)
        self._sent.answered(result.index)
        self._results.append(result)
        self._wake.set()

    def sent(self, model: str, index: int, tokens: int) -> None:
        """Note that a request goes out now: after a restart it still counts against its minute."""
        self._sent.sent(model, index, tokens)
        self._sent_some = True
        self._wake.set()

    def not_sent(self, index: int) -> None:
        """The request noted last for this job never reached the server."""
        self._sent.not_sent(index)
        self._wake.set()

    def lost(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """An attempt brought no usage back: a budget counts it as the most that it can have used."""
        for totals in (self.totals, self._written):
            totals.lose(model, input_tokens, output_tokens)
        self._unsaid = True
        self._wake.set()

    def position(self, position: Position) -> None:
        """Note where a line of the input starts; every few hundred lines is enough. Lines before it are compared."""
        self._entry.note(position)

    def tell(self, told: Told) -> None:
        """Leave a note in the checkpoint, for whoever looks at the run."""
        self.notes.tell(told)

    def has(self, index: int) -> bool:
        """Whether this job has its result, written or waiting."""
        return index in self.order

    # --- writing -----------------------------------------------------------------------------------------

    async def run(self, failing: Callable[[DiskFailed, bool], None] | None = None) -> None:
        """Write until closed, then close the files.

        Where the disk fails, `failing` is told, with whether results that still come may be saved; what comes until
        the end goes where there is room. Raises DiskFailed, at the end.
        """
        syncing = asyncio.create_task(soon_after(self._dirty, self._ending, SYNC_S, self._sync))
        try:
            await self._write_until_closed(syncing)
            self._ending.set()
            await syncing
            while self._pending:
                await to_its_end(self._flush())
            if self._dirty.is_set() or self.done or self._sent_some:
                await self._make_durable(last=True)
        except BaseException as e:  # a failing disk, or this task was cancelled
            self._ending.set()
            if isinstance(e, DiskFailed) and failing is not None:
                failing(e, self._output.durable)
                await self._rescue.begin()
                while not self._closing:  # nothing new is sent, but what is in flight is paid for
                    await self._wake.wait()
                    self._wake.clear()
                    await to_its_end(self._save_rest())
            await to_its_end(self._save_rest(last=True))
            raise
        finally:
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)
            await self.close_files()

    def close(self, *, done: bool = False) -> None:
        """End `run` after everything collected is written and durable; `done` marks the run as finished."""
        self.done = done
        self._closing = True
        self._wake.set()

    async def close_files(self) -> None:
        """Close the files; `run` does it at its end."""
        await self._output.close()
        await self._journal.file.close()

    @property
    def _pending(self) -> bool:
        return bool(self._results or self.notes or self._sent or self._unsaid or self.order.ready())

    async def _write_until_closed(self, syncing: asyncio.Task[None]) -> None:
        while not self._closing:
            wake = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait([wake, syncing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                wake.cancel()
            if syncing.done():
                syncing.result()
            if not self._closing and not self.order.ready():
                await asyncio.sleep(GROUP_S)
            self._wake.clear()
            await to_its_end(self._flush())

    async def _save_rest(self, *, last: bool = False) -> None:
        """At a bad end: save what is collected where it can be; what finds no place in the `last` try is lost."""
        async with self._journal.writing:
            results, self._results = self._results, []
            self._results = await self._rescue.save(results) + self._results
            try:
                await self._append_early({})
            except DiskFailed:
                pass  # only notes
            if last:
                self.unsaved = len(self._results)
                for r in self._results:
                    self.totals.unsaved(r.code, r.usage, r.model)
                await self._rescue.sync()

    async def _flush(self) -> None:
        """Write what was collected, and one helping of what waits."""
        async with self._journal.writing:
            if not self._pending:
                return
            results, self._results = self._results, []
            self._unsaid = False
            fresh = {r.index: r for r in results}
            try:
                await self._extend_output(fresh)
            except (DiskFailed, asyncio.CancelledError):  # what there is of the checkpoint takes all (`_save_rest`)
                self._rescue.in_step = False
                self._results = results + self._results
                raise
            try:
                await self._append_early(fresh)
            except (DiskFailed, asyncio.CancelledError):
                self._results = list(fresh.values()) + self._results
                raise
            if self.order.ready():
                self._wake.set()
            self._settle()

    async def _extend_output(self, fresh: dict[int, Result]) -> None:
        """Write what extends the unbroken run: fresh results, and one helping of those that wait."""
        order, written = self.order, self._written
        lines: list[bytes] = []
        taken = 0
        while True:
            r = fresh.pop(order.next_index, None)
            if r is not None:
                lines.append(r.line)
                written.add(r.code, r.usage, r.input_line, r.message, r.model)
                order.advance()
                continue
            helping = await self._waiting.take(self._journal.file, taken)
            if not helping:
                break
            taken += len(helping)
            for r in helping:
                lines.append(r.line)
                written.add(r.code, r.usage, r.input_line, r.message, r.model)
        if lines:
            self._sums.add(lines, await self._output.append(b"".join(lines)))

    async def _append_early(self, early: dict[int, Result]) -> None:
        """Append what was sent, and results that are not in the output: they wait there for their turn."""
        records = self.notes.take() + self._sent.records(self._wall())
        try:
            await self._waiting.add(self._journal, records, early.values())
        except DiskFailed:
            self.notes.put_back(records)
            raise

    def _settle(self) -> None:
        """Remember a state in which output and counts agree: what the next mark will say."""
        n = self.order.next_index
        self._state = Mark(
            self._wall(),
            n,
            self._output.size,
            self._entry.up_to(n),
            self._written.copy(),
            self._entry.identity,
            self.done,
            saved=self.totals.copy(),
            waiting=self.order.waiting,
            tries=self.unanswered.get(n, 0),
        )
        self._dirty.set()

    # --- making durable ----------------------------------------------------------------------------------

    async def _sync(self) -> None:
        await self._make_durable()
        if self._journal.mostly_dead(self.order.waiting):
            await self._compact()

    async def _make_durable(self, *, last: bool = False) -> None:
        if last:
            if self.done:
                self._entry.read_all()
            self._settle()
        state = self._state
        await self._output.sync()
        async with self._journal.writing:
            sums = self._sums.text(state.next_index)
            mark = structs.replace(state, since=self._sums.since, sums=sums, closed=last)
            await self._journal.append(mark_record(mark))
            self._sums.forget(state.next_index)
            await self._journal.append_index()
        await self._journal.sync()

    async def _compact(self) -> None:
        journal = self._journal
        timeline = await KeptTimeLine.of(journal.file)
        async with journal.writing:
            await journal.append(b"".join(self._sent.records(self._wall())))
            head = compact.head_of(self._header, self._state, self._sent, self._wall())
            head += self.notes.kept() + timeline.rest()
            plan = compact.Plan(journal.file)
        await journal.compact(self.order, self._output, head, plan, self._ending)
