"""Finds what occurs more than once among millions, by digests of 8 bytes: 12 bytes of memory for each.

Among ten million there is a chance of 1 in 400,000 that two different ones have the same digest.
"""

from __future__ import annotations

from array import array

from batchproc.forecast import Repeats

_BUCKETS = 256
_SHOWN = 5


class Seen:
    """Digests and where they stood, in buckets that are small enough to be sorted one by one."""

    def __init__(self) -> None:
        self._digests = [array("Q") for _ in range(_BUCKETS)]
        self._lines = [array("I") for _ in range(_BUCKETS)]

    def add(self, digest: int, line: int) -> None:
        """Note a digest at a line; lines come in their order."""
        bucket = digest & 0xFF
        self._digests[bucket].append(digest)
        self._lines[bucket].append(line & 0xFFFFFFFF)

    def repeats(self) -> Repeats:
        """How many say again what an earlier one said, and the first of them."""
        count = 0
        pairs: list[tuple[int, int]] = []
        for digests, lines in zip(self._digests, self._lines, strict=True):
            again = len(digests) - len(set(digests))
            if not again:
                continue
            count += again
            first: dict[int, int] = {}
            for digest, line in zip(digests, lines, strict=True):
                before = first.setdefault(digest, line)
                if before != line:
                    pairs.append((before, line))
            pairs = sorted(pairs, key=lambda pair: pair[1])[:_SHOWN]
        return Repeats(count, tuple(pairs))
