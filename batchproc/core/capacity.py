"""How much a server lets through, kept as token buckets: «how long must I wait» is a pure question.

A limit of L per window is, to most servers, a bucket that holds L and refills at L/window. Some enforce it
over a second instead, some over calendar minutes, some over a sliding one; a client cannot see which. So a
tracker keeps two buckets that refill alike:

- the outer one holds the whole limit: nothing ever exceeds it;
- the inner one holds a *burst*, at first one second's worth. It grows by whatever the server accepts, so on a
  server whose bucket starts full it doubles with each round trip until it is as large as the outer one; at a
  refusal that the tracker did not expect it falls back to one second's worth, and from then on grows no
  further than half of what was refused.

Such a refusal also tells how full the server's bucket is: where it names a wait, the bucket lacks exactly what
refills in that time. Nothing here knows a clock: `now` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from batchproc.model import Demand

_SLOW = 1 / 600.0  # how fast a ceiling is lifted again: once its own size in ten minutes


class CapacityTracker:
    """One limit over one window, for example 3,500 requests per 60 s.

    `burst_s` fixes the burst to so many seconds' worth of the limit; None lets it adapt.
    """

    def __init__(self, limit: float, now: float, *, window_s: float = 60.0, burst_s: float | None = None) -> None:
        self.limit = float(limit)
        self.window_s = window_s
        self.rate = self.limit / window_s
        self._level = self.limit
        self.burst_s = burst_s
        self._adaptive = burst_s is None
        self._least_burst = self._one_burst()
        self.burst = min(self._least_burst, self.limit)
        self._burst_level = self.burst
        self._ceiling = self.limit
        self._at = now
        self._cut_at = float("-inf")

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 if now. More than a whole bucket waits for a full one."""
        passed = max(0.0, now - self._at)
        lack = (
            max(
                min(amount, self.limit) - self._level,
                min(amount, self.burst) - self._burst_level,
            )
            / self.rate
            - passed
        )
        return lack if lack > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> None:
        """Charge `amount`; the levels may become negative where more than a bucket is taken."""
        self._refill(now)
        self._level -= amount
        self._burst_level -= amount

    def give_back(self, amount: float, now: float) -> None:
        """Undo a charge for what never reached the server."""
        self._refill(now)
        self._level = min(self.limit, self._level + amount)
        self._burst_level = min(self.burst, self._burst_level + amount)

    def accepted(self, amount: float, now: float) -> None:
        """The server let `amount` through: dare a larger burst."""
        if not self._adaptive or self.burst >= self.limit:
            return
        self._refill(now)
        self._ceiling = min(self.limit, self._ceiling + amount * _SLOW)
        grown = min(self._ceiling, self.burst + amount)
        if grown > self.burst:
            self._burst_level += grown - self.burst
            self.burst = grown

    def refused(self, amount: float, now: float, *, sent_at: float, wait_s: float | None) -> None:
        """The server refused `amount`, sent at `sent_at`, by this limit.

        The refused request itself holds no capacity. Refusals of one round trip count once.
        """
        self._refill(now)
        lacking = amount - self.rate * wait_s if wait_s is not None else 0.0
        self._level = min(self._level, max(lacking, -self.limit))
        self._burst_level = min(self._burst_level, 0.0)
        if not self._adaptive or sent_at <= self._cut_at:
            return
        self._cut_at = now
        self._ceiling = max(self._least_burst, self.burst / 2)
        self.burst = min(self._least_burst, self.limit)
        self._burst_level = min(self._burst_level, self.burst)

    def charged_before(self, amount: float, ago_s: float) -> None:
        """An earlier process sent `amount` so many seconds ago: within the window it counts in full.

        A server that counts a sliding window does the same; one with a bucket has some of it back already.
        """
        if ago_s < self.window_s:
            self._level = max(self._level - amount, -self.limit)

    def resize(self, limit: float, now: float) -> None:
        """The limit is another one than was thought; what has been used stays used, at most one window's worth over."""
        self._refill(now)
        used = self.limit - self._level
        self.limit = float(limit)
        self.rate = self.limit / self.window_s
        self._level = max(self.limit - used, -self.limit)
        self._least_burst = self._one_burst()
        self._ceiling = self.limit
        burst = max(self.burst, self._least_burst) if self._adaptive else self._least_burst
        self.burst = min(burst, self.limit)
        self._burst_level = min(self._burst_level, self.burst)

    def _one_burst(self) -> float:
        """What is sent at once at the least: one second's worth, or as many as were asked for; never under 1."""
        return max(self.rate * (self.burst_s if self.burst_s is not None else 1.0), 1.0)

    def level(self, now: float) -> float:
        """How much of the limit is free at `now`, as far as the tracker knows."""
        return min(self.limit, self._level + self.rate * max(0.0, now - self._at))

    def _refill(self, now: float) -> None:
        passed = now - self._at
        if passed > 0:
            self._at = now
            self._level = min(self.limit, self._level + self.rate * passed)
            self._burst_level = min(self.burst, self._burst_level + self.rate * passed)


