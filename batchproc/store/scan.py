"""Read a checkpoint whole: each record is checked, what is damaged is counted and passed over."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import Struct, field

from batchproc.core.order import InOrder
from batchproc.model import NO_USAGE, Result, Usage
from batchproc.store.checkpoint import RESULT, Header, Mark, Sent, Told, message_in, parse_result, text_of
from batchproc.store.digests import Digests
from batchproc.store.index import Index, outside, read_indices
from batchproc.store.reading import lines_of, parts_of, read_record
from batchproc.store.record import PREFIX, is_whole
from batchproc.store.sending import SentBefore
from batchproc.store.sums import LineSums
from batchproc.store.totals import Totals

_HEADER = msgspec.json.Decoder(Header)
_MARK = msgspec.json.Decoder(Mark)
_SENT = msgspec.json.Decoder(Sent)
_TOLD = msgspec.json.Decoder(Told)
_RESULT_KIND = b'"kind":"result"'
_MARK_KIND = b'"kind":"mark"'
_SENT_KIND = b'"kind":"sent"'
_NOTE_KIND = b'"kind":"note"'
_HEADER_KIND = b'"kind":"batchproc"'
_CLOSED = b'"closed":true'
_OPENING = b'{"crc":"'


class Marks(Struct):
    """What the marks of a checkpoint say: the last one, and the checksums of output lines; and what its notes say.

    `told` is the last note of each kind, as far as it holds: a new process begins without waits and stops. `retry` is
    set while a retry is not through; its results begin at byte `retry_from`. `header` is the newest one: a run that
    went on with other settings (`--accept-changes`) wrote one of its own.
    """

    header: Header | None = None
    last: Mark | None = None
    sums: LineSums = field(default_factory=LineSums)
    told: dict[str, Told] = field(default_factory=dict)
    retry: Told | None = None
    retry_from: int = 0


class Scan(Struct):
    """What else a checkpoint holds.

    `size` is where its last whole record ends; `damaged` counts bad lines before that. `results` and
    `result_bytes` count the result records. `loose` are results whose records are whole but do not stand on a line
    of their own; `loose_tail`: some of them stand behind `size`. `closed`: the last process ended in order.
    """

    digests: Digests
    header: Header | None = None
    sent: SentBefore = field(default_factory=SentBefore)
    size: int = 0
    damaged: int = 0
    results: int = 0
    result_bytes: int = 0
    loose: list[Result] = field(default_factory=list)
    loose_tail: bool = False
    closed: bool = False
    last_index: int = -1  # where the last index stands


def read_marks(path: str, *, sums: bool) -> Marks:
    """Look for header, marks and notes only; `sums`: checksums of output lines too. Raises OSError."""
    found = Marks()
    for offset, block in outside(path, read_indices(path)[0]):
        for _, line in _records_of(block, _HEADER_KIND):
            _note_header(found, line)
        for _, line in _records_of(block, _MARK_KIND):
            _note_mark(found, line, sums)
        for end, line in _records_of(block, _NOTE_KIND):
            _note_told(found, line, offset + end + 1)
    return found


def sent_records(block: bytes) -> Iterator[Sent]:
    """The notes of requests in a block of whole lines."""
    for _, line in _records_of(block, _SENT_KIND):
        try:
            yield _SENT.decode(line)
        except msgspec.DecodeError:
            pass  # damaged


def _records_of(block: bytes, kind: bytes) -> Iterator[tuple[int, bytes]]:
    """(end, record) of the whole records of one kind."""
    at = block.find(kind)
    while at >= 0:
        start = block.rfind(b"\n", 0, at) + 1
        end = block.find(b"\n", at)
        if at == start + PREFIX and is_whole(line := block[start:end]):
            yield end, line
        at = block.find(kind, end)


def _note_header(found: Marks, line: bytes) -> None:
    try:
        found.header = _HEADER.decode(line)
    except msgspec.DecodeError:
        pass  # of a version that is not known here: whoever goes on with it says so


def _note_mark(found: Marks, line: bytes, sums: bool) -> None:
    try:
        mark = _MARK.decode(line)
    except msgspec.DecodeError:
        return
    found.last = mark
    if sums:
        found.sums.replace(mark.since, mark.sums)


def _note_told(found: Marks, line: bytes, end: int) -> None:
    try:
        told = _TOLD.decode(line)
    except msgspec.DecodeError:
        return
    if told.what == "run":
        found.told.clear()
    elif told.what == "retry":
        found.retry, found.retry_from = told, end
    elif told.what == "retried":
        found.retry = None
    found.told[told.what] = told


def scan(path: str, order: InOrder, totals: Totals, start: int = 0) -> Scan:
    """Read a checkpoint from byte `start` on; results that are not in `order` yet are put there and counted.

    Raises OSError.
    """
    found = Scan(Digests(order.next_index))
    reader = _Reader(path, order, totals, found)
    indices, found.last_index = read_indices(path) if not start else ([], -1)
    with open(path, "rb", buffering=0) as f:
        for index in indices:
            if _covers(index, order, f.fileno()):
                reader.read(start, index.start)
                start = index.end if reader.take_all(index, f.fileno()) else index.start
    reader.read(start, None)
    reader.end()
    return found


def _covers(index: Index, order: InOrder, fd: int) -> bool:
    """Whether the index says all there is to say: of results that are all written, or all wait; and all are whole."""
    return (index.last < order.next_index or index.first >= order.next_index) and index.holds(fd)


class _Reader:
    """Reads parts of a checkpoint one after another."""

    def __init__(self, path: str, order: InOrder, totals: Totals, found: Scan) -> None:
        self._path = path
        self._order = order
        self._totals = totals
        self._found = found
        self._take = _taker(path, order, totals, found)
        self._rest: list[bytes] = []
        self._bad: list[bytes] = []

    def read(self, start: int, end: int | None) -> None:
        """Read every record from one byte to another."""
        self._lines(lines_of(self._path, start, self._rest, end))

    def take_all(self, index: Index, fd: int) -> bool:
        """Take what an index tells of; False where it cannot be, since a result is there twice. Raises OSError."""
        found, order = self._found, self._order
        if index.first >= order.next_index:
            jobs, places, digests = index.entries()
            start = index.start
            if not order.put_many(index.first, index.last, jobs, [start + p for p in places]):
                return False
            found.digests.put_many(index.first, index.last, jobs, digests)
            self._totals.merge(index.totals)
        others = 0
        for offset, length in index.others:
            self._lines(_placed(os.pread(fd, length, index.start + offset), index.start + offset))
            others += length
        found.results += index.totals.succeeded + index.totals.failed
        found.result_bytes += index.end - index.start - others
        found.size = index.end
        return True

    def end(self) -> None:
        """Nothing comes any more."""
        loose = len(self._found.loose)
        _mend(self._found, [*self._bad, *self._rest])
        self._found.loose_tail = len(self._found.loose) > loose

    def _lines(self, lines: Iterable[tuple[int, bytes]]) -> None:
        found, take, bad = self._found, self._take, self._bad
        end = PREFIX + len(_RESULT_KIND)
        crc32 = zlib.crc32
        size = found.size
        for offset, line in lines:
            if line[PREFIX:end] == _RESULT_KIND:  # by far the most: checked in place
                good = line[:PREFIX] == b'{"crc":"%08x",' % crc32(line[PREFIX:]) and take(offset, line)
            else:
                good = is_whole(line) and _note(found, line)
            if good:
                size = offset + len(line) + 1
                if bad:
                    found.damaged += len(bad)
                    _mend(found, bad)
                    bad.clear()
            else:
                bad.append(line)
        found.size = size


def _placed(lines: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    for line in lines.split(b"\n")[:-1]:
        yield at, line
        at += len(line) + 1


def _taker(path: str, order: InOrder, totals: Totals, found: Scan) -> Callable[[int, bytes], bool]:
    """A function that takes a result record whose checksum holds."""
    match, put, put_digest = RESULT.match, order.put, found.digests.put
    next_index = order.next_index

    def take(offset: int, line: bytes) -> bool:
        m = match(line, PREFIX)
        if m is None:
            return False
        number, digest, at, code, input_tokens, output_tokens, cached, model = m.groups()
        index = int(number)
        found.results += 1
        found.result_bytes += len(line)
        if index < next_index:
            return True
        try:
            put(index, offset)
        except ValueError:  # it is there twice: a retry brought a newer one
            _take_back(path, order.where(index) or 0, totals)
            order.move(index, offset)
        put_digest(index, int(digest, 16))
        if code == b"null":
            usage = Usage(int(input_tokens), int(output_tokens), int(cached or 0))
            totals.add(None, usage, 0, "", text_of(model))
        else:
            text = str(msgspec.json.decode(code))
            totals.add(text, NO_USAGE, int(at), message_in(line[m.end() : -1]))
        return True

    return take


def _take_back(path: str, offset: int, totals: Totals) -> None:
    """Count a result no longer."""
    with open(path, "rb", buffering=0) as f:
        r = parse_result(read_record(f.fileno(), offset))
    if r is not None:
        totals.take_back(r.code, r.usage, r.model)


def _note(found: Scan, line: bytes) -> bool:
    kind = line[PREFIX + 8 : PREFIX + 12]
    try:
        if kind == b"sent":
            sent = _SENT.decode(line)
            found.sent.add(sent)
            found.closed = found.closed and not sent.requests
        elif kind == b"mark":
            found.closed = _CLOSED in line
        elif kind == b"batc":
            found.header = _HEADER.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def _mend(found: Scan, bad: list[bytes]) -> None:
    """Take from damaged lines the results that are whole: only the newline beside them was hit."""
    for line in bad:
        for part in parts_of(line, _OPENING):
            r = parse_result(part)
            if r is not None:
                found.loose.append(r)
