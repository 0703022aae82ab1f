"""Lines put aside on disk, first in, first out: what keeps a model that is held for hours from filling the memory.

Of a line of a plain file only its place is kept (48 bytes), and the line is read again when its turn comes; lines of
a pipe or a compressed file, which cannot be read again, are kept themselves, in a temporary file.
"""

from __future__ import annotations

import os
import struct
import tempfile
from typing import IO

from batchproc.errors import InputChanged
from batchproc.model import RawLine
from batchproc.store.files import disk_failed
from batchproc.store.lines import digest_of

_PLACE = struct.Struct("<4q8s")  # index, line, offset, length, digest
_GROUP = 512  # places written, and read, at a time
_AHEAD = 4096  # bytes read beyond a line's length: white space around it


class Shelf:
    """The lines of one lane. `fd` is the input where it is a plain file, else None; offsets count from `start`."""

    def __init__(self, fd: int | None, start: int = 0) -> None:
        self._fd = fd
        self._start = start
        self._length = 0
        self._written = self._read = 0  # places in the file, and of these read
        self._new: list[bytes] = []
        self._next: list[tuple[int, int, int, int, bytes]] = []  # to be taken, the last first
        self._places: IO[bytes] | None = None
        self._lines: IO[bytes] | None = None

    def __len__(self) -> int:
        return self._length

    def put(self, raw: RawLine) -> None:
        """Put a line aside. Raises DiskFailed where the temporary folder has no room."""
        offset = raw.offset if self._fd is not None else self._keep(raw.data)
        self._new.append(_PLACE.pack(raw.index, raw.line, offset, len(raw.data), raw.digest))
        self._length += 1
        if len(self._new) >= _GROUP:
            self._flush()

    def take(self, most: int) -> list[RawLine]:
        """Take at most so many lines, the first put aside first. Raises InputChanged, DiskFailed."""
        taken: list[RawLine] = []
        while len(taken) < most and self._length:
            if not self._next:
                self._load()
            index, line, offset, length, digest = self._next.pop()
            self._length -= 1
            data = self._again(offset, length)
            if digest_of(data) != digest:
                raise InputChanged(
                    f"line {line} of the input (job {index}) changed while the run was reading it",
                    "let nothing write to the input during a run; put it back, then run the same command again",
                )
            taken.append(RawLine(index, line, offset, data, digest))
        return taken

    def close(self) -> None:
        """Drop what is there."""
        for file in (self._places, self._lines):
            if file is not None:
                file.close()

    def _keep(self, data: bytes) -> int:
        try:
            if self._lines is None:
                self._lines = tempfile.TemporaryFile("w+b", prefix="batchproc-")  # noqa: SIM115 - closed by close()
            offset = self._lines.seek(0, os.SEEK_END)
            self._lines.write(data + b"\n")
            return offset
        except OSError as e:
            disk_failed("writing to a temporary file in", tempfile.gettempdir(), e)

    def _again(self, offset: int, length: int) -> bytes:
        if self._fd is None:
            if self._lines is None:
                return b""
            self._lines.seek(offset)
            return self._lines.read(length)
        data = os.pread(self._fd, length + _AHEAD, self._start + offset)
        end = data.find(b"\n")
        data = (data if end < 0 else data[:end]).strip(b" \t\r\n\v\f")
        return data[3:].strip() if offset == 0 and data.startswith(b"\xef\xbb\xbf") else data

    def _flush(self) -> None:
        try:
            if self._places is None:
                self._places = tempfile.TemporaryFile("w+b", prefix="batchproc-")  # noqa: SIM115 - closed by close()
            self._places.seek(0, os.SEEK_END)
            self._places.write(b"".join(self._new))
        except OSError as e:
            disk_failed("writing to a temporary file in", tempfile.gettempdir(), e)
        self._written += len(self._new)
        self._new = []

    def _load(self) -> None:
        """Bring the next places into memory: from the file while it has any, else those not written yet."""
        if self._places is not None and self._read < self._written:
            self._places.seek(self._read * _PLACE.size)
            data = self._places.read(_GROUP * _PLACE.size)
            self._read += len(data) // _PLACE.size
        else:
            data = b"".join(self._new)
            self._new = []
        self._next = list(_PLACE.iter_unpack(data))[::-1]
