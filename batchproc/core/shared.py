"""The limits of one model that several runs share: what this run asks the store for, and what it does without it.

A job is let out only against what is leased. Where the next one does not fit, everything that is short is asked for
at once, up to a lease of about LEASE_S / workers of each limit, or what the job needs, if that is more; the answer says
when it comes into force. Only one booking is under way at a time: so runs that are busy take turns, and their shares
are equal. What lies unused for IDLE_S is given back.

While the store is lost a run goes on with a part of its last fair share (`share`, 0: it waits), evenly, and keeps
account of it. Before the first answer of the store nothing is let out at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from batchproc.core.capacity import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, TOKENS, DualCapacity, Stamps
from batchproc.core.leased import ASKED_S, Leased
from batchproc.lease import BEAT_S, BURST_S, Ask, Granted, Want
from batchproc.model import Demand

IDLE_S = 1.0
_LONGEST_HOLD_S = 300.0  # of what a provider says to one run, others hold so much at the most: then they see themselves
_WHATS = frozenset({REQUESTS, TOKENS, INPUT_TOKENS, OUTPUT_TOKENS})
_LOST = "the lost store of the quota"
_NEVER, _FAR = float("-inf"), float("inf")


class SharedCapacity(DualCapacity):
    """See the module's text. `name` is that of the quota; `want` is called when there is something to ask for."""

    def __init__(
        self,
        name: str,
        parts: Iterable[tuple[str, Leased]],
        want: Callable[[], None],
        *,
        fraction: float = 1.0,
        burst_s: float | None = None,
        reset: bool = False,
    ) -> None:
        super().__init__(None, None, burst_s=burst_s)
        self.name = name
        self.workers = 0  # 0: not told yet
        self.told_given: dict[str, float] = {}  # what the first run was given, by key
        self.news: list[str] = []
        self._want = want
        self._fraction = fraction
        self._keep_s = burst_s if burst_s is not None else BURST_S
        self._reset = reset
        self._leased: dict[str, tuple[str, Leased]] = {}  # by key
        self._short = False  # a job waits for a lease that is not asked for
        self._may_at = _NEVER  # not before, to stay below the fraction
        self._used_at = _NEVER
        self._beat_at = _NEVER
        self._hold_until = self._hold_sent = _NEVER
        self.lost = False
        self._share = 0.0  # of the limits, without the store
        self._free_at = _NEVER
        for what, part in parts:
            self._join(what, part)

    def _join(self, what: str, leased: Leased) -> None:
        _, part = self._part(what, leased.window_s)
        part.tracker = leased
        self._leased[Want(what, leased.window_s, 0.0).key] = (what, leased)
        by_what = {w: one for w, one in self._leased.values() if one.window_s < 3600.0}
        for w, one in self._leased.values():
            one.sibling = by_what.get(w) if one.window_s >= 3600.0 else None

    # --- what the scheduler asks -----------------------------------------------------------------------------

    def delay_s(self, demand: Demand, now: float) -> tuple[float, str]:
        """Seconds until `demand` may be sent, and what it waits for; a guess where it must be leased first."""
        pending = False
        for _, leased in self._leased.values():
            leased.collect(now)
            pending = pending or leased.due < _FAR
        if not self.workers and not self.lost:
            self._short, self._used_at = True, now
            self._want()
            return ASKED_S, "the quota"
        delay, why = super().delay_s(demand, now)
        if delay <= 0 or self.paused_until > now or pending or not self._note(demand):
            return delay, why
        self._used_at = now
        if self.lost:
            if self._share <= 0 or not self.workers:
                return ASKED_S, _LOST
            self._book_alone(now)
            return super().delay_s(demand, now)
        self._short = True
        if self._may_at > now:
            return self._may_at - now, "the share of --quota-fraction"
        self._want()
        return delay, why

    def _note(self, demand: Demand) -> bool:
        """Note what a job needs; whether a lease would help."""
        short = False
        for what, leased in self._leased.values():
            amount: float = getattr(demand, what)
            leased.need = amount if amount <= leased.limit else 0.0
            short = short or leased.lacks(leased.need)
        return short

    def take(self, demand: Demand, now: float) -> Stamps:
        """Charge what is held."""
        self._used_at = now
        return super().take(demand, now)

    def refused(
        self, demand: Demand, stamps: Stamps, now: float, *, wait_s: float | None, by: str | None, daily: bool = False
    ) -> None:
        """The server refused a request for its rate: its wait holds for all runs."""
        super().refused(demand, stamps, now, wait_s=wait_s, by=by, daily=daily)
        if wait_s:
            self._hold_until = max(self._hold_until, now + min(wait_s, _LONGEST_HOLD_S))
            self._want()

    # --- what the store is asked -----------------------------------------------------------------------------

    def ask(self, now: float, *, leaving: bool = False) -> Ask | None:
        """What the store should be asked now; None if nothing. What is given back is not held any more."""
        for _, leased in self._leased.values():
            leased.collect(now)
        pending = any(one.due < _FAR for _, one in self._leased.values())
        idle = leaving or (not pending and now - self._used_at > IDLE_S)
        costs: dict[str, float] = {}
        if idle:
            costs = {key: -(one.balance + one.pending) for key, (_, one) in self._leased.items()}
            owes = any(one.offline for _, one in self._leased.values()) or self._hold_s(now) > 0
            if not any(costs.values()) and not owes and not (leaving and self.workers):
                return None
        elif self.workers and self._short and not pending and now >= self._may_at and now >= self.paused_until:
            costs = {k: max(one.target(self.workers), one.need) - one.balance for k, (_, one) in self._leased.items()}
        elif self.workers and now - self._beat_at < BEAT_S and not self._hold_s(now):
            return None
        self._beat_at, self._hold_sent = now, self._hold_until
        wants = []
        for key, (what, one) in self._leased.items():
            cost = costs.get(key, 0.0)
            if idle:
                one.balance = one.pending = 0.0
                one.due = _FAR
            elif cost < 0:
                one.balance += cost
            wants.append(Want(what, one.window_s, one.given, cost, one.offline, one.lower))
        return Ask(self.name, tuple(wants), self._keep_s, self._hold_s(now), idle, self._reset)

    def _hold_s(self, now: float) -> float:
        return max(0.0, self._hold_until - now)

    def granted(self, ask: Ask, granted: Granted, now: float) -> None:
        """The answer to what was asked."""
        self.lost = self._reset = False
        self.workers = granted.workers
        if self._hold_sent == self._hold_until:
            self._hold_until = _NEVER
        spans = [0.0]
        for want in ask.wants:
            one = self._leased[want.key][1]
            one.offline -= want.offline
            if want.told and one.lower == want.told:
                one.lower = 0.0
            if want.cost > 0 and not ask.leaving:
                one.pending = want.cost
                spans.append(want.cost / (one.rate * self._fraction))
        if max(spans):
            self._short = False
            for _, one in self._leased.values():
                one.due = now + granted.wait_s
            if self._fraction < 1:
                self._may_at = max(self._may_at, now) + max(spans)
        if granted.hold_s > 0:
            self.pause(now + granted.hold_s, "the provider's pause")
        self._limits(granted)

    def _limits(self, granted: Granted) -> None:
        """The store's limits are those that hold; one that this run does not know is followed from now on."""
        for key, limit in granted.limits.items():
            given = granted.given.get(key, limit)
            what, _, window = key.partition("/")
            if key not in self._leased:
                if what not in _WHATS or not window.isdecimal():
                    continue  # of a later version, perhaps
                self._join(what, Leased(given, window_s=float(window)))
                self._leased[key][1].given = 0.0
            one = self._leased[key][1]
            if one.given and one.given != given and self.told_given.get(key) != given:
                self.news.append(
                    f"the quota is {given:,.0f} {self._part(what, one.window_s)[1].why} for all runs, as the first "
                    f"said, not {one.given:,.0f}; `--quota-reset` changes it"
                )
            self.told_given[key] = given
            one.alone = granted.workers == 1
            if not one.lower:
                one.now_is(limit)

    # --- without the store -----------------------------------------------------------------------------------

    def lose(self, share: float, workers: int) -> None:
        """The store is lost: go on with `share` of the last fair share of one of `workers`; 0: wait."""
        if self.lost:
            return
        self.lost = True
        self.workers = self.workers or workers
        self._share = min(share / self.workers, self._fraction) if self.workers else 0.0
        self._free_at = _NEVER

    def found(self) -> None:
        """The store is there again: it is asked at once."""
        self.lost, self._beat_at = False, _NEVER

    def _book_alone(self, now: float) -> None:
        """A lease from nobody, at the pace of the share: in force when it would have refilled."""
        every = [one for _, one in self._leased.values()]
        costs = [(one, max(0.0, max(one.target(self.workers), one.need) - one.balance)) for one in every]
        spans = [cost / (one.rate * self._share) for one, cost in costs]
        self._free_at = max(self._free_at, now) + max(spans)
        for one, cost in costs:
            one.pending, one.due = cost, self._free_at
            one.offline += cost
