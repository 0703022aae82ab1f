"""The time line of a run in its checkpoint: records of kind `time`, a few buckets each.

They are read by `batchproc report`, and by a compaction, which keeps them as one time line of bounded length.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from batchproc.core.timeline import Bucket, TimeLine
from batchproc.store.files import AppendFile
from batchproc.store.record import PREFIX, is_whole, seal

_KIND = b'"kind":"time"'
_BLOCK = 1 << 20
_LONGEST = 8 << 20  # no time record is so long, but a result may be
_KEPT = 4 << 20  # what a compaction keeps: far less than what makes it worth another one
_BESIDE = 16  # buckets of a compacted time line that share a record


class _Time(Struct):
    width: int  # seconds
    buckets: list[Bucket]


_encode = msgspec.json.Encoder().encode
_DECODER = msgspec.json.Decoder(_Time)


def time_record(width: int, buckets: list[Bucket]) -> bytes:
    """Buckets that each cover `width` seconds, as a record."""
    return seal(_KIND + b"," + _encode(_Time(width, buckets))[1:-1])


def read_timeline(fd: int, into: TimeLine, start: int = 0, end: int | None = None) -> int:
    """Add the time records from byte `start` to `end` of a checkpoint; returns where the next ones begin.

    What is torn or damaged is passed over. Raises OSError.
    """
    for record in _records(fd, start, end if end is not None else os.fstat(fd).st_size):
        try:
            time = _DECODER.decode(record)
        except msgspec.MsgspecError:
            continue  # of a newer batchproc
        if time.width > 0 and time.width & (time.width - 1) == 0:
            for bucket in time.buckets:
                into.add(bucket, time.width)
    return end if end is not None else start


def timeline_records(timeline: TimeLine) -> bytes:
    """A whole time line."""
    buckets = timeline.ordered()
    return b"".join(time_record(timeline.width, buckets[i : i + _BESIDE]) for i in range(0, len(buckets), _BESIDE))


def _records(fd: int, start: int, end: int) -> Iterator[bytes]:
    """The whole time records of a part of the file."""
    carry = b""
    while start < end:
        block = os.pread(fd, min(_BLOCK, end - start), start)
        if not block:
            return
        start += len(block)
        cut = block.rfind(b"\n") + 1
        if not cut:
            carry = carry + block if len(carry) < _LONGEST else b""
            continue
        data, carry = carry + block[:cut], block[cut:]
        at = data.find(_KIND)
        while at >= 0:
            begins = data.rfind(b"\n", 0, at) + 1
            ends = data.find(b"\n", at)
            if at == begins + PREFIX and is_whole(record := data[begins:ends]):
                yield record
            at = data.find(_KIND, ends)


class KeptTimeLine:
    """The time line that a compaction keeps: most of it is read while others write on, `rest` when they may not."""

    def __init__(self, file: AppendFile) -> None:
        self._file = file
        self._read = 0
        self._timeline = TimeLine()

    @classmethod
    async def of(cls, file: AppendFile) -> KeptTimeLine:
        """Read what is in the checkpoint by now."""
        kept = cls(file)
        await asyncio.to_thread(kept._read_on, file.size)
        return kept

    def rest(self) -> bytes:
        """Read what was written since, and return all of it as records, coarser where that is much."""
        self._read_on(self._file.size)
        while len(records := timeline_records(self._timeline)) > _KEPT:
            self._timeline.coarsen()
        return records

    def _read_on(self, end: int) -> None:
        try:
            self._read = read_timeline(self._file.fd, self._timeline, self._read, end)
        except OSError:
            pass  # a time line with a hole is no reason to end a run
