"""A new file that is written in large groups, and made durable at its end."""

from __future__ import annotations

import os

from batchproc.store.sums import LineSums

_GROUP = 1 << 20  # bytes written at a time


class Growing:
    """A file of lines: its size, how many there are, and their checksums while it is small."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = self.lines = 0
        self.sums = LineSums()
        self._fd = -1
        self._group: list[bytes] = []
        self._held = 0

    def begin(self) -> None:
        """Begin it anew. Raises OSError."""
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def add(self, line: bytes) -> None:
        """Write a line, soon. Raises OSError."""
        self._group.append(line)
        self._held += len(line)
        if self._held >= _GROUP:
            self._write()

    def end(self) -> None:
        """Write what is left, and make it durable."""
        self._write()
        os.fsync(self._fd)

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Close it; remove it where it still has its own name."""
        if self._fd >= 0:
            self.close()
            try:
                os.unlink(self.path)
            except OSError:
                pass

    def _write(self) -> None:
        group, self._group, self._held = self._group, [], 0
        self.sums.add(group, self.size)
        self.lines += len(group)
        view = memoryview(b"".join(group))
        self.size += len(view)
        while view:
            view = view[os.write(self._fd, view) :]
