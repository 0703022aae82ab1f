"""Rewrite the checkpoint without its dead records, while the run goes on.

The live records are copied to a new file beside the old one; what is appended to the old file meanwhile is
copied after them, then written to both until the new file is durable; then it takes the old one's name. At
every instant the file under that name is whole, and holds every result that is not durable elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Callable

from batchproc.core.order import InOrder
from batchproc.store.checkpoint import Header, Mark, Sent, header_records, mark_record, sent_record
from batchproc.store.files import AppendFile, disk_failed, sync_folder
from batchproc.store.reading import read_records
from batchproc.store.sending import SentLog

SUFFIX = ".compact"
_GROUP = 512  # records copied at a time
_SLICE = 8192  # slots looked at between two turns of everybody else


def head_of(header: Header, state: Mark, sent: SentLog, now: float) -> bytes:
    """The beginning of a compacted file: header, mark, and the requests that still count.

    Jobs that were sent and have no result keep their number of requests, as one group that is too old to
    count against a limit.
    """
    indices = [i for i, n in sent.unanswered.items() for _ in range(n)]
    old = [Sent(min(now - 86_400, state.at), "", 0, 0, indices)] if indices else []
    return header_records(header) + mark_record(state) + b"".join(map(sent_record, old + sent.recent.groups(now)))


def remove_left_over(checkpoint: str) -> None:
    """Remove what a run that died while compacting left: it never was in use."""
    try:
        os.unlink(checkpoint + SUFFIX)
    except OSError:
        pass  # there is none, or it does no harm


class Plan:
    """One compaction of everything that is in the old file now; nothing may be appended while it is made."""

    def __init__(self, old: AppendFile) -> None:
        self._old = old
        self._indices = array("q")  # of the results that wait, ascending; arrays, as there may be a million
        self._live = array("q")  # where each is in the old file, and in the new one
        self._at = array("q")
        self._end = old.size
        self._copied_to = old.size
        self._shift = 0
        self.in_use = False  # the new file has taken the old one's place
        self.new: AppendFile | None = None

    async def choose(self, order: InOrder) -> None:
        """Find the live records. One that goes to the output meanwhile is copied too: that does no harm."""
        index = order.next_index
        while index < order.end:
            for i in range(index, min(index + _SLICE, order.end)):
                where = order.where(i)
                if where is not None and where < self._end:
                    self._indices.append(i)
                    self._live.append(where)
            index += _SLICE
            await asyncio.sleep(0)

    async def copy(self, head: bytes, stopped: Callable[[], bool]) -> bool:
        """Write head and live records to the new file; False if it was stopped. Raises DiskFailed."""
        remove_left_over(self._old.path)
        self.new = new = await AppendFile.open(self._old.path + SUFFIX, self._old.executor)
        await new.append(head)
        for start in range(0, len(self._live), _GROUP):
            if stopped():
                return False
            at = new.size
            records = await asyncio.to_thread(self._read, self._live[start : start + _GROUP])
            for record in records:
                self._at.append(at)
                at += len(record)
            await new.append(b"".join(records))
        self._shift = new.size - self._end
        return True

    def _read(self, offsets: array[int]) -> list[bytes]:
        try:
            records = read_records(self._old.fd, offsets)
        except OSError as e:
            disk_failed("reading", self._old.path, e)
        return [records[offset] + b"\n" for offset in offsets]

    async def catch_up(self) -> AppendFile:
        """Copy what was appended to the old file since, and return the new one. The caller keeps others from it."""
        assert self.new is not None  # noqa: S101 - copy() made it
        while self._copied_to < self._old.size:
            try:
                size = self._old.size - self._copied_to
                data = await asyncio.to_thread(os.pread, self._old.fd, size, self._copied_to)
            except OSError as e:
                disk_failed("reading", self._old.path, e)
            if not data:
                raise EOFError(f"`{self._old.path}` became shorter while it was in use")
            self._copied_to += len(data)
            await self.new.append(data)
        return self.new

    async def replace(self) -> None:
        """Make the new file durable and give it the old one's name. Raises DiskFailed."""
        assert self.new is not None  # noqa: S101 - copy() made it
        await self.new.sync()
        try:
            await asyncio.to_thread(os.replace, self.new.path, self._old.path)
        except OSError as e:
            disk_failed("replacing", self._old.path, e)
        self.new.path = self._old.path
        await asyncio.to_thread(sync_folder, self._old.path)

    async def give_up(self) -> None:
        """Remove the new file; the old one stays in use."""
        if self.new is not None:
            await self.new.close()
            remove_left_over(self._old.path)

    def move(self, order: InOrder) -> None:
        """Tell the slots where their records are now."""
        end, shift, next_index = self._end, self._shift, order.next_index
        for index in range(next_index, order.end):
            where = order.where(index)
            if where is not None and where >= end:
                order.move(index, where + shift)
        for index, at in zip(self._indices, self._at, strict=True):
            if index >= next_index:
                order.move(index, at)
