"""One limit over one window, in the ways providers are known or suspected to count it.

    bucket      starts full, holds the whole limit, refills evenly: what OpenAI's headers show
    quantized   the same refill, but holds one second's worth: "60,000 requests/minute may be enforced
                as 1,000 requests/second" (OpenAI help centre, article 6891753)
    fixed       a count that goes back to zero at every full window
    sliding     exact: never more than the limit in any stretch of one window
    azure       requests counted in fixed periods of 10 s, each a sixth of the limit; tokens in fixed
                minutes (Azure OpenAI, "typically 1 or 10 seconds")

Nothing here reads a clock: `now_s` is an argument and must not go backwards. Amounts are requests or tokens.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

MINUTE_S = 60.0
DAY_S = 86_400.0

WINDOW_KINDS = ("bucket", "fixed", "sliding", "quantized", "azure")

# Sums of floats miss their mark by a hair; whoever waits exactly as long as told must still be let in.
_SLACK_S = 1e-9
_SLACK = 1e-6


class Window(Protocol):
    """What all windows can do. `limit` is the amount the provider names, per `window_s` seconds."""

    limit: int
    window_s: float

    def wait_s(self, now_s: float, amount: int) -> float:
        """Seconds until `amount` would be admitted: 0.0 for at once, infinity for never."""

    def take(self, now_s: float, amount: int) -> None:
        """Charge an admitted amount; the caller has seen `wait_s` say 0.0."""

    def settle(self, now_s: float, taken_s: float, amount: int) -> None:
        """Correct what was charged at `taken_s`: charge more, into debt if need be, or give back (negative)."""

    def charge_refused(self, now_s: float, amount: int) -> None:
        """Charge a refused amount, without running into debt: the count never passes the limit."""

    def remaining(self, now_s: float) -> int:
        """The amount that would be admitted at this instant."""

    def reset_s(self, now_s: float) -> float:
        """Seconds until everything charged so far no longer counts."""


class Bucket:
    """Holds `capacity`, starts full, refills by `limit / window_s` a second.

    An amount above the capacity, but not above the limit, is admitted by a full bucket and leaves a debt.
    """

    __slots__ = ("_at_s", "_capacity", "_level", "_rate", "limit", "window_s")

    def __init__(self, limit: int, window_s: float, capacity: float | None = None) -> None:
        self.limit = limit
        self.window_s = window_s
        self._capacity = float(limit) if capacity is None else max(1.0, capacity)
        self._rate = limit / window_s
        self._level = self._capacity
        self._at_s = -math.inf

    def _refill(self, now_s: float) -> float:
        if now_s > self._at_s:
            passed_s = now_s - self._at_s
            self._at_s = now_s
            self._level = min(self._capacity, self._level + passed_s * self._rate)
        return self._level

    def wait_s(self, now_s: float, amount: int) -> float:
        """Seconds until `amount` fits, counted in whole units as the provider's messages count."""
        if amount > self.limit:
            return math.inf
        needed = min(float(amount), self._capacity)
        level = self._refill(now_s)
        if level + _SLACK >= needed:
            return 0.0
        return (needed - math.floor(level + _SLACK)) / self._rate

    def take(self, now_s: float, amount: int) -> None:
        """Lower the level."""
        self._level = self._refill(now_s) - amount

    def settle(self, now_s: float, taken_s: float, amount: int) -> None:
        """Lower or raise the level, up to full."""
        self._level = min(self._capacity, self._refill(now_s) - amount)

    def charge_refused(self, now_s: float, amount: int) -> None:
        """Lower the level to zero at the most."""
        level = self._refill(now_s)
        if level > 0:
            self._level = max(0.0, level - amount)

    def remaining(self, now_s: float) -> int:
        """The level, in whole units."""
        return max(0, math.floor(self._refill(now_s) + _SLACK))

    def reset_s(self, now_s: float) -> float:
        """Seconds until full again; OpenAI's reset headers mean this, not the wait for one request."""
        return (self._capacity - self._refill(now_s)) / self._rate


