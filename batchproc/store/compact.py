"""Rewrite the checkpoint without its dead records, while the run goes on.

The live records are copied to a new file beside the old one; what is appended to the old file meanwhile is
copied after them, then written to both until the new file is durable; then it takes the old one's name. At
every instant the file under that name is whole, and holds every result that is not durable elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left

from batchproc.core.order import InOrder
from batchproc.store.checkpoint import (
    Header,
    Mark,
    Sent,
    header_records,
    mark_record,
    read_record,
    sent_record,
)
from batchproc.store.files import AppendFile, disk_failed, sync_folder

SUFFIX = ".compact"
_CHUNK = 4 << 20


def head_of(header: Header, state: Mark, sent: list[Sent], unanswered: dict[int, int], now: float) -> bytes:
    """The beginning of a compacted file: header, mark, and the requests that still count.

    Jobs that were sent and have no result keep their number of requests, as one group that is too old to
    count against a limit.
    """
    recent = [Sent(s.at, s.model, s.requests, s.tokens, []) for s in sent]
    indices = [i for i, n in unanswered.items() for _ in range(n)]
    old = [Sent(min(now - 86_400, state.at), "", 0, 0, indices)] if indices else []
    return header_records(header) + mark_record(state) + b"".join(map(sent_record, old + recent))


class Plan:
    """One compaction: `live` are (index, offset) of the records to keep, by index."""

    new: AppendFile

    def __init__(self, old: AppendFile, live: list[tuple[int, int]]) -> None:
        self._old = old
        self._live = sorted(offset for _, offset in live)
        self._end = old.size
        self._copied_to = old.size
        self._at: list[int] = []
        self._shift = 0

    def worth_it(self) -> bool:
        """Whether so little of the file is alive that rewriting it pays (a sample of records is weighed)."""
        if not self._live:
            return True
        sample = self._live[:: max(1, len(self._live) // 64)]
        mean = sum(len(read_record(self._old.fd, o)) for o in sample) / len(sample)
        return mean * len(self._live) * 3 < self._end

    async def copy(self, head: bytes) -> None:
        """Write head and live records to the new file. Raises DiskFailed."""
        path = self._old.path + SUFFIX
        if os.path.exists(path):
            os.unlink(path)  # left over from a run that died while compacting: never in use
        self.new = await AppendFile.open(path, self._old.executor)
        await self.new.append(head)
        chunk: list[bytes] = []
        size = 0
        at = self.new.size
        for start in range(0, len(self._live), 512):
            offsets = self._live[start : start + 512]
            records = await asyncio.to_thread(self._read, offsets)
            for record in records:
                self._at.append(at + size)
                chunk.append(record + b"\n")
                size += len(record) + 1
            if size > _CHUNK:
                await self.new.append(b"".join(chunk))
                chunk, size, at = [], 0, self.new.size
        await self.new.append(b"".join(chunk))
        self._shift = self.new.size - self._end

    def _read(self, offsets: list[int]) -> list[bytes]:
        return [read_record(self._old.fd, offset) for offset in offsets]

    async def catch_up(self) -> None:
        """Copy what was appended to the old file since. The caller keeps others from appending."""
        data = await asyncio.to_thread(os.pread, self._old.fd, self._old.size - self._copied_to, self._copied_to)
        self._copied_to += len(data)
        await self.new.append(data)

    async def replace(self) -> None:
        """Make the new file durable and give it the old one's name. Raises DiskFailed."""
        await self.new.sync()
        try:
            await asyncio.to_thread(os.replace, self.new.path, self._old.path)
        except OSError as e:
            disk_failed("replacing", self._old.path, e)
        self.new.path = self._old.path
        await asyncio.to_thread(sync_folder, self._old.path)

    def move(self, order: InOrder) -> None:
        """Tell the slots where their records are now."""
        for index, offset in order.items():
            if offset >= self._end:
                order.move(index, offset + self._shift)
            else:
                order.move(index, self._at[bisect_left(self._live, offset)])
