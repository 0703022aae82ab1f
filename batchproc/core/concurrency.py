"""How many requests may be in flight in a lane: a slow start, and a cut when the server has too much to do."""

from __future__ import annotations

from collections import deque

FIRST = 8  # in flight before the first answer is in, whatever is asked for
MOST = 1000
_LAST = 20  # answers looked at for a cut
_TOO_MANY = 0.3  # share of them that says the server is overloaded


class Window:
    """The number of requests a lane may have in flight.

    `fixed` is used as soon as the first answer is in; None starts at FIRST and doubles with each round trip
    while it is in use and nothing is refused, up to MOST. Both are halved, once a round trip, when over 30% of
    the last 20 answers were overload, and then grow by one a round trip.
    """

    def __init__(self, fixed: int | None) -> None:
        self._most = fixed if fixed is not None else MOST
        self._fixed = fixed
        self.size = float(min(FIRST, self._most))
        self._answered = False
        self._slow_from = float(self._most)
        self._recent: deque[bool] = deque(maxlen=_LAST)
        self._cut_at = float("-inf")

    def has_room(self, in_flight: int) -> bool:
        """Whether one more request may go out."""
        return in_flight < int(self.size)

    def answered(self, in_flight: int) -> None:
        """An answer came that is no overload; `in_flight` counts the answered request too."""
        self._recent.append(False)
        if not self._answered:
            self._answered = True
            if self._fixed is not None:
                self.size = float(self._fixed)
        if self.size < self._most and in_flight >= int(self.size):
            self.size = min(self._most, self.size + (1.0 if self.size < self._slow_from else 1.0 / self.size))

    def restart(self) -> None:
        """The server is back after an outage: start slowly again."""
        self.size = min(self.size, float(FIRST))

    def overloaded(self, now: float, sent_at: float) -> None:
        """The server said that it has too much to do."""
        self._recent.append(True)
        if sent_at <= self._cut_at or sum(self._recent) <= _TOO_MANY * _LAST:
            return
        self._cut_at = now
        self._answered = True  # a fixed number is too many: grow into it instead
        self.size = max(1.0, self.size / 2)
        self._slow_from = self.size
        self._recent.clear()
