"""Every limit of one model, taken from together or not at all.

The two that nearly every provider has are requests and tokens per minute. Beside them there may be limits per day, of
input and output tokens apart (Anthropic), or over other windows (Mistral counts requests over ten seconds). How each of
them is followed is the tracker's business (`tracker.py`); here it is decided which tracker an amount, a refusal or a
header is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from batchproc.core.tracker import CapacityTracker, Stamp
from batchproc.model import Demand, RateSeen, Usage

REQUESTS = "requests"
TOKENS = "tokens"
INPUT_TOKENS = "input_tokens"
OUTPUT_TOKENS = "output_tokens"
MINUTE_S, DAY_S = 60.0, 86_400.0
PER_DAY = " per day"
Stamps: TypeAlias = tuple[Stamp | None, ...]  # of each limit, in their order; limits met later have none
_NEVER = float("-inf")
_APART_S = 2.0
_LONGEST_S = 1.1 * MINUTE_S + 1.0  # no minute with something left takes longer than this to be as new


def words(what: str, window_s: float) -> str:
    """How a limit is called: `requests per minute`."""
    per = {MINUTE_S: " per minute", DAY_S: PER_DAY, 1.0: " per second"}.get(window_s, f" per {window_s:g} s")
    return what.replace("_", " ") + per


class Part:
    """One limit: of what (a field of Demand), over how long, and its tracker, None while it is not known."""

    __slots__ = ("tracker", "what", "why", "window_s")

    def __init__(self, what: str, window_s: float, tracker: CapacityTracker | None) -> None:
        self.what = what
        self.window_s = window_s
        self.tracker = tracker
        self.why = words(what, window_s)

    def amount(self, demand: Demand) -> float:
        """What a job takes of it: never more than all there is."""
        amount: float = getattr(demand, self.what)
        limit = self.tracker.limit if self.tracker is not None else amount
        return amount if amount < limit else limit


class DualCapacity:
    """The limits of one model: a job takes from all of them or from none.

    Any may be unknown (None). `paused_until` is an instant before which the provider wants nothing; `burst_s` is the
    fixed burst of trackers that are still to be learnt (by default that of those that are given). `learnt` collects
    limits that the server told and that were not known, as (words, limit), for whoever tells the user.
    """

    def __init__(
        self,
        requests: CapacityTracker | None,
        tokens: CapacityTracker | None,
        more: Iterable[tuple[str, CapacityTracker]] = (),
        *,
        burst_s: float | None = None,
    ) -> None:
        self.parts = [Part(REQUESTS, MINUTE_S, requests), Part(TOKENS, MINUTE_S, tokens)]
        self.parts += [Part(what, tracker.window_s, tracker) for what, tracker in more]
        known = requests or tokens
        self.burst_s = known.burst_s if burst_s is None and known is not None else burst_s
        self.paused_until = _NEVER
        self.paused_by = ""
        self.learnt: list[tuple[str, float]] = []
        self._daily: set[tuple[str, int]] = set()  # what, limit: of headers that were seen to be a day's
        self._like_a_day: dict[tuple[str, int], tuple[int, float, float]] = {}  # look so: used, when, its end

    @property
    def requests(self) -> CapacityTracker | None:
        """Requests per minute."""
        return self.parts[0].tracker

    @property
    def tokens(self) -> CapacityTracker | None:
        """Tokens per minute."""
        return self.parts[1].tracker

    @property
    def known(self) -> bool:
        """Whether any limit is."""
        return any(part.tracker is not None for part in self.parts)

    @property
    def counts_tokens(self) -> bool:
        """Whether any known limit is one of tokens."""
        if self.parts[1].tracker is not None:
            return True
        return any(part.tracker is not None and part.what != REQUESTS for part in self.parts)

    def charged_before(self, requests: int, tokens: int, ago_s: float, now: float) -> None:
        """An earlier process sent so much so many seconds ago; oldest first.

        How much of the tokens was input is not known: they count as both, too much rather than too little.
        """
        for part in self.parts:
            if part.tracker is not None and ago_s < part.window_s:
                part.tracker.charged_before(requests if part.what == REQUESTS else tokens, ago_s, now)

    def delay_s(self, demand: Demand, now: float) -> tuple[float, str]:
        """Seconds until `demand` may be sent, and what it waits for ("" if for nothing).

        A job larger than a whole limit does not wait for that limit: whether it passes is the server's to say, and
        waiting does not change it.
        """
        delay, why = self.paused_until - now, self.paused_by
        for part in self.parts:
            tracker = part.tracker
            if tracker is not None:
                amount = getattr(demand, part.what)
                if amount <= tracker.limit:
                    d = tracker.delay_s(amount, now)
                    if d > delay:
                        delay, why = d, part.why
        return (delay, why) if delay > 0 else (0.0, "")

    def take(self, demand: Demand, now: float) -> Stamps:
        """Charge every tracker; keep what this returns until the answer comes."""
        stamps: list[Stamp | None] = []
        for part in self.parts:
            tracker = part.tracker
            stamps.append(tracker.take(part.amount(demand), now) if tracker is not None else None)
        return tuple(stamps)

    def returned(self, stamps: Stamps) -> None:
        """The request of these stamps is not under way any more, however it ended."""
        for part, stamp in zip(self.parts, stamps, strict=False):
            if part.tracker is not None and stamp is not None:
                part.tracker.returned(stamp)

    def give_back(self, demand: Demand, stamps: Stamps, now: float) -> None:
        """Undo a charge for what never reached the server."""
        for part, stamp in zip(self.parts, stamps, strict=False):
            if part.tracker is not None and stamp is not None and (amount := part.amount(demand)):
                part.tracker.give_back(amount, now, stamp)

    def accepted(self, stamps: Stamps, now: float) -> None:
        """The server let a request through."""
        for part, stamp in zip(self.parts, stamps, strict=False):
            if stamp is not None and part.tracker is not None:
                part.tracker.accepted(now, stamp)

    def settle(self, demand: Demand, usage: Usage, stamps: Stamps, now: float) -> None:
        """The provider corrects what it charged to what was used (Anthropic and Mistral document it).

        Input tokens that were read from a cache do not count against a limit of input tokens (Anthropic's documentation
        of its rate limits).
        """
        if not usage.total_tokens:
            return
        read = usage.input_tokens - usage.cached_tokens
        used = {TOKENS: usage.total_tokens, INPUT_TOKENS: read, OUTPUT_TOKENS: usage.output_tokens}
        for part, stamp in zip(self.parts, stamps, strict=False):
            if part.tracker is not None and stamp is not None and part.what in used:
                over = part.amount(demand) - used[part.what]
                if over:
                    part.tracker.give_back(over, now, stamp)

    def refused(
        self, demand: Demand, stamps: Stamps, now: float, *, wait_s: float | None, by: str | None, daily: bool = False
    ) -> None:
        """The server refused a request for its rate; `by` says of what the limit is, None if that is not known.

        A refused request counts as a request, and takes no tokens.
        """
        for part, stamp in zip(self.parts, stamps, strict=False):
            if part.tracker is None or stamp is None:
                continue
            hit = (part.window_s >= DAY_S) is daily and (by is None or by in part.what) and not (daily and by is None)
            if part.what != REQUESTS:
                part.tracker.give_back(part.amount(demand), now, stamp)
            if hit:
                part.tracker.refused(getattr(demand, part.what), now, stamp, wait_s)

    def told(self, rates: Iterable[RateSeen], stamps: Stamps, now: float) -> None:
        """The headers of the answer to the request that these stamps are of. A limit not known yet is learnt."""
        for seen in rates:
            window_s = self.window_of(seen, now)
            if window_s is None:
                continue
            place, part = self._part(seen.what, window_s)
            if part.tracker is None:
                self._meet(part, seen, now)
            elif place < len(stamps) and (stamp := stamps[place]) is not None:
                before = part.tracker.limit
                part.tracker.told(seen, stamp, now)
                if part.tracker.limit != before:
                    self.learnt.append((part.why, part.tracker.limit))

    def _part(self, what: str, window_s: float) -> tuple[int, Part]:
        """The place of a limit, and the limit, made where it was not known."""
        for place, part in enumerate(self.parts):
            if part.what == what and part.window_s == window_s:
                return place, part
        self.parts.append(Part(what, window_s, None))
        return len(self.parts) - 1, self.parts[-1]

    def window_of(self, seen: RateSeen, now: float) -> float | None:
        """The window of a header whose name does not tell it: a minute, unless it is seen to be a day; None in doubt.

        OpenAI's headers show the requests per day where these are the tighter limit (recorded: limit 10,000, one
        used, reset 8.64 s). A bucket's window is `reset * limit / used`; as a minute that ends soon may look the same
        by accident, it takes two answers. A reset that no minute has is a day's if its instant stays where it was,
        else it is nonsense (milliseconds without a unit, say).
        """
        if seen.window_s is not None:
            return seen.window_s
        key = (seen.what, seen.limit)
        if key in self._daily:
            return DAY_S
        used = seen.limit - seen.remaining
        if seen.reset_s is None or used <= 0:
            return MINUTE_S
        long = seen.remaining > 0 and seen.reset_s > _LONGEST_S
        bucket = abs(seen.reset_s * seen.limit / used - DAY_S) <= 0.02 * DAY_S
        if not long and not bucket:
            self._like_a_day.pop(key, None)
            return MINUTE_S
        first_used, first_at, ends = self._like_a_day.setdefault(key, (used, now, now + seen.reset_s))
        stays = now - first_at >= _APART_S and abs(now + seen.reset_s - ends) < (now - first_at) / 2
        if (bucket and (long or used >= 1.5 * first_used)) or (long and stays):
            self._daily.add(key)
            return DAY_S
        return None

    def _meet(self, part: Part, seen: RateSeen, now: float) -> None:
        """A limit that the user did not name."""
        part.tracker = CapacityTracker(seen.limit, now, window_s=part.window_s, burst_s=self.burst_s)
        part.tracker.begin_at(seen.remaining, now)
        self.learnt.append((part.why, part.tracker.limit))

    def pause(self, until: float, why: str) -> None:
        """Send nothing before `until`."""
        if until > self.paused_until:
            self.paused_until, self.paused_by = until, why

    def learn(self, what: str, limit: int, now: float, *, window_s: float = MINUTE_S) -> bool:
        """The server named its limit in words: the lower of it and the known one holds. True if it is news."""
        _, part = self._part(what, window_s)
        if window_s >= DAY_S:
            self._daily.add((what, limit))
        if part.tracker is None:
            part.tracker = CapacityTracker(limit, now, window_s=window_s, burst_s=self.burst_s)
            if window_s >= DAY_S:
                part.tracker.begin_at(0, now)  # it was refused for it: what was sent today is not known
        elif limit < part.tracker.limit:
            part.tracker.resize(limit, now)
        else:
            return False
        self.learnt.append((part.why, part.tracker.limit))
        return True
