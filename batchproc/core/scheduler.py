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

from batchproc.core.budget import NO_BUDGET, Budget
from batchproc.core.capacity import PER_DAY, DualCapacity
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
from batchproc.core.failure import Failures
from batchproc.core.guards import Guards
from batchproc.core.lane import Lane, Ticket
from batchproc.core.modelqueue import Learner, ModelQueue, Policy
from batchproc.model import Answer, Fault, Job, RateSeen


class Scheduler:
    """See the module's text. `capacity_for(model)` makes the trackers of a model, `learner_for(model)` its learner."""

    def __init__(
        self,
        policy: Policy,
        capacity_for: Callable[[str], DualCapacity],
        learner_for: Callable[[str], Learner],
        budget: Budget = NO_BUDGET,
    ) -> None:
        self.policy = policy
        self.budget = budget
        self.in_flight = 0
        self.queued = 0  # jobs here that are not in flight
        self.news: list[str] = []  # what the user should know; whoever tells it clears it
        self.models: dict[str, ModelQueue] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._capacity_for = capacity_for
        self._learner_for = learner_for
        self._input_ended = self._all_read = False
        self.may_read: Callable[[], bool] = lambda: True  # whether more jobs can come while all that are here wait
        self._most = policy.concurrency if policy.concurrency is not None else MOST
        self._guards = Guards(policy)
        self._failures = Failures(policy, self._guards)

    # --- jobs in --------------------------------------------------------------------------------------------

    def submit(self, job: Job, attempts: int = 0) -> None:
        """Queue a job; `attempts` are requests that earlier runs sent for it."""
        lane = self._lanes.get((job.path, job.model))
        if lane is None:
            lane = self._new_lane(job.path, job.model)
        self.budget.comes(job)
        lane.queue.append(Ticket(job, attempts))
        self.queued += 1
        if len(lane.queue) == 1:
            self.models[job.model].blocked_until = float("-inf")

    def model(self, name: str) -> ModelQueue:
        """The queue of a model, made on first use."""
        queue = self.models.get(name)
        if queue is None:
            capacity, learner = self._capacity_for(name), self._learner_for(name)
            queue = self.models[name] = ModelQueue(name, capacity, learner, self.news, settles=self.policy.settles)
        return queue

    def _new_lane(self, path: str, name: str) -> Lane:
        lane = self._lanes[path, name] = Lane(path, name, Window(self.policy.concurrency))
        self.model(name).lanes.append(lane)
        return lane

    def waiting_in(self, path: str, model: str) -> int:
        """Jobs of a lane that are not in flight."""
        lane = self._lanes.get((path, model))
        return len(lane) if lane is not None else 0

    def queued_in_open_models(self, now: float) -> int:
        """Jobs, not in flight, of the models that are not held."""
        return sum(len(lane) for q in self.models.values() if not q.held(now) for lane in q.lanes)

    def counts_tokens(self, model: str) -> bool:
        """Whether a token limit of this model is known, so that its jobs should be weighed exactly."""
        queue = self.models.get(model)
        return queue is not None and queue.capacity.counts_tokens

    def all_read(self) -> None:
        """The input has been read: jobs that are put aside may come, of models that are known."""
        self._all_read = True

    def input_ended(self) -> None:
        """No more jobs will come."""
        self._all_read = self._input_ended = True

    def halt(self, halt: Halt) -> None:
        """Stop sending; the first reason given stands."""
        self._guards.halt(halt)

    @property
    def halted(self) -> Halt | None:
        """Why nothing is sent any more; None while the run goes on."""
        return self._guards.halted

    def count_unsent_failure(self) -> None:
        """A job failed without a request (a bad line): it counts towards --fail-over."""
        self._guards.failed()

    # --- what next ------------------------------------------------------------------------------------------

    def next(self, now: float) -> Grant | Unsent | Wait | Idle | Halt | Done:
        """What a free worker should do. A Grant has charged the trackers."""
        if self._guards.halted is not None:
            return self._guards.halted
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
            if lane.out_since is not None or not lane.window.has_room(lane.in_flight):
                ready_s, why = self._lane_ready_s(lane, now)
                if ready_s > 0:
                    if now + ready_s < queue.blocked_until:
                        queue.blocked_until, queue.why = now + ready_s, why
                    continue
            ticket = lane.head(now)
            if ticket is None:
                if lane.next_due() < queue.blocked_until:
                    queue.blocked_until, queue.why = lane.next_due(), "the time before a retry"
            elif first is None or ticket.job.index < first[1].job.index:
                first = (lane, ticket)
        if first is None:
            return None
        ticket = first[1]
        ticket.demand = queue.demand_of(ticket.job)
        delay_s, why = queue.capacity.delay_s(ticket.demand, now)
        queue.full_until = float("-inf")
        if delay_s <= 0:
            queue.blocked_until = float("-inf")
            return first
        if why.endswith(PER_DAY):
            queue.used_up(delay_s, why, now)
        # A retry that becomes due earlier may be smaller, and its turn comes first.
        due = min([queue.blocked_until, *(lane.next_due() for lane in queue.lanes)])
        queue.blocked_until, queue.why = now + delay_s, f"{why} of {queue.name}"
        if due < queue.blocked_until:
            queue.blocked_until = max(due, min(queue.capacity.paused_until, queue.blocked_until))
        return None

    def _lane_ready_s(self, lane: Lane, now: float) -> tuple[float, str]:
        """Seconds until a lane may send for its own reasons: not while it is full, or out."""
        if not lane.window.has_room(lane.in_flight):
            return float("inf"), ""
        if lane.out_since is None:
            return 0.0, ""
        left_s = lane.out_s(now, self.policy.max_wait_s)
        if left_s <= 0 or not len(lane):
            return float("inf"), ""
        return min(lane.may_probe(now), left_s), f"the server: {lane.out_why}"

    def _stuck(self, now: float) -> Halt | None:
        """Where everything that is left waits for a model that is not waited for, the run ends."""
        if self.in_flight:
            return None
        for queue in self.models.values():
            why = queue.too_long(self.policy, now)
            if why and not self._all_read and self.may_read() and self.out_since(queue.name) is None:
                continue  # it is this model that is held: jobs of others may still be read
            if why and any(len(lane) for lane in queue.lanes):
                hint = _MAX_WAIT_HINT if self.out_since(queue.name) is None else _OUTAGE_HINT
                self.halt(Halt(HaltKind.MAX_WAIT, why, hint))
                return self._guards.halted
        return None

    def _take(self, lane: Lane, ticket: Ticket, queue: ModelQueue, now: float) -> Grant | Unsent | Idle | Halt:
        over = self.budget.admit(ticket.job, self.in_flight)
        if over is not None:
            if isinstance(over, Halt):
                self.halt(over)
            return over
        lane.pop()
        self.queued -= 1
        tokens = queue.capacity.tokens
        if tokens is not None and lane.surely_too_large(ticket.demand.tokens, tokens.limit):
            self._guards.failed()
            self.budget.released(ticket.job)
            text = f"it needs about {ticket.demand.tokens} tokens, the limit is {tokens.limit:.0f} per minute"
            return Unsent(ticket, "request_too_large", text)
        queue.sent(ticket, now)
        ticket.attempts += 1
        ticket.sent_at = now
        ticket.probe = lane.out_since is not None
        if ticket.probe:
            lane.probe_sent()
        lane.in_flight += 1
        ticket.among = lane.in_flight
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

    def wants_rates(self, model: str, now: float) -> bool:
        """Whether what the headers of this model's next answer say is worth reading."""
        return self.models[model].wants_rates(now)

    def finished(
        self, ticket: Ticket, outcome: Answer | Fault, now: float, u: float, rates: tuple[RateSeen, ...] = ()
    ) -> Ended | Requeued | Left:
        """How an attempt ended, and what its headers said; trackers, lane and queues are brought up to date."""
        queue = self.models[ticket.job.model]
        lane = self._lanes[ticket.job.path, ticket.job.model]
        in_flight = lane.in_flight
        lane.in_flight -= 1
        self.in_flight -= 1
        queue.blocked_until = float("-inf")
        queue.capacity.returned(ticket.stamps)
        self.budget.ended(ticket.job, outcome)
        if ticket.probe:
            ticket.probe = False
            lane.probe_ended(now)
        if isinstance(outcome, Answer):
            queue.passed()
            lane.answered(ticket, in_flight, now, worked=True)
            queue.capacity.accepted(ticket.stamps, now)
            queue.told(ticket, rates, now)
            queue.answered(ticket, outcome.usage, now)
            self._guards.succeeded()
            return Ended(ticket, outcome)
        step = self._failures.after(queue, lane, ticket, outcome, in_flight, now, u)
        if isinstance(step, Requeued):
            self.queued += 1
            held = self._guards.held
            if held and self._input_ended and not self.in_flight and self.queued == len(held):
                self._guards.no_such_model(step.fault)
        return step

    def abandoned(self, ticket: Ticket, *, sent: bool = True) -> None:
        """A worker was stopped while this job was in flight, or about to be sent: it stays unanswered."""
        (self.budget.cut_off if sent else self.budget.released)(ticket.job)
        lane = self._lanes[ticket.job.path, ticket.job.model]
        lane.in_flight -= 1
        self.in_flight -= 1


_MAX_WAIT_HINT = "run the same command again later: it goes on where it stopped; `--max-wait` sets how long to wait"
_OUTAGE_HINT = "if the address and the network are right, " + _MAX_WAIT_HINT
