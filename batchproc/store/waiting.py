"""Results that wait in the checkpoint: read back in helpings when their turn comes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from batchproc.core.order import InOrder
from batchproc.errors import DiskFailed
from batchproc.model import Result
from batchproc.store.checkpoint import parse_result, result_record
from batchproc.store.files import AppendFile, disk_failed
from batchproc.store.journal import Journal
from batchproc.store.reading import read_records

DRAIN = 512  # results in a helping at the most
_HELPING_BYTES = 8 << 20  # about as large may a helping be
_KEPT_BYTES = 8 << 20  # waiting results kept in memory too, to spare reading them back


class Waiting:
    """Takes results off the front of the unbroken run of `order`; each waits at its offset in the checkpoint."""

    def __init__(self, order: InOrder) -> None:
        self._order = order
        self._kept: dict[int, Result] = {}
        self._kept_bytes = 0
        self._mean = 1024.0  # bytes of a result

    def keep(self, r: Result) -> None:
        """Keep a result that was just written, if there is room."""
        if self._kept_bytes < _KEPT_BYTES:
            self._kept[r.index] = r
            self._kept_bytes += len(r.line)

    async def add(self, journal: Journal, before: list[bytes], results: Collection[Result]) -> None:
        """Append records to the checkpoint and, behind them, results, which wait there. Raises DiskFailed.

        The caller holds the journal's lock.
        """
        records = before.copy()
        start = first = journal.file.size + sum(map(len, records))
        places: list[int] = []
        for r in results:
            record = result_record(r)
            records.append(record)
            places.append(start)
            start += len(record)
        if not records:
            return
        await journal.append(b"".join(records), results, places)
        for r, where in zip(results, places, strict=True):
            self._order.put(r.index, where)
            self.keep(r)
        if places:
            journal.weigh(start - first, len(places))

    async def take(self, file: AppendFile, taken: int) -> list[Result]:
        """The next results of this helping, of which so many were taken before. Raises DiskFailed."""
        most = max(1, min(DRAIN, int(_HELPING_BYTES / self._mean))) - taken
        if most <= 0 or not self._order.ready():
            return []
        first = self._order.next_index
        offsets = self._order.take(most)
        results = [self._kept.pop(index, None) for index in range(first, first + len(offsets))]
        missing = [offset for offset, r in zip(offsets, results, strict=True) if r is None]
        read = iter(await asyncio.to_thread(_read, file, missing) if missing else [])
        found: list[Result] = []
        for index, r in enumerate(results, first):
            if r is not None:
                self._kept_bytes -= len(r.line)
            else:
                r = next(read)
                self._mean += (len(r.line) - self._mean) / 64 if r is not None else 0
            if r is None or r.index != index:
                raise DiskFailed(
                    f"the saved answer of job {index} cannot be read back from `{file.path}`",
                    "check the disk, then run the same command again: this job is asked again",
                )
            found.append(r)
        return found


def _read(file: AppendFile, offsets: list[int]) -> list[Result | None]:
    try:
        records = read_records(file.fd, offsets)
    except OSError as e:
        disk_failed("reading", file.path, e)
    return [parse_result(records[offset]) for offset in offsets]
