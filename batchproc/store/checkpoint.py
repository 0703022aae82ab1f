"""The checkpoint file: append-only JSON lines, each with a checksum.

Kinds of records, by their `kind`:

    batchproc  the header: format version and what identifies the run (model, endpoint, base URL). Written twice,
               so that one damaged spot cannot make the file unreadable.
    result     a result that finished before those in front of it: index, digest of its input line, its output line.
    sent       requests that were sent: when, which model, how many requests and tokens, which jobs.
    mark       about once a second, after an fsync of the output: where the output and the input stood, and checksums
               of the output lines written since the mark before.
    index      with a mark: where the results written since the one before stand, so that a resume need not read them.
    time       about once a second: what happened in it, for `report` (`timeline.py`).
    note       for people and for the commands that look at a run: which command runs it, what it waits for, why it
               stopped; and where a retry begins and ends.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from functools import lru_cache

import msgspec
from msgspec import Struct

from batchproc.model import Position, Result, Usage
from batchproc.resultline import read_line
from batchproc.store.input import InputIdentity
from batchproc.store.record import PREFIX, is_whole, seal
from batchproc.store.totals import Totals

VERSION = 1
_encode = msgspec.json.Encoder().encode


class Header(Struct, frozen=True):
    """What identifies a run: `identity` maps the name of a setting that changes requests to its value."""

    identity: dict[str, str | None]
    version: int = VERSION


class Mark(Struct, frozen=True):
    """Where things stood when the output was last made durable.

    The first `next_index` results are the first `output_length` bytes of the output. `at` is Unix time. `input` is
    None while the input is not known to be the one that was answered. `sums` are the CRC-32 of the output lines from
    `since` on, eight hexadecimal digits each; what earlier marks say of these lines holds no longer. `closed`: the
    process ended in order, nothing was in flight any more.

    For those who only look: `saved` are the totals of all results, also of the `waiting` ones; `tries` is how often
    the job that the output waits for was sent.
    """

    at: float
    next_index: int
    output_length: int
    position: Position
    totals: Totals
    input: InputIdentity | None = None
    done: bool = False
    since: int = 0
    sums: str = ""
    closed: bool = False
    saved: Totals | None = None
    waiting: int = 0
    tries: int = 0

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


class Told(Struct, frozen=True, omit_defaults=True):
    """A note. `at` is Unix time; `what` says which of the others mean something.

    run      a process begins: `jobs` is its input, `command` what to type in `folder` to go on
    wait     it waits for something: `why`
    stop     it ended in order: `why`, and its exit code `code`
    retry    a retry begins, of an output of `lines` lines: results that follow are newer than the output
    retried  the output holds them all
    """

    at: float
    what: str
    jobs: str = ""
    folder: str = ""
    command: str = ""
    why: str = ""
    code: int = 0
    lines: int = 0


def header_records(header: Header) -> bytes:
    """The header, twice."""
    line = seal(b'"kind":"batchproc",' + _encode(header)[1:-1])
    return line + line


def mark_record(mark: Mark) -> bytes:
    """A mark as a record."""
    return seal(b'"kind":"mark",' + _encode(mark)[1:-1])


def told_record(told: Told) -> bytes:
    """A note as a record."""
    return seal(b'"kind":"note",' + _encode(told)[1:-1])


def sent_record(sent: Sent) -> bytes:
    """A group of sent requests as a record."""
    return seal(b'"kind":"sent",' + _encode(sent)[1:-1])


def result_record(result: Result) -> bytes:
    """A result that waits, as a record. Its output line stands at the end as it will be written."""
    usage = result.usage
    return seal(
        b'"kind":"result","index":%d,"job":"%s","input_line":%d,"code":%s,"usage":[%d,%d,%d],"model":%s,"line":%s'
        % (
            result.index,
            result.digest.hex().encode(),
            result.input_line,
            _encode(result.code),
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            _encode(result.model),
            result.line[:-1],
        )
    )


RESULT = re.compile(
    rb'"kind":"result","index":(\d+),"job":"([0-9a-f]{16})","input_line":(\d+),'
    rb'"code":(null|"(?:[^"\\]|\\.)*"),"usage":\[(\d+),(\d+)(?:,(\d+))?\],(?:"model":("(?:[^"\\]|\\.)*"),)?"line":'
)


@lru_cache(maxsize=1024)
def text_of(model: bytes | None) -> str:
    """A model's name as a record has it; records of earlier versions have none."""
    return str(msgspec.json.decode(model)) if model else ""


def message_in(line: bytes) -> str:
    """The error message in a failed job's output line."""
    seen = read_line(line)
    return seen.message if seen is not None else ""


def parse_result(record: bytes) -> Result | None:
    """Read a result record (without newline) back; None if it is none or was damaged."""
    m = RESULT.match(record, PREFIX)
    if m is None or not is_whole(record):
        return None
    index, digest, at, code, input_tokens, output_tokens, cached, model = m.groups()
    line = record[m.end() : -1] + b"\n"
    key = unhexlify(digest)
    if code == b"null":
        usage = Usage(int(input_tokens), int(output_tokens), int(cached or 0))
        return Result(int(index), key, line, None, int(at), "", usage, text_of(model))
    return Result(int(index), key, line, str(msgspec.json.decode(code)), int(at), message_in(line))
