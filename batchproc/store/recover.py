"""Read output and checkpoint of an earlier run, cut what is torn, and say where to go on."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct, field

from batchproc.core.order import InOrder
from batchproc.model import Position, Result
from batchproc.resultline import Seen, digest_in, read_line
from batchproc.store.checkpoint import (
    Mark,
    Scan,
    Sent,
    Totals,
    parse_result,
    read_record,
    result_record,
    scan,
)
from batchproc.store.files import disk_failed

_CHECK_ALL_BYTES = 32 << 20  # an output up to this size is read whole on a resume
_BLOCK = 1 << 20


class Recovered(Struct):
    """Where an earlier run stands. `salvaged` are records to append to the checkpoint before going on."""

    order: InOrder
    output_size: int
    checkpoint_size: int
    totals: Totals
    written: Totals
    mark: Mark | None
    sent: list[Sent]
    unanswered: dict[int, int]
    digests: dict[int, bytes]
    salvaged: list[bytes]
    notes: list[str] = field(default_factory=list)


def lines_of(path: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, line without newline) of every line that ends in a newline, from byte `start` on."""
    with open(path, "rb", buffering=0) as f:
        f.seek(start)
        carry = b""
        while block := f.read(_BLOCK):
            pieces = (carry + block).split(b"\n")
            carry = pieces.pop()
            for piece in pieces:
                yield start, piece
                start += len(piece) + 1


def has_lines(path: str) -> bool:
    """Whether a file exists and is not empty."""
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False


def recover(output: str, checkpoint: str) -> tuple[Scan | None, Recovered]:
    """Read both files; nothing is changed yet. Raises DiskFailed where they cannot be read."""
    try:
        found = scan(checkpoint) if os.path.exists(checkpoint) else None
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    try:
        return found, _recover(output, checkpoint, found or Scan())
    except OSError as e:
        disk_failed("reading", output, e)


class _Tail(Struct):
    """What the output holds from some line on."""

    next_index: int
    size: int
    written: Totals
    salvaged: list[tuple[Seen, bytes]] = field(default_factory=list)
    damaged: int = 0


def _recover(output: str, checkpoint: str, found: Scan) -> Recovered:
    size = os.path.getsize(output) if os.path.exists(output) else 0
    mark = found.mark
    notes: list[str] = []
    start = _Tail(0, 0, Totals())
    if mark is not None and size > _CHECK_ALL_BYTES and _ends_a_line(output, mark, size):
        start = _Tail(mark.next_index, mark.output_length, mark.written())
    tail = _read_tail(output, start) if size else start
    if mark is not None and tail.next_index < mark.next_index:
        notes.append(f"the output lost {mark.next_index - tail.next_index} lines that were written before")
    if found.damaged:
        notes.append(f"{found.damaged} damaged records in `{checkpoint}` are not used")
    if tail.damaged:
        notes.append(f"the output is damaged at line {tail.next_index + 1}: it is cut there and mended")
    order = InOrder(tail.next_index)
    totals = tail.written.copy()
    digests = _take_early(checkpoint, found, order, totals)
    salvaged = [
        result_record(_as_result(seen, line))
        for seen, line in tail.salvaged
        if seen.digest is not None and seen.index >= tail.next_index and seen.index not in order
    ]
    return Recovered(
        order=order,
        output_size=tail.size,
        checkpoint_size=found.size,
        totals=totals,
        written=tail.written,
        mark=mark,
        sent=found.sent,
        unanswered=_unanswered(found.sent, order),
        digests=digests,
        salvaged=salvaged,
        notes=notes,
    )


def _ends_a_line(output: str, mark: Mark, size: int) -> bool:
    """Whether the output has, where the mark says so, the end of the line that the mark says."""
    if not mark.output_length:
        return True
    if size < mark.output_length:
        return False
    start = max(0, mark.output_length - (4 << 20))
    with open(output, "rb") as f:
        f.seek(start)
        data = f.read(mark.output_length - start)
    if not data.endswith(b"\n"):
        return False
    before = data.rfind(b"\n", 0, -1)
    if before < 0 and start > 0:
        return True  # a line of more than 4 MiB: its end is all that is looked at
    seen = read_line(data[before + 1 : -1])
    return seen is not None and seen.index == mark.next_index - 1


def _read_tail(output: str, tail: _Tail) -> _Tail:
    """Read the output from where `tail` stands; stop counting at the first line that is not the next one."""
    broken = False
    bad = 0
    for offset, line in lines_of(output, tail.size):
        seen = read_line(line)
        if seen is None:
            broken = True
            bad += 1
        elif not broken and seen.index == tail.next_index:
            tail.next_index += 1
            tail.size = offset + len(line) + 1
            tail.written.add(seen.code, seen.usage, seen.index + 1, seen.message)
        else:
            broken = True
            tail.salvaged.append((seen, line))
    tail.damaged = bad if tail.salvaged else 0
    return tail


def _as_result(seen: Seen, line: bytes) -> Result:
    return Result(seen.index, seen.digest or b"", line + b"\n", seen.code, 0, seen.message, seen.usage)


def _take_early(checkpoint: str, found: Scan, order: InOrder, totals: Totals) -> dict[int, bytes]:
    """Put the checkpoint's results that are not in the output into their slots; returns their digests."""
    digests: dict[int, bytes] = {}
    if not found.indices:
        return digests
    fd = os.open(checkpoint, os.O_RDONLY)
    try:
        for index, offset, digest in zip(found.indices, found.offsets, found.digests, strict=True):
            if index in order:
                continue
            r = parse_result(read_record(fd, offset))
            if r is None:
                continue
            order.put(index, offset)
            totals.add(r.code, r.usage, r.input_line, r.message)
            digests[index] = digest.to_bytes(8, "big")
    finally:
        os.close(fd)
    return digests


def _unanswered(sent: list[Sent], order: InOrder) -> dict[int, int]:
    """How many requests were sent for jobs that have no result."""
    counts: dict[int, int] = {}
    for group in sent:
        for index in group.jobs:
            if index not in order:
                counts[index] = counts.get(index, 0) + 1
        for index in group.undone:
            if counts.get(index, 0) > 1:
                counts[index] -= 1
            else:
                counts.pop(index, None)
    return counts


def answered_digests(output: str) -> Iterator[bytes | None]:
    """For each line of the output, the digest of the input line it answers (None if its id does not say)."""
    for _, line in lines_of(output):
        yield digest_in(line)


def start_position(mark: Mark | None, next_index: int, unchanged: bool) -> Position:
    """Where to enter the input: at the mark if the file is the same and nothing before it is missing."""
    if mark is None or not unchanged or mark.position.index > next_index:
        return Position(0, 1, 0)
    return mark.position
