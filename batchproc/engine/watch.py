"""Looks at a run from outside, a few times a second, for those who display it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from batchproc.core.outlook import Held, least_s, longer_than_a_day
from batchproc.core.recorder import ANSWERS, Recorder, awake_s
from batchproc.core.scheduler import Scheduler
from batchproc.core.stats import Stats
from batchproc.engine.feed import Feed
from batchproc.engine.pool import Pool
from batchproc.events import Event, Note
from batchproc.ports import Ledger
from batchproc.snapshot import ModelRate, Snapshot

_TELLING = 20  # jobs after which their cost says something of the others'


class Watch:
    """Makes snapshots. `now` is the loop's clock; `size` the bytes of the input where they are known.

    `tell` is told, once for each model, when a limit per day makes the run longer than a day; `wall` is Unix time.
    `total` is how many jobs the run has, where that is not what the feed reads.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        pool: Pool,
        feed: Feed,
        ledger: Ledger,
        *,
        now: float,
        size: int | None,
        limit: int | None,
        tell: Callable[[Event], None] = lambda event: None,
        wall: Callable[[], float] = time.time,
        total: int | None = None,
    ) -> None:
        self.stats = Stats()
        self.resumed = ledger.totals.succeeded + ledger.totals.failed
        self.started = now
        self.cost: Callable[[], float | None] = lambda: None  # USD so far
        self._scheduler = scheduler
        self._pool = pool
        self._feed = feed
        self._ledger = ledger
        self._size = size
        self._limit = limit
        self._total = total
        self.recorder = Recorder(now, wall())
        self._waits: dict[str, float] = {}
        self._held = Held()
        self._looked_at = now
        self._tell = tell
        self._wall = wall
        self._foretold: set[str] = set()
        kinds = self.stats.takes.keys() | self.recorder.takes.keys()
        folds = (self.stats.takes, self.recorder.takes)
        self._takes = {kind: [fold[kind] for fold in folds if kind in fold] for kind in kinds}

    def on(self, event: Event) -> None:
        """Listen to the run."""
        for take in self._takes.get(type(event), ()):
            take(event)

    def snapshot(self, now: float) -> Snapshot:
        """The run at this instant."""
        scheduler, feed, totals = self._scheduler, self._feed, self._ledger.totals
        done = totals.succeeded + totals.failed
        total = self._total if self._total is not None else feed.read if feed.ended else None
        estimate = self._estimate() if self._total is None else None
        waiting_for = self._pool.waiting_for
        self._look(waiting_for, now)
        rate = self.stats.jobs_per_s(now)
        known = total if total is not None else estimate
        if known is not None and known > done:
            self._foretell(known - done, now)
        left = known - done if known is not None and known >= done else None
        eta_s, held_by = self._time_left(left, rate, now)
        out = min(self.stats.out.values(), default=None)
        cost = self.cost()
        whole = None
        if cost and known and done >= _TELLING and self._total is None:  # what is done is what it was paid for
            whole = cost * known / done
        return Snapshot(
            elapsed_s=now - self.started,
            total=total,
            total_estimate=estimate,
            succeeded=totals.succeeded,
            failed=totals.failed,
            resumed=self.resumed,
            in_flight=scheduler.in_flight,
            queued=scheduler.queued,
            retrying=scheduler.waiting_retries(),
            waiting_in_order=self._ledger.order.waiting,
            requests=self.stats.requests,
            rate_limited=self.stats.rate_limited,
            retries=self.stats.retries,
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            models=self._last_minute(now),
            waiting_for=waiting_for,
            eta_s=eta_s,
            outage_s=now - out if out is not None else None,
            stopping=self.stats.stopping,
            checked=feed.checked,
            held_by=held_by,
            cost_usd=cost,
            cost_whole_usd=whole,
        )

    def _look(self, waiting_for: str, now: float) -> None:
        """Count what held the next request back since the last look."""
        scheduler = self._scheduler
        seconds = awake_s(now - self._looked_at)
        self._looked_at = now
        if waiting_for:
            self._waits[waiting_for] = self._waits.get(waiting_for, 0.0) + seconds
        why = waiting_for or (ANSWERS if scheduler.in_flight and scheduler.queued else "")
        self._held.waited(why, seconds)
        limits = {}
        for model in self.stats.models:
            parts = scheduler.model(model).capacity.parts
            limits[model] = {part.why: part.tracker.limit for part in parts if part.tracker is not None}
        self.recorder.look(now, why, scheduler.in_flight, limits)

    def _time_left(self, jobs: int | None, rate: float | None, now: float) -> tuple[float | None, str]:
        """Seconds, and what sets them: the pace of the last minute or, where that cannot be kept up, a limit."""
        if not rate or jobs is None:
            return None, self._held.by()
        eta_s, by = jobs / rate, self._held.by()
        for name, jobs_left, tokens_per_job in self._shares(jobs):
            seconds, why = least_s(self._scheduler.model(name).capacity, jobs_left, tokens_per_job, now)
            if seconds > eta_s:
                eta_s, by = seconds, f"{why} of {name}"
        return eta_s, by

    def _shares(self, jobs: int) -> Iterator[tuple[str, float, float]]:
        """Each model, its share of the jobs that are left, tokens a job: going by what was sent so far."""
        sent = sum(rate.all_requests for rate in self.stats.models.values())
        for name, rate in self.stats.models.items():
            if rate.all_requests:
                yield name, jobs * rate.all_requests / sent, rate.all_tokens / rate.all_requests

    def _foretell(self, jobs: int, now: float) -> None:
        """Say when a model's share of the jobs that are left takes longer than a day."""
        for name, jobs_left, tokens_per_job in self._shares(jobs):
            if name in self._foretold:
                continue
            found = longer_than_a_day(self._scheduler.model(name).capacity, jobs_left, tokens_per_job, now)
            if found is not None:
                self._foretold.add(name)
                until = time.strftime("%a %d %b, %H:%M", time.localtime(self._wall() + found[1]))
                self._tell(Note(now, f"{name}: {found[0]}, until about {until}"))

    def binding(self) -> str:
        """What the run waited for most, in words; empty if it waited for less than a tenth of its time."""
        elapsed = max(1e-9, self._looked_at - self.started)
        why, seconds = max(self._waits.items(), key=lambda item: item[1], default=("", 0.0))
        return why if seconds > elapsed / 10 else ""

    def means(self, now: float) -> tuple[ModelRate, ...]:
        """Each model's mean requests and tokens per minute over this run (over a minute, if it was shorter)."""
        minutes = max(1.0, (now - self.started) / 60)
        return tuple(
            ModelRate(name, round(rate.all_requests / minutes), round(rate.all_tokens / minutes), *self._limits(name))
            for name, rate in self.stats.models.items()
        )

    def _last_minute(self, now: float) -> tuple[ModelRate, ...]:
        rates: list[ModelRate] = []
        for name, rate in self.stats.models.items():
            rate.forget(now)
            rates.append(ModelRate(name, rate.requests, rate.tokens, *self._limits(name)))
        return tuple(rates)

    def _limits(self, model: str) -> tuple[float | None, float | None]:
        capacity = self._scheduler.model(model).capacity
        requests, tokens = capacity.requests, capacity.tokens
        return (requests.limit if requests else None), (tokens.limit if tokens else None)

    def _estimate(self) -> int | None:
        """Jobs in the input, by how many were in the part that was read."""
        feed = self._feed
        if not self._size or not feed.offset:
            return None
        estimate = int(feed.read * self._size / feed.offset)
        return min(estimate, self._limit) if self._limit is not None else estimate
