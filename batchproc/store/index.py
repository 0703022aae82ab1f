"""A table of contents inside the checkpoint: so that a resume need not look at a million records one by one.

With each mark goes a record of the kind `index`. It covers the bytes written since the one before: where its result
records stand, which jobs they are of, what they add up to, and where other records stand. The records themselves stay
what they were. A reader that does not know it passes it over; one that does believes it only where the checksum over
all the bytes it covers holds, and reads record by record wherever that, or anything else, does not fit.
"""

from __future__ import annotations

import os
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Sequence

import msgspec
from msgspec import Struct

from batchproc.model import Result
from batchproc.store.reading import read_record, whole_lines
from batchproc.store.record import PREFIX, is_whole, seal
from batchproc.store.totals import Totals

_OPENING = b'"kind":"index",'
_FEW = 200  # results for which it does not pay
_TAIL = 1 << 20  # bytes at the end of a checkpoint in which the last one is looked for
_encode = msgspec.json.Encoder().encode


class Index(Struct, frozen=True):
    """What stands in the bytes from `start` to `end`, where it stands itself; `prev` is the index before, or −1.

    `check` is their CRC-32. `jobs` and `places` are indices of results from `first` on and where their records begin,
    from `start` on (32 bits each), `digests` are those of their input lines (64 bits); all in base64. `others` are
    (offset from `start`, length) of whatever else stands there.
    """

    start: int
    end: int
    prev: int
    check: int
    first: int
    last: int
    jobs: str
    places: str
    digests: str
    others: list[tuple[int, int]]
    totals: Totals

    def entries(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Indices from `first` on, places from `start` on, and digests, of the same results."""
        return _unpacked("I", self.jobs), _unpacked("I", self.places), _unpacked("Q", self.digests)

    def holds(self, fd: int) -> bool:
        """Whether the bytes it covers are as they were written. Raises OSError."""
        check, at = 0, self.start
        while at < self.end and (data := os.pread(fd, min(1 << 22, self.end - at), at)):
            check = zlib.crc32(data, check)
            at += len(data)
        return at == self.end and check == self.check


_DECODER = msgspec.json.Decoder(Index)


class IndexWriter:
    """Collects what is appended to a checkpoint from byte `at` on; `prev` is the offset of its last index."""

    def __init__(self, at: int, prev: int = -1) -> None:
        self._prev = prev
        self._begin(at)

    def _begin(self, at: int) -> None:
        self._start = self._end = at
        self._check = 0
        self._results: list[int] = []
        self._places = array("I")
        self._digests = array("Q")
        self._others: list[tuple[int, int]] = []
        self._totals = Totals()

    def note(self, data: bytes, results: Collection[Result] = (), places: Sequence[int] = ()) -> None:
        """`data` was appended: other records, then those of `results` at `places` in the file."""
        others = places[0] - self._end if places else len(data)
        if others:
            self._others.append((self._end - self._start, others))
        for r, place in zip(results, places, strict=True):
            self._results.append(r.index)
            self._places.append(place - self._start)
            self._digests.append(int.from_bytes(r.digest, "big"))
            self._totals.add(r.code, r.usage, r.input_line, r.message, r.model)
        self._check = zlib.crc32(data, self._check)
        self._end += len(data)

    def record(self) -> bytes | None:
        """An index of what was collected, to be appended now; None where that would not pay yet."""
        if len(self._results) < _FEW:
            return None
        first, last = min(self._results), max(self._results)
        jobs = array("I", [i - first for i in self._results])
        index = Index(
            self._start,
            self._end,
            self._prev,
            self._check,
            first,
            last,
            _packed(jobs),
            _packed(self._places),
            _packed(self._digests),
            self._others,
            self._totals,
        )
        record = seal(_OPENING + _encode(index)[1:-1])
        self._prev = self._end
        self._begin(self._end + len(record))
        return record


def read_indices(path: str) -> tuple[list[Index], int]:
    """The indices of a checkpoint in their order, and where the last of them stands (−1: there is none).

    Raises OSError.
    """
    found: list[Index] = []
    with open(path, "rb", buffering=0) as f:
        index, last = _last(f.fileno())
        while index is not None and (not found or index.end <= found[-1].start):
            found.append(index)
            index = _read(f.fileno(), index.prev) if 0 <= index.prev < index.start else None
    return found[::-1], last


def outside(path: str, indices: list[Index]) -> Iterator[tuple[int, bytes]]:
    """(offset, whole lines) of all that stands beside the results that the indices tell of. Raises OSError."""
    at = 0
    with open(path, "rb", buffering=0) as f:
        for index in indices:
            yield from _blocks(path, at, index.start)
            for offset, length in index.others:
                yield index.start + offset, os.pread(f.fileno(), length, index.start + offset)
            at = index.end
    yield from _blocks(path, at, None)


def _blocks(path: str, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    for block in whole_lines(path, start, stop):
        yield start, block
        start += len(block)


def _last(fd: int) -> tuple[Index | None, int]:
    """The last index that is whole, if it is near the end, and where it begins."""
    size = os.fstat(fd).st_size
    tail = _TAIL
    while True:
        begin = max(0, size - tail)
        data = os.pread(fd, size - begin, begin)
        at = data.rfind(_OPENING)
        while at >= 0:
            start = data.rfind(b"\n", 0, at) + 1
            if at == start + PREFIX and (start or not begin):
                index = _read(fd, begin + start)
                if index is not None:
                    return index, begin + start
            at = data.rfind(_OPENING, 0, at)
        if not begin or tail >= 16 * _TAIL:
            return None, -1
        tail *= 4


def _read(fd: int, at: int) -> Index | None:
    """The index at this offset, if there is one."""
    line = read_record(fd, at)
    if line[PREFIX : PREFIX + len(_OPENING)] != _OPENING or not is_whole(line):
        return None
    try:
        index = _DECODER.decode(line)
    except msgspec.DecodeError:
        return None
    return index if 0 <= index.start <= index.end == at else None  # else it was copied here, by a compaction


def _packed(values: array[int]) -> str:
    return b64encode(values.tobytes()).decode()


def _unpacked(kind: str, text: str) -> array[int]:
    values = array(kind)
    try:
        values.frombytes(b64decode(text))
    except ValueError:
        return array(kind)
    return values