class FixedWindow:
    """A count that goes back to zero whenever a period begins, at `phase_s` and every `period_s` after it.

    With `period_s` below `window_s` every period has its share of the limit.
    """

    __slots__ = ("_capacity", "_index", "_period_s", "_phase_s", "_used", "limit", "window_s")

    def __init__(self, limit: int, window_s: float, period_s: float | None = None, phase_s: float = 0.0) -> None:
        self.limit = limit
        self.window_s = window_s
        self._period_s = window_s if period_s is None else period_s
        self._phase_s = phase_s
        self._capacity = max(1, math.floor(limit * self._period_s / window_s + _SLACK))
        self._index: int | None = None
        self._used = 0

    def _period(self, at_s: float) -> int:
        return math.floor((at_s + _SLACK_S - self._phase_s) / self._period_s)

    def _roll(self, now_s: float) -> int:
        index = self._period(now_s)
        if self._index is None or index > self._index:
            self._index = index
            self._used = 0
        return self._used

    def _left_s(self, now_s: float) -> float:
        assert self._index is not None  # noqa: S101 - every caller has rolled
        return max(0.0, self._phase_s + (self._index + 1) * self._period_s - now_s)

    def wait_s(self, now_s: float, amount: int) -> float:
        """Seconds until the next period, if this one has no room; an empty period takes anything."""
        if amount > self.limit:
            return math.inf
        used = self._roll(now_s)
        if used == 0 or used + amount <= self._capacity:
            return 0.0
        return self._left_s(now_s)

    def take(self, now_s: float, amount: int) -> None:
        """Count it."""
        self._used = self._roll(now_s) + amount

    def settle(self, now_s: float, taken_s: float, amount: int) -> None:
        """Count more in the present period; what a past period charged is forgotten, and not given back."""
        used = self._roll(now_s)
        if amount > 0 or self._period(taken_s) == self._index:
            self._used = max(0, used + amount)

    def charge_refused(self, now_s: float, amount: int) -> None:
        """Count it, up to what a period holds."""
        used = self._roll(now_s)
        self._used = max(used, min(self._capacity, used + amount))

    def remaining(self, now_s: float) -> int:
        """What the present period still admits."""
        return max(0, self._capacity - self._roll(now_s))

    def reset_s(self, now_s: float) -> float:
        """Seconds until the next period, 0.0 while nothing is counted."""
        return self._left_s(now_s) if self._roll(now_s) else 0.0


class SlidingWindow:
    """Remembers every charge for one window: no stretch of `window_s` ever holds more than the limit."""

    __slots__ = ("_charges", "_used", "limit", "window_s")

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit = limit
        self.window_s = window_s
        self._charges: deque[tuple[float, int]] = deque()
        self._used = 0

    def _expire(self, now_s: float) -> int:
        gone_s = now_s + _SLACK_S - self.window_s
        charges = self._charges
        while charges and charges[0][0] <= gone_s:
            self._used -= charges.popleft()[1]
        return self._used

    def wait_s(self, now_s: float, amount: int) -> float:
        """Seconds until enough of the oldest charges have left the window."""
        if amount > self.limit:
            return math.inf
        excess = self._expire(now_s) + amount - self.limit
        if excess <= 0:
            return 0.0
        for charged_s, charged in self._charges:
            excess -= charged
            if excess <= 0:
                return max(0.0, charged_s + self.window_s - now_s)
        return math.inf  # never: what is charged sums up to what is used

    def take(self, now_s: float, amount: int) -> None:
        """Remember it."""
        self._used = self._expire(now_s) + amount
        self._charges.append((now_s, amount))

    def settle(self, now_s: float, taken_s: float, amount: int) -> None:
        """Remember more, as of now; give back from what was charged at `taken_s`, if it is still remembered."""
        if amount > 0:
            self.take(now_s, amount)
            return
        self._expire(now_s)
        for index, (charged_s, charged) in enumerate(self._charges):
            if charged_s == taken_s and charged + amount >= 0:
                self._charges[index] = (charged_s, charged + amount)
                self._used += amount
                return

    def charge_refused(self, now_s: float, amount: int) -> None:
        """Remember it, as far as there is room: a window that is full stays just full."""
        room = self.limit - self._expire(now_s)
        if room > 0:
            self.take(now_s, min(room, amount))

    def remaining(self, now_s: float) -> int:
        """The limit less what the window holds."""
        return max(0, self.limit - self._expire(now_s))

    def reset_s(self, now_s: float) -> float:
        """Seconds until the newest charge leaves the window."""
        self._expire(now_s)
        return max(0.0, self._charges[-1][0] + self.window_s - now_s) if self._charges else 0.0


def make_window(kind: str, limit: int, window_s: float, *, requests: bool, phase_s: float = 0.0) -> Window:
    """Build the window of one dimension; `kind` is one of `WINDOW_KINDS`, `requests` tells them from tokens.

    Quanta of a second and periods of 10 s divide minutes only: a daily limit is a bucket or a fixed day.
    """
    if kind == "sliding":
        return SlidingWindow(limit, window_s)
    if kind == "fixed":
        return FixedWindow(limit, window_s, phase_s=phase_s)
    if kind == "azure":
        period_s = 10.0 if requests and window_s == MINUTE_S else None
        return FixedWindow(limit, window_s, period_s, phase_s)
    if kind == "quantized" and window_s == MINUTE_S:
        return Bucket(limit, window_s, capacity=limit / window_s)
    return Bucket(limit, window_s)
