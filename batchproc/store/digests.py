"""Digests of the input lines whose results wait: eight bytes an index, in one array."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_NONE = 0


class Digests:
    """Digests by index, from `base` on."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._values = array("Q")

    def put(self, index: int, digest: int) -> None:
        """Note the digest of an index, as a number."""
        at = index - self._base
        short = at + 1 - len(self._values)
        if short > 0:
            self._values.frombytes(bytes(8 * short))
        self._values[at] = digest

    def put_many(self, first: int, last: int, offsets: Iterable[int], digests: Iterable[int]) -> None:
        """Note the digests of the indices `first` + offset, none beyond `last`."""
        short = last - self._base + 1 - len(self._values)
        if short > 0:
            self._values.frombytes(bytes(8 * short))
        values, shift = self._values, first - self._base
        for offset, digest in zip(offsets, digests, strict=True):
            values[shift + offset] = digest

    def pop(self, index: int, default: bytes | None = None) -> bytes | None:
        """Take the digest of an index out."""
        at = index - self._base
        if not 0 <= at < len(self._values) or self._values[at] == _NONE:
            return default
        digest, self._values[at] = self._values[at], _NONE
        return digest.to_bytes(8, "big")
