"""One limit over one window, followed as well as the server lets it be followed.

To most servers a limit of L per minute is a bucket that holds L and refills evenly. Some enforce it over a second,
some over calendar minutes, some over a sliding minute. A client that treats one kind like another is refused all the
time or stays below its quota, so a tracker begins without a belief and lets evidence pick:

    UNKNOWN  dare a burst: at first one second's worth, larger by whatever the server accepts, so that it doubles with
             each round trip; never more than L in a sliding minute, except for one probe.
    BUCKET   the probe passed: more than L in a minute was accepted, so it refills. Or the headers say so.
    SLIDING  the probe was refused, for about as long as the oldest send takes to leave the minute.
    FIXED    the probe was refused for another time: that is when the server's minute begins anew.
    PACED    a refusal came long before L was used: the limit is enforced over something short. Even pacing, with a
             burst of a second's worth at most, is what every kind of server accepts.

Headers, where there are any, say it with the first answers (`resets.py`), and revise what refusals seemed to say.
That they speak of the instant at which *that* request was admitted is allowed for in `evidence.py`.
"""

from __future__ import annotations

from msgspec import Struct

from batchproc.core.calendar import Calendar
from batchproc.core.evidence import Evidence, Grain
from batchproc.core.resets import Kind, Resets
from batchproc.core.windows import Bucket, Sliding
from batchproc.model import RateSeen

_EARLY = 0.5  # share of the limit below which a refusal shows that the limit is enforced over something short
_SAME_S = 2.0  # two instants that are the same for a server that gives waits in whole seconds
_LONG_S = 3600.0  # a window this long is not paced: what is left of a day may be sent at once
_SHORT_S = 1.5  # a bucket of a second's worth holds less than this much
_MARGIN_S = 0.05  # to begin with: two requests do not take equally long to the server
_MOST_MARGIN_S = 1.0
_WINDOWS = frozenset({Kind.FIXED, Kind.SLIDING})
__all__ = ["CapacityTracker", "Kind", "Stamp"]


class Stamp(Struct, frozen=True, gc=False):
    """A charge: when, how much, what had been charged by then in all, and whether it was the probe."""

    at: float
    amount: float
    total: float
    grain: Grain
    probe: bool = False


