"""A model: its trackers, its lanes (one for each endpoint), what was learnt of its answers."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from batchproc.core.capacity import REQUESTS, TOKENS, DualCapacity
from batchproc.core.charging import Charging
from batchproc.core.lane import Lane, Ticket
from batchproc.core.tracker import Kind
from batchproc.core.windows import Bucket
from batchproc.model import Demand, Fault, FaultKind, Job, RateSeen


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


_HELD_S = 2.0
_LOOKS_AT_ONCE, _LOOKS_PER_S = 2000.0, 500.0  # answers whose headers are read


class ModelQueue:
    """A model: its trackers, its lanes, what was learnt of its answers."""

    def __init__(self, name: str, capacity: DualCapacity, learner: Learner) -> None:
        self.name = name
        self.capacity = capacity
        self.learner = learner
        self.charging = Charging()
        self.news: list[str] = []  # for the user, once
        self._told_of: set[str] = set()
        self._looks = Bucket(_LOOKS_AT_ONCE, _LOOKS_PER_S, 0.0)
        self.lanes: list[Lane] = []
        self.blocked_until = float("-inf")
        self.why = ""
        self.refusals = 0  # round trips in a row that brought refusals
        self.refused_since: float | None = None  # the first of them
        self.refused_at = float("-inf")
        self.refusal = Fault(FaultKind.RATE_LIMITED, "", "")  # the last

    def held(self, now: float) -> bool:
        """Whether the provider keeps this model back for long enough to read on for others meanwhile."""
        return self.capacity.paused_until - now > _HELD_S

    def too_long(self, policy: Policy, now: float) -> str:
        """Why this model is not waited for (any longer), or an empty string."""
        most_s = policy.max_wait_s
        pause_s = self.capacity.paused_until - now
        if pause_s > 0 and not (self.refusal.daily and policy.wait_for_daily):
            if pause_s > most_s:
                return f"{self.name} is refused for another {pause_s:.0f} s: {self.refusal.message}"
            if self.refused_since is not None and now - self.refused_since > most_s:
                return f"{self.name} has been refused for {now - self.refused_since:.0f} s: {self.refusal.message}"
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
        self.refusal = fault

    def passed(self) -> None:
        """A request got past the limits: it was answered, or judged for what it says. A pause stands all the same."""
        self.refusals, self.refused_since = 0, None

    def _limits(self) -> tuple[float | None, float | None]:
        requests, tokens = self.capacity.requests, self.capacity.tokens
        return requests.limit if requests else None, tokens.limit if tokens else None

    def demand_of(self, job: Job) -> Demand:
        """A request, and the tokens that the server is believed to charge for it."""
        if self.capacity.tokens is None:
            return Demand(1, 0)
        return Demand(1, self.charging.charge(job, self.learner.reserve()))

    def sent(self, ticket: Ticket, now: float) -> None:
        """A job goes out: charge the trackers."""
        ticket.stamps = self.capacity.take(ticket.demand, now)
        if self.capacity.tokens is not None:
            ticket.totals = self.charging.sent(ticket.job, now)

    def wants_rates(self, now: float) -> bool:
        """Whether the headers of an answer are worth reading: at thousands a second, a part of them tells as much."""
        if self._looks.delay_s(1, now) > 0:
            return False
        self._looks.take(1, now)
        return True

    def told(self, ticket: Ticket, rates: tuple[RateSeen, ...], now: float) -> None:
        """What the headers of an answer say. What is new to the user is left in `news`."""
        before = self._limits()
        self.capacity.told(rates, ticket.stamps, now)
        if before != (known := self._limits()):
            for was, limit, what in zip(before, known, (REQUESTS, TOKENS), strict=True):
                if limit is not None and was != limit and what not in self._told_of:
                    self._told_of.add(what)
                    self.news.append(f"the server limits {self.name} to {limit:,.0f} {what} per minute")
        tokens = self.capacity.tokens
        if tokens is None or ticket.totals is None:
            return
        for seen in rates:
            if seen.what == TOKENS and tokens.kind is not Kind.UNKNOWN:
                refill = tokens.rate * seen.limit / tokens.limit if tokens.kind is Kind.BUCKET else 0.0
                ends = ticket.sent_at + (seen.reset_s or 0.0) if tokens.kind is Kind.FIXED else 0.0
                self.charging.told(ticket.totals, seen.remaining, refill, ends)
