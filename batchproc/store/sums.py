"""Checksums of the output's lines, kept in the checkpoint's marks: the output itself has no room for them."""

from __future__ import annotations

import sys
import zlib
from array import array

SUMMED_BYTES = 32 << 20  # an output up to this size is read whole on a resume; of a larger one only what a mark lacks
_UNKNOWN = 0  # a line whose checksum really is 0 goes unchecked: one in four thousand million


class LineSums:
    """CRC-32 of output lines by index, as far as they are known."""

    def __init__(self, since: int = 0) -> None:
        self.since = since
        self._sums = array("I")

    @property
    def end(self) -> int:
        """One past the last line noted."""
        return self.since + len(self._sums)

    def add(self, lines: list[bytes], start: int) -> None:
        """Note the next lines, each with its newline, which begin at byte `start`: as long as that is compared."""
        if start <= SUMMED_BYTES:
            self._sums.extend(map(zlib.crc32, lines))

    def replace(self, since: int, text: str) -> None:
        """Take over what a mark says; whatever was known from `since` on holds no longer."""
        at = max(0, since - self.since)
        del self._sums[at:]
        self._sums.extend([_UNKNOWN] * (at - len(self._sums)))
        self._sums.extend(int(text[n : n + 8], 16) for n in range(0, len(text) - 7, 8))

    def text(self, end: int) -> str:
        """The checksums up to line `end`, for a mark."""
        sums = self._sums[: end - self.since]  # thousands, when one that all waited for came: no object for each
        if sys.byteorder == "little":
            sums.byteswap()
        return sums.tobytes().hex()

    def forget(self, end: int) -> None:
        """Drop what a mark holds now."""
        if end > self.since:
            del self._sums[: end - self.since]
            self.since = end

    def fits(self, index: int, line: bytes) -> bool:
        """Whether a line (without newline) is as it was written, or nothing is known about it."""
        at = index - self.since
        if not 0 <= at < len(self._sums) or self._sums[at] == _UNKNOWN:
            return True
        return self._sums[at] == zlib.crc32(b"\n", zlib.crc32(line))
