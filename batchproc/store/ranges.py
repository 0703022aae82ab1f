"""A job file in parts: where it is cut, and one part read as if it were a whole file.

Cuts stand behind newlines, so that each line is in exactly one part. They are found by looking at a few lines around
each place, not by reading the file.
"""

from __future__ import annotations

import os
from typing import Any, cast

from batchproc.errors import UsageError
from batchproc.store.lines import BLOCK

_STEP = 1 << 16  # bytes looked at for a newline at a time
_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\r\v\f"


def cuts_of(fd: int, size: int, parts: int) -> list[int]:
    """`parts` + 1 places from 0 to `size`, each the beginning of a line; equal ones hold an empty part between them.

    Raises OSError.
    """
    cuts = [0]
    for k in range(1, parts):
        wanted = size * k // parts
        cuts.append(cuts[-1] if wanted <= cuts[-1] else _line_from(fd, wanted, size))
    return [*cuts, size]


def _line_from(fd: int, at: int, size: int) -> int:
    """Where the first line begins at `at` or behind it; `size` where none does.

    A line that begins with a byte-order mark begins no part: only at the start of a file does such a mark mean nothing.
    """
    if os.pread(fd, 1, at - 1) != b"\n":
        at = _after_newline(fd, at, size)
    while at < size and _has_mark(fd, at, size):
        at = _after_newline(fd, at, size)
    return at


def _after_newline(fd: int, at: int, size: int) -> int:
    while at < size:
        data = os.pread(fd, min(_STEP, size - at), at)
        if not data:
            break  # it became shorter: whoever reads it says so
        end = data.find(b"\n")
        if end >= 0:
            return at + end + 1
        at += len(data)
    return size


def _has_mark(fd: int, at: int, size: int) -> bool:
    """Whether the line at `at` begins with a byte-order mark, white space in front of it aside."""
    data = b""
    while not data and at < size:
        block = os.pread(fd, min(_STEP, size - at), at)
        if not block:
            return False
        data = block.lstrip(_WHITE)
        if data and len(data) < len(_BOM):
            data = os.pread(fd, len(_BOM), at + len(block) - len(data))
        at += len(block)
    return data.startswith(_BOM)


class PartBlocks:
    """The next `size` bytes of an open file, in large blocks."""

    def __init__(self, file: Any, size: int) -> None:
        self._file = file
        self._left = size

    async def read(self) -> bytes:
        """The next bytes; empty at the end. Raises UsageError where the file ends before that."""
        if not self._left:
            return b""
        block = cast(bytes, await self._file.read(min(BLOCK, self._left)))
        if not block:
            raise UsageError(
                "the input became shorter while the run was reading it",
                "let nothing write to it during a run; what is answered is saved: run the same command again",
            )
        self._left -= len(block)
        return block

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()