class CapacityTracker:
    """One limit over one window, for example 3,500 requests per 60 s.

    `burst_s` fixes the burst to so many seconds' worth of the limit and turns the evidence off; None adapts.
    """

    alone = True  # what headers say of the limit is about this run only

    def __init__(self, limit: float, now: float, *, window_s: float = 60.0, burst_s: float | None = None) -> None:
        self.limit = self._given = float(limit)  # what is given is never exceeded, whatever a server allows
        self.window_s = window_s
        self.rate = self.limit / window_s
        self.burst_s = burst_s
        self._long = window_s >= _LONG_S
        self._adapts = burst_s is None or self._long
        self.kind = Kind.UNKNOWN if self._adapts else Kind.PACED
        self._total = self._under_way = 0.0
        self._outer = Bucket(self.limit, self.rate, now - window_s if self._long else now)
        if self._adapts:
            self._outer.margin_s = _MARGIN_S
        self._burst = Bucket(self._most_at_once(burst_s or 1.0), self.rate, now)
        self._sliding = Sliding(self.limit, window_s)
        self._sliding.margin_s = _MARGIN_S
        self._fixed: Calendar | None = None
        self._probing = False
        self._cut_at = float("-inf")
        self._evidence = Evidence()
        self._resets = Resets()

    @property
    def burst(self) -> float:
        """How much is dared at once while the server's kind is not known."""
        return self._burst.capacity

    @property
    def capacity(self) -> float:
        """What the server holds when it is untouched, as far as is known."""
        return self._outer.capacity

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 if now. More than the limit waits for an untouched window."""
        kind = self.kind
        if kind is Kind.BUCKET:
            return self._outer.delay_s(amount, now)
        if kind is Kind.FIXED and self._fixed is not None:
            return self._fixed.delay_s(amount, now)
        if kind is Kind.SLIDING:
            return self._sliding.delay_s(amount, now)
        paced = max(self._burst.delay_s(amount, now), self._outer.delay_s(amount, now))
        if kind is Kind.PACED:
            return paced
        sliding = self._sliding.delay_s(amount, now)
        return paced if not self._probing and sliding > 0 else max(paced, sliding)

    def _most_at_once(self, burst_s: float) -> float:
        return self.limit if self._long else min(self.limit, max(self.rate * burst_s, 1.0))

    def take(self, amount: float, now: float) -> Stamp:
        """Charge `amount`; levels may become negative where more than a window holds is taken."""
        probe, kind = False, self.kind
        if kind is Kind.UNKNOWN and self._sliding.delay_s(amount, now) > 0:
            probe = self._probing = True
        self._total += amount
        self._under_way += amount
        self._outer.take(amount, now)
        if kind is Kind.UNKNOWN or kind is Kind.PACED:  # once it is another, it is never one of these again
            self._burst.take(amount, now)
        self._sliding.take(amount, now)
        if self._fixed is not None:
            self._fixed.take(amount, now)
        return Stamp(now, amount, self._total, self._evidence.sent(amount, self._total, now), probe)

    def returned(self, stamp: Stamp) -> None:
        """The request of this stamp is not under way any more, however it ended."""
        stamp.grain.under_way -= stamp.amount
        self._under_way -= stamp.amount

    def give_back(self, amount: float, now: float, stamp: Stamp | None = None) -> None:
        """Undo a charge for what never reached the server, or took nothing there."""
        self._total -= amount
        self._outer.take(-amount, now)
        self._burst.take(-amount, now)
        self._sliding.give_back(amount)
        if self._fixed is not None:
            self._fixed.take(-amount, now)
        if stamp is not None:
            self._evidence.took_nothing(stamp.grain, amount)
            self._probing = self._probing and not stamp.probe

    def accepted(self, now: float, stamp: Stamp) -> None:
        """The server let the request of this stamp through."""
        if self.kind is not Kind.UNKNOWN:
            return
        if stamp.probe:
            self.kind, self._probing = Kind.BUCKET, False
        self._burst.grow(stamp.amount, self.limit, now)

    def refused(self, amount: float, now: float, stamp: Stamp, wait_s: float | None) -> None:
        """The server refused `amount` by this limit; refusals of one round trip count once."""
        if wait_s is not None:
            needed = min(amount, self._outer.capacity)
            self._outer.set(min(self._outer.level(now), max(needed - self.rate * wait_s, -self.limit)), now)
        else:
            self._outer.set(min(self._outer.level(now), 0.0), now)
        self._burst.set(min(self._burst.level(now), 0.0), now)
        if stamp.probe:
            self._probing = False
        fixed = self._fixed
        if fixed is not None and fixed.limit < 0.95 * self.limit and wait_s is not None and wait_s > _MOST_MARGIN_S:
            fixed.limit = max(1.0, fixed.limit - amount)  # its windows hold less than was thought
        if not self._adapts or stamp.at <= self._cut_at:
            return
        self._cut_at = now
        if self.kind is Kind.UNKNOWN:
            early = self._sliding.used(now) < _EARLY * self.limit and not stamp.probe
            if early:
                self._pace(now)
            else:
                self._window(now, wait_s)
        elif self.kind is Kind.PACED:
            self._burst.resize(max(1.0, self._burst.capacity * 0.7), self.rate, now)
        elif wait_s is not None:
            self._late(amount, now, wait_s)

    def told(self, seen: RateSeen, stamp: Stamp, now: float) -> None:
        """The headers of the answer to the request of `stamp`."""
        if not self._adapts:
            return
        # A limit that takes longer than the window to be as new is another one, of a day for example.
        longer = seen.reset_s is not None and seen.remaining > 0 and seen.reset_s > self.window_s * 1.05 + 1.0
        wanted = min(self._given, float(seen.limit))
        if wanted != self.limit and not longer:
            self.resize(wanted, now)
        if seen.limit > self._given * 1.001 or longer:  # more than the user allows: it only matters when it is near
            left = seen.remaining - (self._total - stamp.total)
            if left < self._outer.level(now):
                self._outer.set(left, now)
            return
        remaining: float = seen.remaining
        if seen.reset_s is not None and remaining > 0:
            self._classify(remaining, seen.reset_s, stamp)
        elif seen.reset_s is not None and self.kind is Kind.BUCKET:
            # A debt shows only in how long it takes to be full again.
            remaining = min(0.0, self._outer.capacity - seen.reset_s * self.rate)
        if self.kind is Kind.FIXED and self._fixed is not None:
            self._fixed.told(
                seen.remaining,
                seen.reset_s,
                (stamp.at, stamp.total, stamp.grain),
                now,
                total=self._total,
                most=self.limit,
                evidence=self._evidence,
            )
        elif self.kind is not Kind.SLIDING and self._evidence.told(stamp.grain, stamp.at, remaining, self.rate):
            own = self._outer.level(now)
            left = self._evidence.left(now, self._total, self.rate, own)
            if self._outer.full_at > self._evidence.newest_at:  # it was full since: part of the refill was lost
                left = min(left, own)
            if self._long:  # nothing refills what a request that is late on its way will take: be certain
                left = max(min(left, own), left - self._under_way)
            self._outer.set(left, now)

    def resize(self, limit: float, now: float) -> None:
        """The limit is another one than was thought; what has been used stays used."""
        self.limit = float(limit)
        self.rate = self.limit / self.window_s
        self._outer.resize(self.limit, self.rate, now)
        most = self.limit if self.burst_s is None else self._most_at_once(self.burst_s)
        self._burst.resize(min(most, self._burst.capacity), self.rate, now)
        self._sliding.limit = self.limit
        if self._fixed is not None:
            self._fixed.limit = min(self._fixed.limit, self.limit)

    def charged_before(self, amount: float, ago_s: float, now: float) -> None:
        """An earlier process sent `amount` so many seconds ago: within the window it counts in full. Oldest first."""
        if ago_s < self.window_s:
            at = now - ago_s if self._long else now  # of a day much is refilled again, where the server refills
            self._outer.set(max(self._outer.level(at) - amount, -self.limit), at)
            self._sliding.before(amount, ago_s, now)

    def begin_at(self, remaining: float, now: float) -> None:
        """So much is left of a limit that was not followed until now."""
        self._outer.set(remaining, now)
        self._sliding.before(max(0.0, self.limit - remaining), 0.0, now)

    def level(self, now: float) -> float:
        """How much may be taken at `now`, as far as the tracker knows."""
        if self.kind is Kind.FIXED and self._fixed is not None:
            return self._fixed.left(now)
        if self.kind is Kind.BUCKET or self.kind is Kind.PACED:
            return self._outer.level(now)
        return self.limit - self._sliding.used(now)

    # --- picking ---------------------------------------------------------------------------------------------

    def _pace(self, now: float) -> None:
        if self._long:
            return  # others share it: what refills is all there is
        self.kind = Kind.PACED
        self._burst.resize(self._most_at_once(1.0), self.rate, now)
        self._burst.set(min(0.0, self._burst.level(now)), now)

    def _late(self, amount: float, now: float, wait_s: float) -> None:
        """A refusal where there should have been room. A short wait means: a little later would have done."""
        short_s = 2 * amount / self.rate + 1.0 if self.kind is Kind.BUCKET else _MOST_MARGIN_S
        if wait_s > short_s:  # longer than a bucket ever lets wait, or another window than was thought
            if not (self.kind is Kind.BUCKET and self._resets.settled):  # else we charged otherwise than the server
                self._window(now, wait_s)
            return
        if self.kind is Kind.FIXED and self._fixed is not None and self._fixed.not_yet(wait_s, now):
            return
        most_s = _MOST_MARGIN_S if self.kind is Kind.SLIDING else 0.1
        window = self._fixed if self.kind is Kind.FIXED else self._sliding if self.kind is Kind.SLIDING else self._outer
        if window is not None:
            window.margin_s = min(_MOST_MARGIN_S, window.margin_s + min(wait_s, most_s) + 0.02)

    def _window(self, now: float, wait_s: float | None) -> None:
        """The server counts in windows: from known instants where the wait tells them, else sliding."""
        sliding_ends = self._sliding.oldest_expires(now)
        if wait_s is None or abs(now + wait_s - sliding_ends) < _SAME_S or not 0 < wait_s <= self.window_s:
            if self.kind is not Kind.FIXED:
                self.kind = Kind.SLIDING
            return
        self.kind = Kind.FIXED
        if self._fixed is not None:
            self._fixed.ends = now + wait_s
            self._fixed.set_left(0.0, now)
            return
        used = self._sliding.used(now)
        limit = self.limit if used > _EARLY * self.limit else max(1.0, used)
        self._fixed = Calendar(limit, now + wait_s, self.window_s, limit, told=False)

    def _classify(self, remaining: float, reset_s: float, stamp: Stamp) -> None:
        """What a reset says of the server's kind."""
        resets = self._resets
        kind = resets.look(remaining, reset_s, stamp.at, stamp.total, self.limit, self.window_s)
        if kind is None or (kind is Kind.BUCKET and self.kind in _WINDOWS and not resets.settled):
            return
        if kind is Kind.BUCKET:
            whole = resets.capacity > 0.95 * self.limit
            self._outer.resize(self.limit if whole else max(resets.capacity, 1.0), self.rate, stamp.at)
            if not whole and resets.capacity > _SHORT_S * self.rate + 1 and not resets.settled:
                return  # it may as well be a window much shorter than the limit's
        elif kind is self.kind:
            return
        elif kind is Kind.FIXED:
            # All that was charged so far was charged in this window, which must have held it and what remains.
            held = resets.held
            limit = held if held is not None and held < 0.9 * self.limit else self.limit
            self._fixed = Calendar(limit, resets.ends, self.window_s, 0.0, told=True)
        if kind is not self.kind:
            self._evidence.forget()
        self.kind, self._probing = kind, False
