"""Lines of an input that may be huge, compressed, or a pipe: read in large blocks, split on `\\n` only.

U+2028, U+0085 and their like are ordinary characters inside JSON strings, so `splitlines()` has no place here.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Protocol

from batchproc.model import RawLine

BLOCK = 1 << 20
MAX_LINE = 64 << 20  # bytes; longer lines are passed over and reported
_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\r\n\v\f"


class Blocks(Protocol):
    """A source of bytes: a file, a decompressor, a pipe."""

    async def read(self) -> bytes:
        """The next bytes, at most about a block; empty at the end."""
        ...

    async def close(self) -> None:
        """Release what is open."""
        ...


def digest_of(data: bytes) -> bytes:
    """8 bytes of SHA-256: tells a changed line from an unchanged one; not a defence against forgery."""
    return hashlib.sha256(data).digest()[:8]


async def read_lines(blocks: Blocks, *, index: int = 0, line: int = 1, offset: int = 0) -> AsyncIterator[list[RawLine]]:
    """Yield the lines that are not blank, in lists of about a block each.

    `index`, `line` and `offset` say where the source stands when it does not begin at the start.
    """
    carry: list[bytes] = []
    carried = 0
    skipped: _TooLong | None = None
    while True:
        block = await blocks.read()
        pieces = block.split(b"\n")
        ended = not block
        rest = b"" if ended else pieces.pop()
        if ended and not carried and skipped is None:
            return
        out: list[RawLine] = []
        for piece in pieces:
            if skipped is not None:
                skipped.update(piece)
                size, raw = skipped.size, skipped.line(index, line, offset)
                skipped = None
            else:
                if carry:
                    carry.append(piece)
                    piece = b"".join(carry)
                    carry, carried = [], 0
                size, raw = len(piece), line_of(piece, index, line, offset)
            if raw is not None:
                out.append(raw)
                index += 1
            offset += size + 1
            line += 1
        if out:
            yield out
        if ended:
            return
        if skipped is not None:
            skipped.update(rest)
        elif rest:
            carry.append(rest)
            carried += len(rest)
            if carried > MAX_LINE:
                skipped = _TooLong(carry)
                carry, carried = [], 0


def line_of(piece: bytes, index: int, line: int, offset: int) -> RawLine | None:
    """A line by its bytes without the newline; None if it is blank."""
    if len(piece) > MAX_LINE:
        return _TooLong([piece]).line(index, line, offset)
    data = piece.strip(_WHITE)
    if offset == 0 and data.startswith(_BOM):
        data = data[3:].strip(_WHITE)
    return RawLine(index, line, offset, data, digest_of(data)) if data else None


class _TooLong:
    """A line that is too long to be kept: all its bytes go into the digest."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._blank = True
        for piece in pieces:
            self.update(piece)

    def update(self, piece: bytes) -> None:
        """The line goes on."""
        self.size += len(piece)
        self._hash.update(piece)
        self._blank = self._blank and not piece.strip(_WHITE)

    def line(self, index: int, line: int, offset: int) -> RawLine | None:
        """The line, at its end; None if it is blank."""
        return None if self._blank else RawLine(index, line, offset, b"", self._hash.digest()[:8], too_long=True)
