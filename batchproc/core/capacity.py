"""The requests and the tokens of one model, taken together or not at all.

How each of the two limits is followed is the tracker's business (`tracker.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from batchproc.core.tracker import CapacityTracker, Stamp
from batchproc.model import Demand, RateSeen

REQUESTS = "requests"
TOKENS = "tokens"
Stamps: TypeAlias = tuple[Stamp | None, Stamp | None]
_MINUTE_S, _DAY_S = 60.0, 86_400.0


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
                delay, why = d, "requests per minute"
        if self.tokens is not None and demand.tokens <= self.tokens.limit:
            d = self.tokens.delay_s(demand.tokens, now)
            if d > delay:
                delay, why = d, "tokens per minute"
        return (delay, why) if delay > 0 else (0.0, "")

    def take(self, demand: Demand, now: float) -> Stamps:
        """Charge both trackers; keep what this returns until the answer comes."""
        requests, tokens = self.requests, self.tokens
        return (
            requests.take(demand.requests, now) if requests is not None else None,
            tokens.take(min(demand.tokens, tokens.limit), now) if tokens is not None else None,
        )

    def returned(self, stamps: Stamps) -> None:
        """The request of these stamps is not under way any more, however it ended."""
        if self.requests is not None and stamps[0] is not None:
            self.requests.returned(stamps[0])
        if self.tokens is not None and stamps[1] is not None:
            self.tokens.returned(stamps[1])

    def give_back(self, demand: Demand, stamps: Stamps, now: float) -> None:
        """Undo a charge for what never reached the server."""
        if self.requests is not None and stamps[0] is not None and demand.requests:
            self.requests.give_back(demand.requests, now, stamps[0])
        if self.tokens is not None and stamps[1] is not None:
            self.tokens.give_back(min(demand.tokens, self.tokens.limit), now, stamps[1])

    def accepted(self, demand: Demand, stamps: Stamps, now: float) -> None:
        """The server let a request through."""
        if self.requests is not None and stamps[0] is not None:
            self.requests.accepted(demand.requests, now, stamps[0])
        if self.tokens is not None and stamps[1] is not None:
            self.tokens.accepted(min(demand.tokens, self.tokens.limit), now, stamps[1])

    def refused(self, demand: Demand, stamps: Stamps, now: float, *, wait_s: float | None, by: str | None) -> None:
        """The server refused a request for its rate; `by` says which limit, None if that is not known.

        A refused request counts as a request, and takes no tokens.
        """
        if self.requests is not None and stamps[0] is not None and by != TOKENS:
            self.requests.refused(demand.requests, now, stamps[0], wait_s)
        if self.tokens is not None and stamps[1] is not None:
            self.tokens.give_back(min(demand.tokens, self.tokens.limit), now, stamps[1])
            if by != REQUESTS:
                self.tokens.refused(demand.tokens, now, stamps[1], wait_s)

    def told(self, rates: Iterable[RateSeen], stamps: Stamps, now: float) -> None:
        """The headers of the answer to the request that these stamps are of. A limit not known yet is learnt."""
        for seen in rates:
            if seen.what not in (REQUESTS, TOKENS):
                continue  # input and output apart: not followed yet
            tracker, stamp = (self.requests, stamps[0]) if seen.what == REQUESTS else (self.tokens, stamps[1])
            if tracker is None:
                self._meet(seen, now)
            elif stamp is not None and (seen.window_s or tracker.window_s) == tracker.window_s:
                tracker.told(seen, stamp, now)

    def _meet(self, seen: RateSeen, now: float) -> None:
        """A limit per minute that the user did not name. One per day is left to its refusals, which name it."""
        used = seen.limit - seen.remaining
        window_s = seen.window_s
        if window_s is None and used > 0 and seen.reset_s:
            window_s = seen.reset_s * seen.limit / used
            window_s = window_s if abs(window_s - _DAY_S) < 0.02 * _DAY_S else None
        if window_s is not None and window_s != _MINUTE_S:
            return
        tracker = CapacityTracker(seen.limit, now, burst_s=self.burst_s)
        tracker.begin_at(seen.remaining, now)
        if seen.what == REQUESTS:
            self.requests = tracker
        else:
            self.tokens = tracker

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
