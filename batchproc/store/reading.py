"""Read what was written: files line by line without holding them in memory, and single records by their place."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence

_BLOCK = 1 << 20
_ONE = 1 << 14  # bytes read for a record whose length is not known
_RUN = 4 << 20  # bytes of neighbouring records read at once


def lines_of(
    path: str, start: int = 0, rest: list[bytes] | None = None, end: int | None = None
) -> Generator[tuple[int, bytes], None, None]:
    """(offset, line without newline) of every line that ends in a newline, from byte `start` on, or up to `end`.

    What stands after the last newline is put into `rest`.
    """
    with open(path, "rb", buffering=0) as f:
        f.seek(start)
        carry: list[bytes] = []
        at = start
        while block := f.read(_BLOCK if end is None else min(_BLOCK, end - at)):
            at += len(block)
            pieces = block.split(b"\n")
            if carry and len(pieces) > 1:
                pieces[0] = b"".join([*carry, pieces[0]])
                carry = []
            last = pieces.pop()
            if last:
                carry.append(last)
            for piece in pieces:
                yield start, piece
                start += len(piece) + 1
        if rest is not None and carry:
            rest.append(b"".join(carry))


def whole_lines(path: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The file (a part of it) in blocks that end with a newline; what stands after the last newline is left out."""
    with open(path, "rb", buffering=0) as f:
        f.seek(start)
        carry: list[bytes] = []
        at = start
        while block := f.read(_BLOCK if stop is None else min(_BLOCK, stop - at)):
            at += len(block)
            end = block.rfind(b"\n") + 1
            if end:
                yield b"".join([*carry, block[:end]])
                carry = []
            if end < len(block):
                carry.append(block[end:])


def parts_of(line: bytes, opening: bytes) -> list[bytes]:
    """The pieces of a damaged line that begin like whole ones: the newline between two of them may be what is gone."""
    starts = [0]
    while (at := line.find(opening, starts[-1] + 1)) >= 0:
        starts.append(at)
    if len(starts) == 1:
        return [line]
    ends = [start - 1 for start in starts[1:]]
    return [line[start:end] for start, end in zip(starts, [*ends, len(line)], strict=True)]


def read_record(fd: int, offset: int, size: int = _ONE) -> bytes:
    """The line at `offset`, without its newline. Raises OSError."""
    data = os.pread(fd, size, offset)
    while (end := data.find(b"\n")) < 0:
        more = os.pread(fd, max(size, len(data)), offset + len(data))
        if not more:
            break
        data += more
    return data[:end] if end >= 0 else data


def read_records(fd: int, offsets: Sequence[int]) -> dict[int, bytes]:
    """The lines at these offsets, by offset; lines that stand close together are read at once. Raises OSError."""
    found: dict[int, bytes] = {}
    ordered = sorted(offsets)
    first = 0
    while first < len(ordered):
        start = ordered[first]
        last = first
        while last + 1 < len(ordered) and ordered[last + 1] - ordered[last] < _ONE and ordered[last] - start < _RUN:
            last += 1
        data = os.pread(fd, ordered[last] - start + _ONE, start)
        for offset in ordered[first : last + 1]:
            end = data.find(b"\n", offset - start)
            found[offset] = data[offset - start : end] if end >= 0 else read_record(fd, offset)
        first = last + 1
    return found
