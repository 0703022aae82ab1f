"""The checkpoint file: append-only JSON lines, each with a checksum.

Kinds of records, by their `kind`:

    batchproc  the header: format version and what identifies the run (model, endpoint, base URL). Written twice,
               so that one damaged spot cannot make the file unreadable.
    result     a result that finished before those in front of it: index, digest of its input line, its output line.
    sent       requests that were sent: when, which model, how many requests and tokens, which jobs.
    mark       about once a second, after an fsync of the output: where the output and the input stood.
"""

from __future__ import annotations

import mmap
import os
import re
from array import array
from collections.abc import Iterator

import msgspec
from msgspec import Struct, field

from batchproc.model import NO_USAGE, Position, Result, Usage
from batchproc.store.input import InputIdentity
from batchproc.store.record import PREFIX, is_whole, seal

VERSION = 1
_encode = msgspec.json.Encoder().encode


class Header(Struct, frozen=True):
    """What identifies a run: `identity` maps the name of a setting that changes requests to its value."""

    identity: dict[str, str | None]
    version: int = VERSION


class ErrorCount(Struct):
    """How many jobs failed with one code, and the first of them."""

    count: int
    line: int  # physical input line of the first
    message: str


class Totals(Struct):
    """What the results so far add up to. Tokens as the provider reported them."""

    succeeded: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: dict[str, ErrorCount] = field(default_factory=dict)

    def add(self, code: str | None, usage: Usage, line: int, message: str) -> None:
        """Count one result."""
        if code is None:
            self.succeeded += 1
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens
            return
        self.failed += 1
        known = self.errors.get(code)
        if known is not None:
            known.count += 1
            if line and (line < known.line or not known.line):
                known.line, known.message = line, message[:200]
        elif len(self.errors) < 100:
            self.errors[code] = ErrorCount(1, line, message[:200])

    def copy(self) -> Totals:
        """An independent copy."""
        errors = {k: ErrorCount(e.count, e.line, e.message) for k, e in self.errors.items()}
        return Totals(self.succeeded, self.failed, self.input_tokens, self.output_tokens, errors)


class Mark(Struct, frozen=True):
    """Where things stood when the output was last made durable.

    The first `next_index` results are the first `output_length` bytes of the output. `at` is Unix time.
    """

    at: float
    next_index: int
    output_length: int
    position: Position
    totals: Totals
    input: InputIdentity | None = None
    done: bool = False

    def written(self) -> Totals:
        """The totals of the results in the output, as a copy that may be counted on."""
        return self.totals.copy()


class Sent(Struct, frozen=True):
    """Requests sent within one group: Unix time, model, requests, tokens, indices of their jobs.

    `undone` are jobs noted as sent before whose request never reached the server.
    """

    at: float
    model: str
    requests: int
    tokens: int
    jobs: list[int]
    undone: list[int] = []


def header_records(header: Header) -> bytes:
    """The header, twice."""
    line = seal(b'"kind":"batchproc",' + _encode(header)[1:-1])
    return line + line


def mark_record(mark: Mark) -> bytes:
    """A mark as a record."""
    return seal(b'"kind":"mark",' + _encode(mark)[1:-1])


def sent_record(sent: Sent) -> bytes:
    """A group of sent requests as a record."""
    return seal(b'"kind":"sent",' + _encode(sent)[1:-1])


def result_record(result: Result) -> bytes:
    """A result that waits, as a record. Its output line stands at the end as it will be written."""
    usage = result.usage
    return seal(
        b'"kind":"result","index":%d,"job":"%s","input_line":%d,"code":%s,"usage":[%d,%d],"line":%s'
        % (
            result.index,
            result.digest.hex().encode(),
            result.input_line,
            _encode(result.code),
            usage.input_tokens,
            usage.output_tokens,
            result.line[:-1],
        )
    )


_RESULT = re.compile(
    rb'"kind":"result","index":(\d+),"job":"([0-9a-f]{16})","input_line":(\d+),'
    rb'"code":(null|"(?:[^"\\]|\\.)*"),"usage":\[(\d+),(\d+)\],"line":'
)


def parse_result(record: bytes) -> Result | None:
    """Read a result record (without newline) back; None if it is none or was damaged."""
    m = _RESULT.match(record, PREFIX)
    if m is None or not is_whole(record):
        return None
    code = None if m[4] == b"null" else str(msgspec.json.decode(m[4]))
    return Result(
        index=int(m[1]),
        digest=bytes.fromhex(m[2].decode()),
        line=record[m.end() : -1] + b"\n",
        code=code,
        input_line=int(m[3]),
        usage=NO_USAGE if code else Usage(int(m[5]), int(m[6])),
    )


class Scan(Struct):
    """What a checkpoint file holds. `size` is where its last whole record ends; `damaged` counts bad lines before."""

    header: Header | None = None
    mark: Mark | None = None
    sent: list[Sent] = field(default_factory=list)
    size: int = 0
    damaged: int = 0
    indices: array[int] = field(default_factory=lambda: array("q"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    digests: array[int] = field(default_factory=lambda: array("Q"))


_HEADER = msgspec.json.Decoder(Header)
_MARK = msgspec.json.Decoder(Mark)
_SENT = msgspec.json.Decoder(Sent)


def _lines(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """(offset, line without newline) of each line that ends in a newline."""
    if not size:
        return
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as data:
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            yield start, data[start:end]
            start = end + 1


def scan(path: str) -> Scan:
    """Read a checkpoint; damaged records are counted and passed over. Raises OSError."""
    found = Scan()
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    bad = 0
    try:
        for offset, line in _lines(fd, os.fstat(fd).st_size):
            if is_whole(line) and _note(found, offset, line):
                found.size = offset + len(line) + 1
                found.damaged += bad
                bad = 0
            else:
                bad += 1
    finally:
        os.close(fd)
    return found


def _note(found: Scan, offset: int, line: bytes) -> bool:
    kind = line[PREFIX + 8 : PREFIX + 12]
    if kind == b"resu":
        m = _RESULT.match(line, PREFIX)
        if m is None:
            return False
        found.indices.append(int(m[1]))
        found.offsets.append(offset)
        found.digests.append(int(m[2], 16))
        return True
    try:
        if kind == b"sent":
            found.sent.append(_SENT.decode(line))
        elif kind == b"mark":
            found.mark = _MARK.decode(line)
        elif kind == b"batc":
            found.header = _HEADER.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def read_record(fd: int, offset: int, size: int = 1 << 14) -> bytes:
    """The record at `offset`, without its newline. Raises OSError."""
    data = os.pread(fd, size, offset)
    while (end := data.find(b"\n")) < 0:
        more = os.pread(fd, max(size, len(data)), offset + len(data))
        if not more:
            break
        data += more
    return data[:end] if end >= 0 else data
