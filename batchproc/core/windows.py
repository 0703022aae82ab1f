"""The ways a server may count a limit, as a client can follow them: how long until so much may be taken?

    Bucket   holds `capacity`, refills evenly. With the whole limit as capacity it is what OpenAI's headers show; with
             one second's worth it is even pacing, which every other kind of server accepts too.
    Sliding  never more than the limit in any stretch of one window.
    Fixed    a count that returns to zero at known instants.

No clock: `now` is an argument, in seconds of any steady clock. An amount above what a window can ever hold waits for
an untouched one, and leaves a debt.
"""

from __future__ import annotations

from collections import deque


class Bucket:
    """Holds `capacity`, starts full, refills by `rate` a second.

    What refills in `margin_s` is left alone: two requests do not take equally long to the server.
    """

    __slots__ = ("_at", "_level", "capacity", "full_at", "margin_s", "rate")

    def __init__(self, capacity: float, rate: float, now: float) -> None:
        self.capacity = capacity
        self.rate = rate
        self.margin_s = 0.0
        self._level = capacity
        self._at = now
        self.full_at = now  # when it was last seen full: what would have refilled since then was lost

    def level(self, now: float) -> float:
        """What may be taken at `now`."""
        passed = now - self._at
        return min(self.capacity, self._level + self.rate * passed) if passed > 0 else self._level

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 if now."""
        passed = now - self._at
        had = self._level + self.rate * passed if passed > 0 else self._level  # also above full: the margin is on top
        lack = (amount if amount < self.capacity else self.capacity) + self.margin_s * self.rate - had
        return lack / self.rate if lack > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> None:
        """Charge `amount`."""
        level, passed = self._level, now - self._at
        if passed > 0:
            level += self.rate * passed
            self._at = now
        if level >= self.capacity:
            self.full_at, level = now, self.capacity
        level -= amount
        self._level = level if level < self.capacity else self.capacity

    def set(self, level: float, now: float) -> None:
        """The level is known to be this."""
        self._level = min(level, self.capacity)
        self._at = max(now, self._at)

    def grow(self, amount: float, most: float, now: float) -> None:
        """Hold `amount` more, at most `most`, and have that much more."""
        grown = min(most, self.capacity + amount)
        if grown > self.capacity:
            level = self.level(now) + grown - self.capacity
            self.capacity = grown
            self.set(level, now)

    def resize(self, capacity: float, rate: float, now: float) -> None:
        """Hold another amount; what has been used stays used."""
        used = self.capacity - self.level(now)
        self.capacity, self.rate = capacity, rate
        self.set(capacity - used, now)


_OPENS_S = 0.3  # how much too early room in a window may seem to be
_FIRST = 1 / 50  # of a window, until then
_FULL_S = 1.0  # without a charge: it was full
_GRAINS = 1200  # charges within so small a part of the window are remembered as one


class Sliding:
    """At most `limit` in any `window_s` seconds, by the client's own sends.

    `margin_s` is added to the window: two requests do not take equally long to the server. Where it has been full for
    a while a few go first when charges begin to expire: by how much they are too early the refusals say.
    """

    __slots__ = ("_first", "_grain_s", "_held", "_log", "_opened", "_sum", "_taken_at", "limit", "margin_s", "window_s")

    def __init__(self, limit: float, window_s: float) -> None:
        self.limit = limit
        self.window_s = window_s
        self.margin_s = 0.0
        self._grain_s = window_s / _GRAINS
        self._log: deque[list[float]] = deque()  # [when the charges expire, amount, when the first would have]
        self._sum = 0.0
        self._taken_at = self._opened = float("-inf")
        self._first = self._held = 0.0  # what was taken since it opened; what was used at the last charge

    def used(self, now: float) -> float:
        """What was taken within the last window."""
        log = self._log
        while log and log[0][0] <= now:
            self._sum -= log.popleft()[1]
        if not log:
            self._sum = 0.0
        return self._sum

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 if now."""
        over = self.used(now) + min(amount, self.limit) - self.limit
        if over <= 1e-9:
            opening_s = self._opened + _OPENS_S - now
            return opening_s if opening_s > 0 and self._first > self.limit * _FIRST else 0.0
        for expires, taken, _ in self._log:
            over -= taken
            if over <= 1e-9:
                return max(0.0, expires - now)
        return self.window_s

    def take(self, amount: float, now: float) -> None:
        """Charge `amount`."""
        expires = now + self.window_s + self.margin_s
        if now - self._taken_at > _FULL_S and self._held > self.limit / 2:
            self._opened, self._first = now, 0.0
        self._taken_at = now
        self._first += amount
        self._sum = self._held = self._sum + amount
        log = self._log
        last = log[-1] if log else None
        if last is not None and expires - last[2] < self._grain_s:
            if expires > last[0]:  # the later instant: a charge is never forgotten too early
                last[0] = expires
            last[1] += amount
        else:
            log.append([expires, amount, expires])

    def give_back(self, amount: float) -> None:
        """Forget the newest charge of this amount: it never reached the server."""
        if self._log:
            taken = min(amount, self._log[-1][1])
            self._log[-1][1] -= taken
            self._sum -= taken

    def before(self, amount: float, ago_s: float, now: float) -> None:
        """An earlier process charged this so long ago; call oldest first, before any `take`."""
        expires = now - ago_s + self.window_s
        self._log.append([expires, amount, expires])
        self._sum += amount

    def oldest_expires(self, now: float) -> float:
        """When the oldest charge expires; `now` if there is none."""
        self.used(now)
        return self._log[0][0] if self._log else now


