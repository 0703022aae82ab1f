"""Which kind of limit do the resets in the headers tell of?

A reset says when it will be as if nothing had been sent. The c in `remaining + reset * rate` tells the kinds apart,
whatever the requests cost:

    bucket    c is its capacity, hence constant and at most the limit; with nothing left (a debt) c says nothing
    fixed     the instant of the reset stays, so c falls by what is charged and by what would have been refilled
    sliding   the instant moves on with each send, and c is above the limit unless the window is full

Two answers to requests sent some seconds apart are compared, so that what one says by accident is revised; and a
bucket is beyond doubt once all answers of some seconds tell of the same c.
"""

from __future__ import annotations

import enum

from msgspec import Struct

_STEADY_S = 0.3  # how far the instant of a fixed window may seem to move
_SLACK = 1.05
_APART_S = 2.0  # requests sent so far apart do not overtake each other


class Kind(enum.Enum):
    """What the server is believed to do."""

    UNKNOWN = "unknown"
    BUCKET = "bucket"
    SLIDING = "sliding"
    FIXED = "fixed"
    PACED = "paced"


class _Look(Struct, frozen=True):
    """What one answer said: sent when, charged by then in all, when the limit is as new, and c."""

    at: float
    total: float
    ends: float
    capacity: float


class Resets:
    """The looks at one limit's resets."""

    def __init__(self) -> None:
        self.capacity = 0.0  # of the bucket that the last answer tells of
        self.ends = 0.0  # when the window ends that the last answers tell of
        self.held: float | None = None  # what that window held, where it was watched from the first charge on
        self.settled = False  # it is a bucket, beyond doubt
        self._looks: list[_Look] = []  # the last, and one that is some seconds older
        self._first_total = 0.0
        self._same: tuple[float, float, float, int] = (0.0, 0.0, 0.0, 0)  # since when, least and most c, answers

    def look(
        self, remaining: float, reset_s: float, at: float, total: float, limit: float, window_s: float
    ) -> Kind | None:
        """The kind that an answer shows, alone or beside an earlier one; None if neither.

        The request was sent `at`, after which `total` had been charged.
        """
        if remaining <= 0:
            return None
        rate = limit / window_s
        now = _Look(at, total, at + reset_s, remaining + reset_s * rate)
        if not self._looks:
            self._first_total = total
        self._settle(now, limit, window_s)
        before = next((look for look in reversed(self._looks) if at - look.at >= _APART_S), None)
        if not self._looks or at - self._looks[-1].at >= _APART_S / 2:
            self._looks = [*self._looks[-2:], now]
        if before is not None and at - before.at < window_s / 2:
            kind = self._compare(before, now, limit, window_s)
            if kind is not None:
                self.held = remaining + total if before.total == self._first_total else None
                return kind
        if now.capacity <= _SLACK * limit and reset_s < 0.9 * window_s:
            self.capacity = now.capacity
            return Kind.BUCKET
        return None

    def _compare(self, before: _Look, now: _Look, limit: float, window_s: float) -> Kind | None:
        rate = limit / window_s
        moved_s, fell, passed_s = now.ends - before.ends, before.capacity - now.capacity, now.at - before.at
        if abs(moved_s) < _STEADY_S and fell > 0.75 * passed_s * rate and now.total > before.total:
            self.ends = max(now.ends, before.ends)
            return Kind.FIXED
        if now.capacity > _SLACK * limit and _STEADY_S < moved_s < passed_s + 1.0:
            return Kind.SLIDING
        return None

    def _settle(self, now: _Look, limit: float, window_s: float) -> None:
        since, least, most, answers = self._same
        least, most = min(least, now.capacity), max(most, now.capacity)
        if answers == 0 or most - least > _STEADY_S * limit / window_s + 2:
            since, least, most, answers = now.at, now.capacity, now.capacity, 0
        self._same = (since, least, most, answers + 1)
        lasted = now.at - since >= _APART_S and answers >= 3
        self.settled = lasted and most <= _SLACK * limit and now.ends - now.at < 0.9 * window_s
