"""What a failed attempt means: for its job (again later, given up, left), for its lane, for its model, for the run."""

from __future__ import annotations

from batchproc.core import retry
from batchproc.core.capacity import DAY_S, MINUTE_S, TOKENS
from batchproc.core.decisions import Ended, Halt, HaltKind, Left, Requeued
from batchproc.core.guards import Guards
from batchproc.core.lane import Lane, Ticket
from batchproc.core.modelqueue import ModelQueue, Policy
from batchproc.model import Demand, Fault, FaultKind

_MOST_CROWDED = 20  # refusals for «too many at once» that one job may have without being suspected


class Failures:
    """Brings trackers, lane and guards up to date and says what happens to the job."""

    def __init__(self, policy: Policy, guards: Guards) -> None:
        self._max_attempts = policy.max_attempts
        self._guards = guards

    def after(
        self, queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, in_flight: int, now: float, u: float
    ) -> Ended | Requeued | Left:
        """An attempt failed; `in_flight` counts it too."""
        kind = fault.kind
        if kind is FaultKind.REFUSED:
            self._guards.halt(Halt(HaltKind.REFUSED, fault.message, None))
            return Left(ticket, fault)
        if kind is FaultKind.RATE_LIMITED:
            if lane.good(now):
                lane.window.restart()
            if _bare(queue, fault) and _too_many(lane, ticket, in_flight, now):
                return _again(lane, ticket, fault, now, retry.spread_s(1.0, u))
            return self._rate_limited(queue, lane, ticket, fault, now, u)
        if kind is FaultKind.CONNECT:
            ticket.attempts -= 1  # it was never sent
            queue.capacity.give_back(ticket.demand, ticket.stamps, now)
            if lane.unreachable(now, fault.message):
                lane.forgive()
            return _again(lane, ticket, fault, now, retry.spread_s(1.0, u))
        if kind is FaultKind.TIMEOUT:
            return self._timed_out(lane, ticket, fault, now, u)
        if kind in retry.STRIKES:
            return self._strike(queue, lane, ticket, fault, in_flight, now, u)
        lane.answered(ticket, in_flight, now)
        if kind is FaultKind.TOO_LARGE:
            _learn_too_large(queue, lane, ticket, fault, now)
        else:
            queue.passed()
        if self._guards.holds(ticket.job.index, fault):
            return Left(ticket, fault) if self._guards.halted else _again(lane, ticket, fault, now, 1.0 + u)
        return self._give_up(ticket, fault)

    @staticmethod
    def _rate_limited(queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, now: float, u: float) -> Requeued:
        queue.refused(ticket.sent_at, fault, now)
        wait_s = fault.wait_s if fault.wait_s is not None else retry.pause_s(queue.refusals, u)
        which = fault.limit[0] if fault.limit is not None else None
        capacity = queue.capacity
        if fault.limit is not None:
            capacity.learn(*fault.limit, now, window_s=DAY_S if fault.daily else MINUTE_S)
            queue.tell_limits()
        queue.charging.refused(ticket.job, by_tokens=which == TOKENS and not fault.daily)
        capacity.refused(ticket.demand, ticket.stamps, now, wait_s=fault.wait_s, by=which, daily=fault.daily)
        capacity.pause(now + wait_s, "the provider's pause" if fault.wait_s else "a pause after refusals")
        return _again(lane, ticket, fault, now, wait_s + retry.spread_s(wait_s, u))

    def _strike(
        self, queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, in_flight: int, now: float, u: float
    ) -> Ended | Requeued:
        if fault.kind is FaultKind.OVERLOADED and lane.out_since is None and _too_many(lane, ticket, in_flight, now):
            return _again(lane, ticket, fault, now, max(retry.spread_s(1.0, u), fault.wait_s or 0.0))
        if not ticket.strikes:
            ticket.first_strike_at = now
        ticket.strikes += 1
        if fault.kind is FaultKind.INVALID:
            lane.answered(ticket, in_flight, now)
            queue.passed()
        if fault.kind is not FaultKind.INVALID and lane.failing(ticket, now, fault.message):
            lane.forgive()
        if lane.out_since is not None:
            ticket.strikes = 0
            return _again(lane, ticket, fault, now, retry.spread_s(1.0, u))
        if ticket.strikes >= self._max_attempts:
            lane.ended_otherwise = True
            code = fault.code or "attempts_exhausted"
            return self._give_up(ticket, fault, code, f"given up after {ticket.strikes} attempts: {fault.message}")
        wait_s = max(retry.backoff_s(ticket.strikes, u), fault.wait_s or 0.0)
        return _again(lane, ticket, fault, now, wait_s)

    def _timed_out(self, lane: Lane, ticket: Ticket, fault: Fault, now: float, u: float) -> Ended | Requeued:
        ticket.timeouts += 1
        if ticket.timeouts < retry.TIMEOUTS:
            return _again(lane, ticket, fault, now, retry.backoff_s(1, u))
        self._guards.timed_out(lane)
        return self._give_up(ticket, fault)

    def _give_up(self, ticket: Ticket, fault: Fault, code: str | None = None, message: str | None = None) -> Ended:
        self._guards.failed(fault)
        return Ended(ticket, fault, code, message)


def _bare(queue: ModelQueue, fault: Fault) -> bool:
    """A 429 that names no limit and no wait, of a model of which no limit is known: it may mean «too many at once»."""
    return not queue.capacity.known and fault.wait_s is None and fault.limit is None and not fault.daily


def _too_many(lane: Lane, ticket: Ticket, in_flight: int, now: float) -> bool:
    """A refusal of the lane's server: whether all it says is «too many at once», so that neither job nor server fails.

    A job to which that happens again and again is refused for itself.
    """
    if not lane.window.overloaded(in_flight, ticket.sent_at, now) or in_flight < 2:
        return False
    ticket.crowded += 1
    return ticket.crowded <= _MOST_CROWDED


def _again(lane: Lane, ticket: Ticket, fault: Fault, now: float, wait_s: float) -> Requeued:
    lane.requeue(ticket, now + wait_s)
    return Requeued(ticket, fault, wait_s)


def _learn_too_large(queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, now: float) -> None:
    queue.capacity.give_back(Demand(0, ticket.demand.tokens), ticket.stamps, now)
    if fault.limit is not None:
        queue.capacity.learn(*fault.limit, now)
    estimate = ticket.demand.tokens
    lane.too_large_from = min(lane.too_large_from, estimate or float("inf"))
    if fault.requested and estimate:
        scale = fault.requested / estimate
        lane.scale = min(lane.scale or scale, scale)
