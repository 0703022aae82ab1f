"""The worker pool: a free worker asks for permission, sends, reports; it decides nothing.

A worker that is done asks at once for the next job, without a queue in between. Where there is none to be had
it parks; whoever makes a job sendable (the feed, an answer, the one timer for the earliest wait) calls `pump`,
which hands out permissions to parked workers. Permission is asked for only where a worker is free: taken
earlier, it would go stale and cause refusals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from batchproc.core.decisions import Done, Ended, Grant, Halt, Left, Requeued, Unsent, Wait
from batchproc.core.lane import Ticket
from batchproc.core.scheduler import Scheduler
from batchproc.events import (
    Event,
    JobEnded,
    JobRequeued,
    Note,
    Observer,
    OutageBegan,
    OutageEnded,
    RequestEnded,
    RequestSent,
    Stopping,
)
from batchproc.model import NO_USAGE, Answer, FaultKind, Result
from batchproc.ports import Reader, Sink, Transport
from batchproc.resultline import answered, failed, unsent

_AT_ONCE = 16  # permissions handed out before those who have one begin to send


class Pool:
    """Runs the scheduler's decisions with at most `most` workers.

    `run` returns when every job has its result, or when the scheduler halted and what was in flight has come
    back or `drain_s` seconds have passed.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        transport: Transport,
        provider: Reader,
        sink: Sink,
        observers: list[Observer],
        *,
        most: int,
        wall: Callable[[], float],
        random: Random,
        drain_s: float = 30.0,
    ) -> None:
        self.scheduler = scheduler
        self.waiting_for = ""
        self.left = 0  # jobs that were sent and stay unanswered
        self.drain_s = drain_s
        self._transport = transport
        self._provider = provider
        self._sink = sink
        self.observers = observers
        self._most = most
        self._low = max(64, 2 * most)  # jobs waiting below which more are wanted
        self._wall = wall
        self._random = random.random
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._parked: list[asyncio.Future[Grant | None]] = []
        self._workers = 0
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._pumping = False
        self._over = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()  # the time to wait for what is in flight was set anew
        self.wants_jobs = asyncio.Event()
        self._out: dict[str, float] = {}

    async def run(self) -> None:
        """Work until there is nothing left to do."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.pump()
            stop = group.create_task(self._drain())
            await self._over.wait()
            stop.cancel()
            self._release()

    def halt(self, halt: Halt, drain_s: float | None = None) -> None:
        """Send nothing any more; what is in flight is awaited for `drain_s` seconds."""
        if drain_s is not None:
            self.drain_s = drain_s
            self._hurry.set()
        self.scheduler.halt(halt)
        self._stop()

    def cut(self) -> None:
        """Do not wait for what is in flight any longer."""
        for task in list(self._tasks):
            task.cancel()
        self._over.set()

    # --- handing out ----------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Hand out what may be sent now to free workers; arm the timer for what may be sent later.

        A few at a time, so that each goes out at about the instant at which it was permitted: what an answer says of
        the limits is held against that instant.
        """
        handed_out = 0
        while self._parked or self._workers < self._most:
            if handed_out == _AT_ONCE:
                if not self._pumping:
                    self._pumping = True
                    self._loop.call_soon(self._pump_on)
                return
            handed_out += 1
            grant = self._next()
            if grant is None:
                return
            if self._parked:
                self._parked.pop().set_result(grant)
            elif self._group is not None:
                self._workers += 1
                task = self._group.create_task(self._work(grant))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _pump_on(self) -> None:
        self._pumping = False
        if not self._over.is_set():
            self.pump()

    def _next(self) -> Grant | None:
        """A permission, or None after having arranged for what happens next."""
        while True:
            step = self.scheduler.next(self._now())
            if type(step) is Grant:
                self.waiting_for = ""
                if self.scheduler.queued < self._low:
                    self.wants_jobs.set()
                return step
            if isinstance(step, Unsent):
                ticket = step.ticket
                self._end(unsent(ticket.job, step.code, step.message, ticket.attempts), ticket.attempts)
                continue
            self.waiting_for = ""
            if self.scheduler.news:
                self._tell_news(self._now())
            if isinstance(step, Wait):
                self.waiting_for = step.why
                self._wake_in(step.seconds)
            elif isinstance(step, Halt):
                self._stop()
            elif isinstance(step, Done):
                self._over.set()
            self.wants_jobs.set()
            return None

    def _stop(self) -> None:
        """Begin the drain; end at once where nothing is in flight."""
        self._stopping.set()
        if not self.scheduler.in_flight:
            self._over.set()

    def _wake_in(self, seconds: float) -> None:
        at = self._now() + seconds
        if self._timer is not None:
            if self._timer_at <= at and self._timer_at > self._now():
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at + 0.0005, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        self.pump()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for parked in self._parked:
            if not parked.done():  # its worker may have been cut off
                parked.set_result(None)
        self._parked.clear()

    async def _drain(self) -> None:
        """Once the run stops early: wait for what is in flight, then cut it off."""
        await self._stopping.wait()
        while True:
            self._hurry.clear()
            halted = self.scheduler.halted
            if halted is not None:
                self._tell(Stopping(self._now(), halted.message, self.scheduler.in_flight, self.drain_s))
            try:
                await asyncio.wait_for(self._hurry.wait(), self.drain_s)
            except TimeoutError:
                break
        self.cut()

    # --- working --------------------------------------------------------------------------------------------

    async def _work(self, grant: Grant) -> None:
        while True:
            ticket = grant.ticket
            if self.scheduler.halted is not None:  # since the permission was given
                self.scheduler.abandoned(ticket, sent=False)
                self.left += 1
                self._stop()
                return
            try:
                await self._attempt(ticket)
            except asyncio.CancelledError:
                self.left += 1
                self.scheduler.abandoned(ticket)
                raise
            following = self._next()
            if following is None:
                if self._over.is_set():
                    return
                future: asyncio.Future[Grant | None] = self._loop.create_future()
                self._parked.append(future)
                following = await future
                if following is None:
                    return
            elif self._parked or self._workers < self._most:
                self.pump()  # the answer may have made room for more than this worker
            grant = following

    async def _attempt(self, ticket: Ticket) -> None:
        job = ticket.job
        sent_at = ticket.sent_at
        self._sink.sent(job.model, job.index, ticket.demand.tokens)
        self._tell(RequestSent(sent_at, job.model, job.index, ticket.demand.tokens))
        reply = await self._transport.send(job.path, job.model, job.body)
        outcome = self._provider.read(job.path, reply, self._wall())
        now = self._now()
        kind = None if isinstance(outcome, Answer) else outcome.kind
        if kind is FaultKind.CONNECT:
            self._sink.not_sent(job.index)
        rates = self._provider.rates(reply, self._wall()) if self.scheduler.wants_rates(job.model, now) else ()
        step = self.scheduler.finished(ticket, outcome, now, self._random(), rates)
        if self.scheduler.news:
            self._tell_news(now)
        usage = outcome.usage if isinstance(outcome, Answer) else NO_USAGE
        self._tell(RequestEnded(now, job.model, job.index, now - sent_at, kind, usage))
        if isinstance(step, Ended):
            if isinstance(outcome, Answer):
                self._end(answered(job, outcome, ticket.attempts), ticket.attempts)
            else:
                result = failed(job, outcome, ticket.attempts, code=step.code, message=step.message)
                self._end(result, ticket.attempts)
        elif isinstance(step, Requeued):
            fault = step.fault
            self._tell(JobRequeued(now, job.model, job.index, job.line, fault.kind, fault.message, step.wait_s))
        if kind is not None or self._out:
            self._watch_outage(job.model, now)
        if isinstance(step, Left):
            self.left += 1
            self._stopping.set()

    def _tell_news(self, now: float) -> None:
        for text in self.scheduler.news:
            self._tell(Note(now, text))
        self.scheduler.news.clear()

    def end_bad(self, result: Result) -> None:
        """A line that cannot be sent has its (failed) result."""
        self.scheduler.count_unsent_failure()
        self._end(result)

    def _end(self, result: Result, attempts: int = 0) -> None:
        self._sink.put(result)
        self._tell(JobEnded(self._now(), result.index, result.input_line, result.code, result.message, attempts))

    def _watch_outage(self, model: str, now: float) -> None:
        since = self.scheduler.out_since(model)
        if since is not None and model not in self._out:
            self._out[model] = since[0]
            self._tell(OutageBegan(since[0], model, since[1]))
        elif since is None and model in self._out:
            self._tell(OutageEnded(now, model, now - self._out.pop(model)))

    def _tell(self, event: Event) -> None:
        for observer in self.observers:
            observer(event)
