"""A model: its trackers, its lanes (one for each endpoint), what was learnt of its answers."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from batchproc.core.capacity import MINUTE_S, TOKENS, DualCapacity
from batchproc.core.charging import Charging, Totals, charges_of
from batchproc.core.lane import Lane, Ticket
from batchproc.core.tracker import Kind
from batchproc.core.windows import Bucket
from batchproc.model import Demand, Fault, Job, RateSeen, Usage


class Learner(Protocol):
    """Learns how many output tokens a model's answers have."""

    def observe(self, output_tokens: int) -> None:
        """An answer had so many."""
        ...

    def reserve(self) -> int:
        """How many to expect of the next."""
        ...


class Policy(Struct, frozen=True):
    """What the user decided about retries and waiting. Times in seconds."""

    max_attempts: int = 8
    max_wait_s: float = 600.0
    wait_for_daily: bool = False
    concurrency: int | None = None  # None adapts
    fail_over: float | None = None  # share of failed jobs, after 20
    settles: bool = False  # the provider corrects what it charged to what was used


_HELD_S = 2.0
_LONG_S = 60.0  # a wait for a limit per day that the user is told of
_LOOKS_AT_ONCE, _LOOKS_PER_S = 600.0, 100.0  # answers whose headers are read


class ModelQueue:
    """A model: its trackers, its lanes, what was learnt of its answers."""

    def __init__(
        self, name: str, capacity: DualCapacity, learner: Learner, news: list[str], *, settles: bool = False
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.learner = learner
        self.charging = Charging()
        self.news = news
        self._settles = settles
        self._told_of: set[str] = set()
        self._looks = Bucket(_LOOKS_AT_ONCE, _LOOKS_PER_S, 0.0)
        self.lanes: list[Lane] = []
        self.blocked_until = float("-inf")
        self.why = ""
        self.refusals = 0  # round trips in a row that brought refusals
        self.refused_since: float | None = None  # the first of them
        self.refused_at = float("-inf")
        self._refusal = ""  # the last, in the provider's words
        self._refused_for_day = False
        self.full_until = float("-inf")  # until then a limit per day has no room for the next job
        self._full_why = ""
        self._told_full = False

    def held(self, now: float) -> bool:
        """Whether the provider keeps this model back for long enough to read on for others meanwhile."""
        return max(self.capacity.paused_until, self.full_until) - now > _HELD_S

    def too_long(self, policy: Policy, now: float) -> str:
        """Why this model is not waited for (any longer), or an empty string."""
        most_s = policy.max_wait_s
        pause_s = self.capacity.paused_until - now
        if pause_s > 0 and not (self._refused_for_day and policy.wait_for_daily):
            if pause_s > most_s:
                return f"{self.name} is refused for another {duration(pause_s)}: {self._refusal}"
            if self.refused_since is not None and now - self.refused_since > most_s:
                return f"{self.name} has been refused for {duration(now - self.refused_since)}: {self._refusal}"
        if self.full_until - now > most_s and not policy.wait_for_daily:
            return f"{self.name} has used up its {self._full_why}: the next fits in {duration(self.full_until - now)}"
        for lane in self.lanes:
            if lane.out_since is not None and len(lane) and lane.out_s(now, most_s) <= 0:
                return f"the server has not answered for {now - lane.out_since:.0f} s: {lane.out_why}"
        return ""

    def refused(self, sent_at: float, fault: Fault, now: float) -> None:
        """A request was refused for its rate; refusals of one round trip count once."""
        if sent_at > self.refused_at:
            self.refusals += 1
            self.refused_at = now
        if self.refused_since is None:
            self.refused_since = now
        self._refusal, self._refused_for_day = fault.message, fault.daily

    def used_up(self, wait_s: float, why: str, now: float) -> None:
        """A limit per day has no room for the next job for so long, as far as is known while others are under way."""
        self.full_until, self._full_why = now + wait_s, why
        if wait_s > _LONG_S and not self._told_full and not any(lane.in_flight for lane in self.lanes):
            self._told_full = True
            self.news.append(f"{self.name} has used up its {why}: the next request can go out in {duration(wait_s)}")

    def passed(self) -> None:
        """A request got past the limits: it was answered, or judged for what it says. A pause stands all the same."""
        self.refusals, self.refused_since = 0, None

    def demand_of(self, job: Job) -> Demand:
        """A request, and the tokens that the server is believed to charge for it."""
        if not self.capacity.counts_tokens:
            return Demand(1, 0)
        reserve = self.learner.reserve()
        if self._settles:  # what is charged too much comes back with the answer: no need to set aside a maximum
            output = reserve if job.output_cap is None else min(reserve, job.output_cap)
            return Demand(1, job.input_tokens + output, job.input_tokens, output)
        tokens = self.charging.charge(job, reserve)
        return Demand(1, tokens, job.input_tokens, max(0, tokens - job.input_tokens))

    def sent(self, ticket: Ticket, now: float) -> None:
        """A job goes out: charge the trackers."""
        ticket.stamps = self.capacity.take(ticket.demand, now)
        if self.capacity.tokens is not None and not self._settles:
            ticket.totals = self.charging.sent(ticket.job, now)

    def wants_rates(self, now: float) -> bool:
        """Whether the headers of an answer are worth reading: at thousands a second, a part of them tells as much."""
        if self._looks.delay_s(1, now) > 0:
            return False
        self._looks.take(1, now)
        return True

    def answered(self, ticket: Ticket, usage: Usage, now: float) -> None:
        """A job has its answer: learn from what it used, and settle where the provider does."""
        if usage.output_tokens and (self._settles or ticket.job.output_cap is None):
            self.learner.observe(usage.output_tokens)
        if self._settles:
            self.capacity.settle(ticket.demand, usage, ticket.stamps, now)

    def told(self, ticket: Ticket, rates: tuple[RateSeen, ...], now: float) -> None:
        """What the headers of an answer say. What is new to the user is left in `news`."""
        self.capacity.told(rates, ticket.stamps, now)
        if self.capacity.learnt:
            self.tell_limits()
        if ticket.totals is not None:
            for seen in rates:
                if seen.what == TOKENS and self.capacity.window_of(seen, now) == MINUTE_S:
                    self._charged(ticket, ticket.totals, seen)

    def _charged(self, ticket: Ticket, totals: Totals, seen: RateSeen) -> None:
        """What a header of tokens per minute says of how the server charges."""
        tokens, charging = self.capacity.tokens, self.charging
        if tokens is None or not tokens.alone:
            return
        if charging.first(ticket.job, seen.limit, seen.remaining) or tokens.kind is Kind.UNKNOWN:
            return
        if tokens.kind is Kind.SLIDING:
            charging.told_sliding(totals, seen.limit - seen.remaining, tokens.window_s)
        elif tokens.kind is Kind.FIXED:
            charging.told(totals, seen.remaining, 0.0, ticket.sent_at + (seen.reset_s or 0.0))
        else:
            refill = tokens.rate * seen.limit / tokens.limit if tokens.kind is Kind.BUCKET else 0.0
            charging.told(totals, seen.remaining, refill, full=tokens.capacity - max(charges_of(ticket.job)))

    def tell_limits(self) -> None:
        """Tell the user of limits that are learnt, each once."""
        learnt, self.capacity.learnt = self.capacity.learnt, []
        for why, limit in learnt:
            if why not in self._told_of:
                self._told_of.add(why)
                self.news.append(f"the server limits {self.name} to {limit:,.0f} {why}")


def duration(seconds: float) -> str:
    """A wait for people: `40 s`, `12 min`, `7 h 12 min`, `3 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes / 1440:.0f} days"
