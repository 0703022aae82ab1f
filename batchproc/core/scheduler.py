"""Decides what is sent when. Sends nothing itself, and knows no clock: `now` (seconds of any steady clock) and
`u` (uniform in [0, 1)) are arguments.

A worker that is free asks `next(now)` and gets one of

    Grant    send this job now; both trackers of its model are charged at this instant
    Unsent   give this job up without a request: the server would surely refuse it
    Wait     nothing may be sent before so many seconds have passed, and why
    Idle     nothing to send until an answer or a new job comes
    Halt     send nothing any more: the run stops early
    Done     no job is left

and tells with `finished` how the attempt ended, which yields one of

    Ended    the job has its result
    Requeued it is sent again later, holding neither worker nor connection meanwhile
    Left     it stays unanswered: the run stops, a resume will send it

Each model has one pair of trackers, shared by its lanes (one for each endpoint). Within a model the job with the
lowest index goes first, so a large job cannot be starved by small ones behind it; models do not hold each other.
"""

from __future__ import annotations

from collections.abc import Callable

from batchproc.core import retry
from batchproc.core.capacity import DualCapacity
from batchproc.core.concurrency import MOST, Window
from batchproc.core.decisions import (
    DONE,
    IDLE,
    Done,
    Ended,
    Grant,
    Halt,
    HaltKind,
    Idle,
    Left,
    Requeued,
    Unsent,
    Wait,
)
from batchproc.core.lane import Lane, Ticket
from batchproc.core.modelqueue import Learner, ModelQueue, Policy
from batchproc.model import Answer, Demand, Fault, FaultKind, Job

_NO_MODEL = 20  # answers «no such model», and no others, after which the run stops
_TIMED_OUT = 5  # first jobs of a lane that all time out, after which the run stops


