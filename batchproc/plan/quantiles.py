"""Quantiles of whole numbers in bounded memory: exact below 2,048, above within 0.1%.

A number of more than 11 bits is counted by its first 11: at most 1,024 places for each power of two.
"""

from __future__ import annotations

import math

_BITS = 11


class Sketch:
    """Counts numbers of 0 and more. Minimum, maximum, total and count are exact."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.min = 0
        self.max = 0
        self._places: dict[int, int] = {}

    def add(self, n: int) -> None:
        """Count a number."""
        if not self.count or n < self.min:
            self.min = n
        if n > self.max:
            self.max = n
        self.count += 1
        self.total += n
        place = n
        if n >= 1 << _BITS:
            shift = n.bit_length() - _BITS
            place = (shift << _BITS) | (n >> shift)
        self._places[place] = self._places.get(place, 0) + 1

    def quantile(self, share: float) -> int:
        """The smallest number that at least this share of all do not exceed; 0 where there are none."""
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for place in sorted(self._places):
            seen += self._places[place]
            if seen >= rank:
                shift = place >> _BITS
                low = (place & ((1 << _BITS) - 1)) << shift
                return max(self.min, min(self.max, low + ((1 << shift) >> 1)))
        return 0
