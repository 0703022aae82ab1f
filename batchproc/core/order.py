"""Results come in any order; what may be written is the unbroken run from `next_index` on.

Memory is eight bytes for each index between the first that is missing and the highest that is there: the
results themselves wait on disk, and a slot only says where.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_EMPTY = -1
_TRIM = 1 << 16


class InOrder:
    """Which results are there, and where each waits (any number ≥ 0, for example a file offset)."""

    def __init__(self, next_index: int = 0) -> None:
        self.next_index = next_index
        self.waiting = 0  # results that are there and cannot be written yet
        self._base = next_index
        self._slots = array("q")

    def __contains__(self, index: int) -> bool:
        """Whether the result of this index is there, written or waiting."""
        return index < self.next_index or self.where(index) is not None

    def missing(self, indices: Iterable[int]) -> list[int]:
        """Those of these indices (some may be there twice) that have no result."""
        base, next_index, slots = self._base, self.next_index, self._slots
        end = base + len(slots)
        return [i for i in indices if i >= next_index and (i >= end or slots[i - base] == _EMPTY)]

    def where(self, index: int) -> int | None:
        """Where the waiting result of this index is, or None."""
        at = index - self._base
        if index < self.next_index or at >= len(self._slots) or self._slots[at] == _EMPTY:
            return None
        return self._slots[at]

    def put(self, index: int, where: int) -> None:
        """Note that a result waits; ValueError if that index has one already (a job must end once)."""
        if index in self:
            raise ValueError(f"index {index} has a result already")
        at = index - self._base
        if at >= len(self._slots):
            self._slots.extend([_EMPTY]) if at == len(self._slots) else self._grow(at + 1)
        self._slots[at] = where
        self.waiting += 1

    def put_many(self, first: int, last: int, offsets: Iterable[int], places: Iterable[int]) -> bool:
        """Note results of the indices `first` + offset, none beyond `last` or below `next_index`.

        False, and nothing is noted, where one of them is there already.
        """
        base = self._base
        if last - base >= len(self._slots):
            self._grow(last - base + 1)
        slots, shift = self._slots, first - base
        before = slots[shift : last - base + 1]
        count = 0
        for offset, place in zip(offsets, places, strict=True):
            at = shift + offset
            if slots[at] != _EMPTY:
                slots[shift : last - base + 1] = before
                return False
            slots[at] = place
            count += 1
        self.waiting += count
        return True

    def move(self, index: int, where: int) -> None:
        """A waiting result is somewhere else now."""
        self._slots[index - self._base] = where

    def take(self, most: int) -> list[int]:
        """Take at most so many results off the front of the unbroken run; returns where they wait."""
        start = self.next_index - self._base
        end = start
        slots = self._slots
        stop = min(len(slots), start + most)
        while end < stop and slots[end] != _EMPTY:
            end += 1
        taken = slots[start:end].tolist()
        self.next_index += len(taken)
        self.waiting -= len(taken)
        self._trim()
        return taken

    def advance(self) -> None:
        """The result of `next_index` went straight out, without waiting."""
        self.next_index += 1
        self._trim()

    def ready(self) -> bool:
        """Whether the result of `next_index` waits."""
        return self.where(self.next_index) is not None

    def items(self) -> list[tuple[int, int]]:
        """(index, where) of all that wait, by index."""
        start = self.next_index - self._base
        base = self._base
        return [(base + n, w) for n, w in enumerate(self._slots[start:], start) if w != _EMPTY]

    @property
    def end(self) -> int:
        """One past the highest index that has a result."""
        return max(self.next_index, self._base + len(self._slots))

    def _grow(self, size: int) -> None:
        self._slots.frombytes(b"\xff" * (8 * (size - len(self._slots))))

    def _trim(self) -> None:
        done = self.next_index - self._base
        if done >= len(self._slots):
            self._slots = array("q")
            self._base = self.next_index
        elif done > _TRIM and done * 2 > len(self._slots):
            del self._slots[:done]
            self._base = self.next_index
