"""The answers of one shard, job by job, from all its attempts: the first whole answer of a job wins."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct

from batchproc.errors import FilesDoNotFit, InputChanged
from batchproc.model import NO_USAGE, RawLine
from batchproc.resultline import Seen, is_answer, read_line
from batchproc.store.attempts import Attempt, copied_in
from batchproc.store.checkpoint import parse_result
from batchproc.store.reading import lines_of, read_record
from batchproc.store.recover import Recovered, recover
from batchproc.store.scan import read_marks
from batchproc.store.sums import SUMMED_BYTES, LineSums
from batchproc.store.totals import Totals


class Found(Struct):
    """A job's line as its attempt wrote it, and what it says; `again` are answers that were paid for besides."""

    line: bytes
    seen: Seen
    again: list[Seen]


class Source:
    """The answers of the attempts of one shard. Raises DiskFailed, OSError.

    `totals` is what its answers add up to where that is known: they need not be read for it.
    """

    def __init__(self, attempts: list[Attempt]) -> None:
        alone = len(attempts) == 1 and attempts[0].complete
        self.totals: Totals | None = attempts[0].totals if alone else None
        self._readers = [_Reader(a) for a in attempts if a.status is not None]

    def take(self, local: int, raw: RawLine) -> Found | None:
        """The result of the job with this index in the shard, asked for one after another; None where there is none.

        Raises InputChanged, FilesDoNotFit, OSError.
        """
        best: Found | None = None
        paid: list[Seen] = []
        for reader in self._readers:
            got = reader.take(local, raw, glance=self.totals is not None)
            if got is None:
                continue
            line, seen = got
            if seen.code is None and not reader.copied(local):
                paid.append(seen)
            if best is None or (best.seen.code is not None and seen.code is None):
                best = Found(line, seen, [])
        if best is not None:
            best.again = paid[1:]
        return best

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            reader.close()


class _Reader:
    """One attempt: its output line by line; where it is unfinished, what waits in its checkpoint after that."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        path = attempt.path
        self._lines: Iterator[tuple[int, bytes]] = lines_of(path) if os.path.exists(path) else iter(())
        self._waiting: Recovered | None = None
        self._fd = -1
        if not attempt.complete:
            self._waiting = recover(path, attempt.checkpoint)
            self._fd = os.open(attempt.checkpoint, os.O_RDONLY)
        small = os.path.exists(path) and os.path.getsize(path) <= SUMMED_BYTES
        self._sums = read_marks(attempt.checkpoint, sums=True).sums if small else LineSums()
        copied = copied_in(attempt)
        self._copied_lines = copied.lines
        self._copied = frozenset(copied.others)

    def copied(self, local: int) -> bool:
        """Whether this result was copied from another attempt."""
        return local < self._copied_lines or local in self._copied

    def take(self, local: int, raw: RawLine, *, glance: bool) -> tuple[bytes, Seen] | None:
        """The result of a job; with `glance` without its usage. Raises InputChanged, FilesDoNotFit, OSError."""
        following = next(self._lines, (0, None))[1]
        if following is not None and not self._sums.fits(local, following):
            following, self._lines = None, iter(())  # not as it was written: nothing behind it can be told
        if glance and following is not None and is_answer(following, local, raw.digest):
            return following, Seen(local, raw.digest, None, "", NO_USAGE)
        for line in (following, self._kept(local)):
            seen = read_line(line) if line is not None else None
            if line is not None and seen is not None and seen.index == local and seen.digest == raw.digest:
                return line, seen
            if seen is not None and seen.index == local and self._attempt.complete:
                raise InputChanged(
                    f"line {raw.line} of the input (job {raw.index}) is answered in `{self._attempt.path}`, and reads "
                    "differently now",
                    "put the input back that was cut into shards; `--jobs FILE` says where it is",
                )
            if line is not None:
                self._lines = iter(())  # damaged: nothing behind it can be told
        if self._attempt.complete:
            raise FilesDoNotFit(
                f"`{self._attempt.path}` is damaged at line {local + 1}", "run this shard again: it mends what is there"
            )
        return None

    def _kept(self, local: int) -> bytes | None:
        """A result that waits in the checkpoint."""
        where = self._waiting.order.where(local) if self._waiting is not None else None
        if where is None:
            return None
        result = parse_result(read_record(self._fd, where))
        return result.line[:-1] if result is not None and result.index == local else None

    def close(self) -> None:
        """Close the checkpoint."""
        if self._fd >= 0:
            os.close(self._fd)