class Fixed:
    """At most `limit` until `ends`, then again every `period_s` seconds; each begins `margin_s` later here.

    When a window begins is known from answers that were late by more or less. So a few go first; where these are
    refused it is not open yet. That costs nothing but once, as a window is used up long before its end.
    """

    __slots__ = ("_opened", "ends", "limit", "margin_s", "period_s", "used")

    def __init__(self, limit: float, ends: float, period_s: float, used: float) -> None:
        self.limit = limit
        self.ends = ends
        self.period_s = period_s
        self.used = used
        self.margin_s = 0.05
        self._opened = float("-inf")  # when a window began, as far as is known

    def roll(self, now: float) -> None:
        """Begin the windows that have begun by `now`."""
        over_s = now - self.ends - self.margin_s
        if over_s >= -1e-9:  # sums of floats miss their mark by a hair: who waits as long as told is let in
            self._opened = self.ends + self.margin_s
            self.ends += self.period_s * (1 + max(0.0, over_s) // self.period_s)
            self.used = min(self.limit, max(0.0, self.used - self.limit))  # a debt goes over, one window's at most

    def left(self, now: float) -> float:
        """What may be taken until the window ends."""
        self.roll(now)
        return self.limit - self.used

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 if now."""
        if min(amount, self.limit) > self.left(now) + 1e-9 or now > self.ends:
            return max(0.0, self.ends + self.margin_s - now)
        opening_s = self._opened + _OPENS_S - now
        return opening_s if opening_s > 0 and self.used > self.limit * _FIRST else 0.0

    def take(self, amount: float, now: float) -> None:
        """Charge `amount`."""
        self.roll(now)
        self.used += amount

    def set_left(self, left: float, now: float) -> None:
        """So much is left of this window."""
        self.roll(now)
        self.used = self.limit - left

    def not_yet(self, wait_s: float, now: float) -> bool:
        """A request was refused, to be repeated after `wait_s`: whether that shows a window that was thought open."""
        if now - self._opened > 2 * _OPENS_S + wait_s or wait_s > self.period_s / 2:
            return False
        self.ends, self.used, self._opened = now + wait_s, self.limit, float("-inf")
        return True
