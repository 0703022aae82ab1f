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
    skipping: hashlib._Hash | None = None
    start = 0  # where the line that is being passed over begins
    while True:
        block = await blocks.read()
        last = not block
        if last and not carried and skipping is None:
            return
        pieces = block.split(b"\n")
        pieces[0] = b"".join([*carry, pieces[0]]) if carry else pieces[0]
        carry, carried = [], 0
        out: list[RawLine] = []
        for n, piece in enumerate(pieces):
            whole = last or n < len(pieces) - 1
            if skipping is not None:
                skipping.update(piece)
                if not whole:
                    offset += len(piece)
                    continue
                out.append(RawLine(index, line, start, b"", skipping.digest()[:8], too_long=True))
                skipping = None
                index += 1
            elif not whole:
                if len(piece) > MAX_LINE:
                    skipping, start = hashlib.sha256(piece), offset
                    offset += len(piece)
                else:
                    carry, carried = [piece], len(piece)
                continue
            else:
                data = piece.strip(_WHITE)
                if offset == 0 and data.startswith(_BOM):
                    data = data[3:].strip(_WHITE)
                if data:
                    long = len(data) > MAX_LINE
                    out.append(RawLine(index, line, offset, b"" if long else data, digest_of(data), long))
                    index += 1
            offset += len(piece) + 1
            line += 1
        if out:
            yield out
        if last:
            return