REQUESTS = "requests"
TOKENS = "tokens"


class DualCapacity:
    """The requests and the tokens of one model: a job takes from both or from neither.

    Either may be unlimited (None). `paused_until` is an instant before which the provider wants nothing; `burst_s`
    is the fixed burst of trackers that are still to be learnt (by default that of the other one).
    """

    def __init__(
        self, requests: CapacityTracker | None, tokens: CapacityTracker | None, *, burst_s: float | None = None
    ) -> None:
        self.requests = requests
        self.tokens = tokens
        known = requests or tokens
        self.burst_s = known.burst_s if burst_s is None and known is not None else burst_s
        self.paused_until = float("-inf")
        self.paused_by = ""

    def delay_s(self, demand: Demand, now: float) -> tuple[float, str]:
        """Seconds until `demand` may be sent, and what it waits for ("" if for nothing).

        A job larger than the whole token limit waits for a request only: whether it passes is the server's
        to say, and waiting does not change it.
        """
        delay, why = self.paused_until - now, self.paused_by
        if self.requests is not None:
            d = self.requests.delay_s(demand.requests, now)
            if d > delay:
                delay, why = d, REQUESTS
        if self.tokens is not None and demand.tokens <= self.tokens.limit:
            d = self.tokens.delay_s(demand.tokens, now)
            if d > delay:
                delay, why = d, TOKENS
        return (delay, why) if delay > 0 else (0.0, "")

    def take(self, demand: Demand, now: float) -> None:
        """Charge both trackers."""
        if self.requests is not None:
            self.requests.take(demand.requests, now)
        if self.tokens is not None:
            self.tokens.take(min(demand.tokens, self.tokens.limit), now)

    def give_back(self, demand: Demand, now: float) -> None:
        """Undo a charge for what never reached the server."""
        if self.requests is not None:
            self.requests.give_back(demand.requests, now)
        if self.tokens is not None:
            self.tokens.give_back(min(demand.tokens, self.tokens.limit), now)

    def accepted(self, demand: Demand, now: float) -> None:
        """The server let a request through."""
        if self.requests is not None:
            self.requests.accepted(demand.requests, now)
        if self.tokens is not None:
            self.tokens.accepted(min(demand.tokens, self.tokens.limit), now)

    def refused(self, demand: Demand, now: float, *, sent_at: float, wait_s: float | None, by: str | None) -> None:
        """The server refused a request for its rate; `by` says which limit, None if that is not known."""
        if self.requests is not None and by != TOKENS:
            self.requests.refused(demand.requests, now, sent_at=sent_at, wait_s=wait_s)
        if self.tokens is not None:
            if by != REQUESTS:
                self.tokens.refused(demand.tokens, now, sent_at=sent_at, wait_s=wait_s)
            else:  # a refused request takes no tokens
                self.tokens.give_back(min(demand.tokens, self.tokens.limit), now)

    def pause(self, until: float, why: str) -> None:
        """Send nothing before `until`."""
        if until > self.paused_until:
            self.paused_until, self.paused_by = until, why

    def learn(self, which: str, limit: int, now: float) -> bool:
        """The server named its limit per minute: the lower of it and the known one holds. True if it is news."""
        tracker = self.requests if which == REQUESTS else self.tokens
        if tracker is not None:
            if limit >= tracker.limit:
                return False
            tracker.resize(limit, now)
            return True
        tracker = CapacityTracker(limit, now, burst_s=self.burst_s)
        if which == REQUESTS:
            self.requests = tracker
        else:
            self.tokens = tracker
        return True
