"""The checkpoint while a run writes it: appends, and now and then a compaction beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from batchproc.core.order import InOrder
from batchproc.errors import DiskFailed
from batchproc.model import Result
from batchproc.store.compact import Plan
from batchproc.store.files import AppendFile
from batchproc.store.index import IndexWriter

COMPACT_BYTES = 16 << 20  # a checkpoint smaller than this is never compacted


class Journal:
    """Appends to the checkpoint. `writing` is held by whoever writes a group to output or checkpoint.

    `record_bytes` is the size of a result record, on average.
    """

    def __init__(self, file: AppendFile, *, record_bytes: int = 0, compacts: bool = True, last_index: int = -1) -> None:
        self.file = file
        self._index = IndexWriter(file.size, last_index)
        self.writing = asyncio.Lock()
        self._mirror: AppendFile | None = None  # of a compaction that is nearly done: written as well
        self._record_bytes = float(record_bytes)
        self._compacts = compacts

    async def append(self, data: bytes, results: Collection[Result] = (), places: Sequence[int] = ()) -> None:
        """Append records, `results` last, at `places`; the caller holds `writing`. Raises DiskFailed."""
        await self.file.append(data)
        self._index.note(data, results, places)
        if self._mirror is not None:
            await self._mirror.append(data)

    async def append_index(self) -> None:
        """Append an index of what came since the last one, if that pays; the caller holds `writing`."""
        record = self._index.record()
        if record is not None:
            await self.file.append(record)
            if self._mirror is not None:
                await self._mirror.append(record)

    async def sync(self) -> None:
        """Make what was appended durable. Raises DiskFailed."""
        await self.file.sync()
        if self._mirror is not None:
            await self._mirror.sync()

    def weigh(self, size: int, records: int) -> None:
        """So many result records of this size together were appended."""
        share = 1 / 64 if self._record_bytes else 1.0
        self._record_bytes += (size / records - self._record_bytes) * share

    def mostly_dead(self, waiting: int) -> bool:
        """Whether so little of the file is alive that rewriting it pays, when so many results wait in it."""
        size = self.file.size
        return self._compacts and size > COMPACT_BYTES and waiting * self._record_bytes * 3 < size

    async def compact(self, order: InOrder, output: AppendFile, head: bytes, plan: Plan, ended: asyncio.Event) -> None:
        """Carry out a plan, or give it up when the run ends. Raises DiskFailed where the output cannot be synced."""
        await plan.choose(order)
        await output.sync()  # what is in the output by now must be durable before its record may go
        try:
            if await plan.copy(head, ended.is_set):
                async with self.writing:
                    self._mirror = await plan.catch_up()
                await to_its_end(self._swap(plan, order))
        except DiskFailed:
            self._compacts = False  # the run goes on with the file it has
        finally:
            if not plan.in_use:
                async with self.writing:
                    self._mirror = None
                await plan.give_up()

    async def _swap(self, plan: Plan, order: InOrder) -> None:
        await plan.replace()
        async with self.writing:
            old, self.file, self._mirror = self.file, self._mirror or self.file, None
            plan.in_use = True
            plan.move(order)
            self._index = IndexWriter(self.file.size)
        await old.close()


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await to the end also when cancelled meanwhile; the cancellation is passed on after that."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def soon_after(
    dirty: asyncio.Event, ending: asyncio.Event, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Do the work so many seconds after `dirty` was set, again and again, until the end."""
    ended = asyncio.ensure_future(ending.wait())
    try:
        while not ending.is_set():
            woken = asyncio.ensure_future(dirty.wait())
            try:
                await asyncio.wait([woken, ended], return_when=asyncio.FIRST_COMPLETED)
            finally:
                woken.cancel()
            await asyncio.wait([ended], timeout=seconds)
            if not ending.is_set():
                dirty.clear()
                await work()
    finally:
        ended.cancel()
