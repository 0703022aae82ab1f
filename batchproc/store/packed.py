"""gzip and zstd: known by their first bytes, unpacked as a stream."""

from __future__ import annotations

import gzip
from typing import IO, Any, cast

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_STEP = 1 << 14  # compressed bytes taken at a time: what they unfold to is held in memory


def is_compressed(name: str) -> bool:
    """Whether a file begins as gzip or zstd does. Raises OSError."""
    with open(name, "rb") as f:
        return begins_packed(f.read(4))


def _is_zstd(head: bytes) -> bool:
    """A zstd frame, or one of its skippable frames, which some tools write first."""
    return head.startswith(_ZSTD) or (len(head) == 4 and 0x50 <= head[0] <= 0x5F and head[1:] == b"\x2a\x4d\x18")


def begins_packed(head: bytes) -> bool:
    """Whether a file with these four first bytes is gzip or zstd."""
    return head.startswith(_GZIP) or _is_zstd(head)


def unpacked(head: bytes, stream: IO[bytes]) -> IO[bytes]:
    """The text of a packed stream whose first bytes are `head`."""
    if head.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    return cast(IO[bytes], _Zstd(stream))


class _Zstd:
    """Decompresses zstd frames one after another. Raises EOFError where the last one is cut short.

    (The reader that zstandard itself offers takes a cut file for a whole one.)
    """

    def __init__(self, stream: IO[bytes]) -> None:
        import zstandard

        self._stream = stream
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        self._frame: Any = None
        self._ahead = b""

    def read(self, size: int = -1) -> bytes:
        """Some of the text; empty at the end."""
        while True:
            data = self._ahead or self._stream.read(_ZSTD_STEP)
            self._ahead = b""
            if not data:
                if self._frame is not None:
                    raise EOFError("a zstd frame ends early")
                return b""
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            out = cast(bytes, self._frame.decompress(data))
            if self._frame.eof:
                self._ahead = self._frame.unused_data
                self._frame = None
            if out:
                return out