class Scheduler:
    """See the module's text. `capacity_for(model)` makes the trackers of a model, `learner_for(model)` its learner."""

    def __init__(
        self,
        policy: Policy,
        capacity_for: Callable[[str], DualCapacity],
        learner_for: Callable[[str], Learner],
    ) -> None:
        self.policy = policy
        self.halted: Halt | None = None
        self.in_flight = 0
        self.queued = 0  # jobs here that are not in flight
        self.models: dict[str, ModelQueue] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._capacity_for = capacity_for
        self._learner_for = learner_for
        self._input_ended = False
        self._most = policy.concurrency if policy.concurrency is not None else MOST
        self._no_model = 0
        self._ended = self._failed = 0

    # --- jobs in --------------------------------------------------------------------------------------------

    def submit(self, job: Job, attempts: int = 0) -> None:
        """Queue a job; `attempts` are requests that earlier runs sent for it."""
        lane = self._lanes.get((job.path, job.model))
        if lane is None:
            lane = self._new_lane(job.path, job.model)
        lane.queue.append(Ticket(job, attempts))
        self.queued += 1
        if len(lane.queue) == 1:
            self.models[job.model].blocked_until = float("-inf")

    def model(self, name: str) -> ModelQueue:
        """The queue of a model, made on first use."""
        queue = self.models.get(name)
        if queue is None:
            queue = self.models[name] = ModelQueue(name, self._capacity_for(name), self._learner_for(name))
        return queue

    def _new_lane(self, path: str, name: str) -> Lane:
        lane = self._lanes[path, name] = Lane(path, name, Window(self.policy.concurrency))
        self.model(name).lanes.append(lane)
        return lane

    def input_ended(self) -> None:
        """No more jobs will come."""
        self._input_ended = True

    def halt(self, halt: Halt) -> None:
        """Stop sending; the first reason given stands."""
        if self.halted is None:
            self.halted = halt

    def count_unsent_failure(self) -> None:
        """A job failed without a request (a bad line): it counts towards --fail-over."""
        self._count(failed=True)

    # --- what next ------------------------------------------------------------------------------------------

    def next(self, now: float) -> Grant | Unsent | Wait | Idle | Halt | Done:
        """What a free worker should do. A Grant has charged the trackers."""
        if self.halted is not None:
            return self.halted
        if not self.queued:
            return DONE if self._input_ended and not self.in_flight else IDLE
        if self.in_flight >= self._most:
            return IDLE
        best: tuple[Lane, Ticket, ModelQueue] | None = None
        wait_s, why = float("inf"), ""
        for queue in self.models.values():
            found = None if queue.blocked_until > now else self._head_of(queue, now)
            if found is not None:
                if best is None or found[1].job.index < best[1].job.index:
                    best = (*found, queue)
            elif queue.blocked_until - now < wait_s and not queue.too_long(self.policy, now):
                wait_s, why = queue.blocked_until - now, queue.why
        if best is not None:
            return self._take(*best, now)
        if wait_s == float("inf"):
            return self._stuck(now) or IDLE
        return Wait(wait_s, why)

    def _head_of(self, queue: ModelQueue, now: float) -> tuple[Lane, Ticket] | None:
        """The job of this model that may go now; else None, with `blocked_until` and `why` set."""
        first: tuple[Lane, Ticket] | None = None
        queue.blocked_until, queue.why = float("inf"), ""
        for lane in queue.lanes:
            ready_s, why = self._lane_ready_s(lane, now)
            if ready_s > 0:
                if now + ready_s < queue.blocked_until:
                    queue.blocked_until, queue.why = now + ready_s, why
                continue
            ticket = lane.head(now)
            if ticket is None:
                if lane.next_due() < queue.blocked_until:
                    queue.blocked_until, queue.why = lane.next_due(), "retry"
            elif first is None or ticket.job.index < first[1].job.index:
                first = (lane, ticket)
        if first is None:
            return None
        ticket = first[1]
        ticket.demand = queue.demand_of(ticket.job)
        delay_s, why = queue.capacity.delay_s(ticket.demand, now)
        if delay_s <= 0:
            queue.blocked_until = float("-inf")
            return first
        queue.blocked_until, queue.why = now + delay_s, f"{why} of {queue.name}"
        return None

    def _lane_ready_s(self, lane: Lane, now: float) -> tuple[float, str]:
        """Seconds until a lane may send for its own reasons: not while it is full, or out."""
        if not lane.window.has_room(lane.in_flight):
            return float("inf"), ""
        if lane.out_since is None:
            return 0.0, ""
        left_s = lane.out_since + self.policy.max_wait_s - now
        if left_s <= 0 or not len(lane):
            return float("inf"), ""
        return min(lane.may_probe(now), left_s), f"the server: {lane.out_why}"

    def _stuck(self, now: float) -> Halt | None:
        """Where everything that is left waits for a model that is not waited for, the run ends."""
        if self.in_flight:
            return None
        for queue in self.models.values():
            why = queue.too_long(self.policy, now)
            if why and any(len(lane) for lane in queue.lanes):
                self.halt(Halt(HaltKind.MAX_WAIT, why, _MAX_WAIT_HINT))
                return self.halted
        return None

    def _take(self, lane: Lane, ticket: Ticket, queue: ModelQueue, now: float) -> Grant | Unsent:
        lane.pop()
        self.queued -= 1
        tokens = queue.capacity.tokens
        if tokens is not None and lane.surely_too_large(ticket.demand.tokens, tokens.limit):
            self._count(failed=True)
            text = f"it needs about {ticket.demand.tokens} tokens, the limit is {tokens.limit:.0f} per minute"
            return Unsent(ticket, "request_too_large", text)
        queue.capacity.take(ticket.demand, now)
        ticket.attempts += 1
        ticket.sent_at = now
        ticket.probe = lane.out_since is not None
        if ticket.probe:
            lane.probe_sent()
        lane.in_flight += 1
        self.in_flight += 1
        return Grant(ticket)

    def waiting_retries(self) -> int:
        """Jobs that wait to be sent again."""
        return sum(lane.waiting_retries for lane in self._lanes.values())

    def out_since(self, model: str) -> tuple[float, str] | None:
        """Since when, and why, the server of a model counts as out."""
        for lane in self.models[model].lanes:
            if lane.out_since is not None:
                return lane.out_since, lane.out_why
        return None

    # --- what came of it ------------------------------------------------------------------------------------

    def finished(self, ticket: Ticket, outcome: Answer | Fault, now: float, u: float) -> Ended | Requeued | Left:
        """How an attempt ended; the trackers, the lane and the queues are brought up to date."""
        queue = self.models[ticket.job.model]
        lane = self._lanes[ticket.job.path, ticket.job.model]
        in_flight = lane.in_flight
        lane.in_flight -= 1
        self.in_flight -= 1
        queue.blocked_until = float("-inf")
        if ticket.probe:
            ticket.probe = False
            lane.probe_ended(now)
        if isinstance(outcome, Answer):
            if ticket.sent_at > queue.refused_at:  # sent after the last refusal: the server lets requests through
                queue.refusals, queue.refused_since = 0, None
            self._answered(lane, in_flight, now)
            queue.capacity.accepted(ticket.demand, now)
            if ticket.job.output_cap is None and outcome.usage.output_tokens:
                queue.learner.observe(outcome.usage.output_tokens)
            self._no_model = -1
            self._count(failed=False)
            return Ended(ticket, outcome)
        return self._failed_attempt(queue, lane, ticket, outcome, in_flight, now, u)

    @staticmethod
    def _answered(lane: Lane, in_flight: int, now: float) -> None:
        """The server is there and works: that ends an outage, and lets the lane grow."""
        lane.ended_otherwise = True
        if lane.good(now):
            lane.window.restart()
        lane.window.answered(in_flight)

    def abandoned(self, ticket: Ticket) -> None:
        """A worker was stopped while this job was in flight: it stays unanswered."""
        lane = self._lanes[ticket.job.path, ticket.job.model]
        lane.in_flight -= 1
        self.in_flight -= 1

    def _failed_attempt(
        self, queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, in_flight: int, now: float, u: float
    ) -> Ended | Requeued | Left:
        kind = fault.kind
        if kind is FaultKind.REFUSED:
            self.halt(Halt(HaltKind.REFUSED, fault.message, None))
            return Left(ticket, fault)
        if kind is FaultKind.RATE_LIMITED:
            if lane.good(now):
                lane.window.restart()
            return self._rate_limited(queue, lane, ticket, fault, now, u)
        if kind is FaultKind.CONNECT:
            ticket.attempts -= 1  # it was never sent
            queue.capacity.give_back(ticket.demand, now)
            if lane.unreachable(now, fault.message):
                lane.forgive()
            return self._requeue(lane, ticket, fault, now, retry.spread_s(1.0, u))
        if kind is FaultKind.TIMEOUT:
            return self._timed_out(lane, ticket, fault, now, u)
        if kind in retry.STRIKES:
            return self._strike(queue, lane, ticket, fault, in_flight, now, u)
        self._answered(lane, in_flight, now)
        if kind is FaultKind.TOO_LARGE:
            self._learn_too_large(queue, lane, ticket, fault, now)
        return self._give_up(ticket, fault)

    def _rate_limited(
        self, queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, now: float, u: float
    ) -> Requeued:
        if ticket.sent_at > queue.refused_at:  # refusals of one round trip count once
            queue.refusals += 1
            queue.refused_at = now
        if queue.refused_since is None:
            queue.refused_since = now
        queue.refusal = fault
        wait_s = fault.wait_s if fault.wait_s is not None else retry.pause_s(queue.refusals, u)
        which = fault.limit[0] if fault.limit is not None else None
        if fault.limit is not None and not fault.daily:
            queue.capacity.learn(*fault.limit, now)
        queue.capacity.refused(
            ticket.demand, now, sent_at=ticket.sent_at, wait_s=fault.wait_s, by=None if fault.daily else which
        )
        queue.capacity.pause(now + wait_s, "the pause that the provider asked for, of" if fault.wait_s else "a pause")
        return self._requeue(lane, ticket, fault, now, wait_s + retry.spread_s(wait_s, u))

    def _strike(
        self, queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, in_flight: int, now: float, u: float
    ) -> Ended | Requeued:
        if not ticket.strikes:
            ticket.first_strike_at = now
        ticket.strikes += 1
        if fault.kind is FaultKind.OVERLOADED:
            lane.window.overloaded(now, ticket.sent_at)
        elif fault.kind is FaultKind.INVALID:
            self._answered(lane, in_flight, now)
        if fault.kind is not FaultKind.INVALID and lane.failing(ticket, now, fault.message):
            lane.forgive()
        if lane.out_since is not None:
            ticket.strikes = 0
            return self._requeue(lane, ticket, fault, now, retry.spread_s(1.0, u))
        if ticket.strikes >= self.policy.max_attempts:
            code = fault.code or "attempts_exhausted"
            return self._give_up(ticket, fault, code, f"given up after {ticket.strikes} attempts: {fault.message}")
        wait_s = max(retry.backoff_s(ticket.strikes, u), fault.wait_s or 0.0)
        return self._requeue(lane, ticket, fault, now, wait_s)

    def _timed_out(self, lane: Lane, ticket: Ticket, fault: Fault, now: float, u: float) -> Ended | Requeued:
        ticket.timeouts += 1
        if ticket.timeouts < retry.TIMEOUTS:
            return self._requeue(lane, ticket, fault, now, retry.backoff_s(1, u))
        lane.timed_out += 1
        if lane.timed_out >= _TIMED_OUT and not lane.ended_otherwise:
            self.halt(Halt(HaltKind.TIMEOUTS, f"the first {_TIMED_OUT} jobs all ran into the time-out", _TIMEOUT_HINT))
        return self._give_up(ticket, fault)

    def _learn_too_large(self, queue: ModelQueue, lane: Lane, ticket: Ticket, fault: Fault, now: float) -> None:
        queue.capacity.give_back(Demand(0, ticket.demand.tokens), now)
        if fault.limit is not None:
            queue.capacity.learn(*fault.limit, now)
        estimate = ticket.demand.tokens
        lane.too_large_from = min(lane.too_large_from, estimate or float("inf"))
        if fault.requested and estimate:
            scale = fault.requested / estimate
            lane.scale = min(lane.scale or scale, scale)

    def _requeue(self, lane: Lane, ticket: Ticket, fault: Fault, now: float, wait_s: float) -> Requeued:
        lane.requeue(ticket, now + wait_s)
        self.queued += 1
        return Requeued(ticket, fault, wait_s)

    def _give_up(self, ticket: Ticket, fault: Fault, code: str | None = None, message: str | None = None) -> Ended:
        self._count(failed=True)
        if fault.code == "model_not_found" and self._no_model >= 0:
            self._no_model += 1
            if self._no_model >= _NO_MODEL:
                self.halt(Halt(HaltKind.REFUSED, fault.message, "correct the model's name in the jobs or `--model`"))
        elif fault.code != "model_not_found":
            self._no_model = -1
        return Ended(ticket, fault, code, message)

    def _count(self, *, failed: bool) -> None:
        self._ended += 1
        self._failed += failed
        rate = self.policy.fail_over
        if rate is not None and self._ended >= 20 and self._failed > rate * self._ended:
            text = f"{self._failed} of the first {self._ended} jobs failed, more than --fail-over allows"
            self.halt(Halt(HaltKind.FAIL_OVER, text, "look at the errors in the output before running it again"))


_MAX_WAIT_HINT = "run the same command again later: it goes on where it stopped; `--max-wait` sets how long to wait"
_TIMEOUT_HINT = "raise `--timeout`, then run the same command again"
