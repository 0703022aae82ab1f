"""Adds up what the shards of a run tell: one snapshot and one summary of the whole."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping

from msgspec import Struct, structs

from batchproc.snapshot import ModelRate, Snapshot, Summary
from batchproc.store.attempts import Attempt
from batchproc.store.parts import Manifest

_MINUTE_S = 60.0
_PACE_S = 60.0  # the time left goes by the pace of so many seconds


class Count(Struct):
    """How far a shard is. `total` and `estimate`: its jobs, None where they are not known."""

    succeeded: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total: int | None = None
    estimate: int | None = None

    @property
    def done(self) -> int:
        """Jobs that have their result."""
        return self.succeeded + self.failed


class Sums:
    """The shards of a run, as far as they were told of."""

    def __init__(self, manifest: Manifest, attempts: Mapping[int, list[Attempt]], now: float) -> None:
        self._manifest = manifest
        self._began = now
        self.counts = {i: _found(attempts.get(i, [])) for i in range(manifest.count)}
        for i in range(manifest.count):
            if manifest.cuts[i] == manifest.cuts[i + 1]:
                self.counts[i].total = 0
        self.before = sum(count.done for count in self.counts.values())
        self._failed_before = sum(count.failed for count in self.counts.values())
        self._live: dict[int, Snapshot] = {}
        self._ended: list[Summary] = []
        self._lost: list[Snapshot] = []
        self._past: deque[tuple[float, tuple[ModelRate, ...]]] = deque()  # when a shard ended, its last minute
        self._paces: deque[tuple[float, int]] = deque()

    def seen(self, shard: int, snapshot: Snapshot) -> None:
        """A shard at work."""
        self._live[shard] = snapshot
        if snapshot.checked is None and snapshot.done >= self.counts[shard].done:
            self.counts[shard] = _of(snapshot, snapshot.total_estimate)

    def ended(self, shard: int, summary: Summary | None, now: float) -> None:
        """A shard is not at work any more; without last words it was lost, and what it has on disk will be seen."""
        last = self._live.pop(shard, None)
        if last is not None:
            self._past.append((now, last.models))
        if summary is not None:
            self._ended.append(summary)
            self.counts[shard] = _of(summary, self.counts[shard].estimate)
        elif last is not None:
            self._lost.append(last)

    @property
    def ended_here(self) -> int:
        """Jobs that ended in this run."""
        return sum(count.done for count in self.counts.values()) - self.before

    @property
    def failed_here(self) -> int:
        """Jobs that failed in this run."""
        return sum(count.failed for count in self.counts.values()) - self._failed_before

    @property
    def total(self) -> int | None:
        """Jobs in the input, once every shard was read to its end."""
        totals = [count.total for count in self.counts.values()]
        return sum(t for t in totals if t is not None) if None not in totals else None

    def snapshot(self, now: float, stopping: str = "") -> Snapshot:
        """The whole at this instant."""
        counts, live = list(self.counts.values()), list(self._live.values())
        done = sum(count.done for count in counts)
        total = self.total
        estimate = self._estimate() if total is None else None
        outages = [s.outage_s for s in live if s.outage_s is not None]
        everyone_out = bool(live) and len(outages) == len(live)
        waits = [s.waiting_for for s in live]
        return Snapshot(
            elapsed_s=now - self._began,
            total=total,
            total_estimate=estimate,
            succeeded=sum(count.succeeded for count in counts),
            failed=sum(count.failed for count in counts),
            resumed=self.before,
            in_flight=sum(s.in_flight for s in live),
            queued=sum(s.queued for s in live),
            retrying=sum(s.retrying for s in live),
            waiting_in_order=sum(s.waiting_in_order for s in live),
            **self.requests(),
            input_tokens=sum(count.input_tokens for count in counts),
            output_tokens=sum(count.output_tokens for count in counts),
            models=self._last_minute(now),
            waiting_for=_most(waits) if waits and all(waits) else "",
            eta_s=self._eta_s(now, done, total if total is not None else estimate),
            outage_s=min(outages) if everyone_out else None,
            stopping=stopping,
            held_by=_most([s.held_by for s in live if s.held_by]),
        )

    def _last_minute(self, now: float) -> tuple[ModelRate, ...]:
        """Each model's requests and tokens of the last minute; those of a shard that ended go out of it bit by bit."""
        while self._past and now - self._past[0][0] >= _MINUTE_S:
            self._past.popleft()
        past = [(models, 1 - (now - at) / _MINUTE_S) for at, models in self._past]
        return _rates([*((s.models, 1.0) for s in self._live.values()), *past])

    def requests(self) -> dict[str, int]:
        """Requests, refusals and retries of this run."""
        told = [*self._ended, *self._live.values(), *self._lost]
        return {key: sum(getattr(each, key) for each in told) for key in ("requests", "rate_limited", "retries")}

    def elapsed_s(self, now: float) -> float:
        """Since the beginning."""
        return now - self._began

    def means(self, now: float) -> tuple[ModelRate, ...]:
        """Each model's mean per minute over this run (over a minute, if it was shorter)."""
        whole = max(60.0, now - self._began)
        return _rates((s.models, max(60.0, s.elapsed_s) / whole) for s in self._ended)

    def binding(self) -> str:
        """What most shards waited for most."""
        told = [s.binding for s in self._ended if s.requests]
        return _most(told) if told and told.count("") * 2 < len(told) else ""

    def _estimate(self) -> int | None:
        """Jobs in the input, by the bytes of the shards of which it is known."""
        cuts = self._manifest.cuts
        known = [(i, n) for i, c in self.counts.items() if (n := c.total if c.total is not None else c.estimate)]
        size = sum(cuts[i + 1] - cuts[i] for i, _ in known)
        return sum(n for _, n in known) * self._manifest.size // size if size else None

    def _eta_s(self, now: float, done: int, known: int | None) -> float | None:
        paces = self._paces
        if not paces or now - paces[-1][0] >= 1.0:
            paces.append((now, done))
        while len(paces) > 2 and now - paces[0][0] > _PACE_S:
            paces.popleft()
        at, before = paces[0]
        if known is None or known < done or done <= before or now <= at:
            return None
        return (known - done) * (now - at) / (done - before)


def _found(attempts: list[Attempt]) -> Count:
    best = next((a for a in attempts if a.status is not None), None)
    if best is None or best.status is None:
        return Count()
    totals, status = best.totals, best.status
    return Count(
        totals.succeeded, totals.failed, totals.input_tokens, totals.output_tokens, status.total, status.total_estimate
    )


def _of(told: Snapshot | Summary, estimate: int | None) -> Count:
    return Count(told.succeeded, told.failed, told.input_tokens, told.output_tokens, told.total, estimate)


def _rates(parts: Iterable[tuple[tuple[ModelRate, ...], float]]) -> tuple[ModelRate, ...]:
    """Requests and tokens added up, each times its weight; a limit is that of all."""
    sums: dict[str, ModelRate] = {}
    exact: dict[str, tuple[float, float]] = {}
    for models, weight in parts:
        for m in models:
            had = sums.get(m.model, m)
            limits = [
                max((x for x in pair if x is not None), default=None)
                for pair in ((had.request_limit, m.request_limit), (had.token_limit, m.token_limit))
            ]
            requests, tokens = exact.get(m.model, (0.0, 0.0))
            exact[m.model] = requests + m.requests * weight, tokens + m.tokens * weight
            sums[m.model] = ModelRate(m.model, 0, 0, *limits)
    return tuple(
        structs.replace(m, requests=round(exact[name][0]), tokens=round(exact[name][1])) for name, m in sums.items()
    )


def _most(words: list[str]) -> str:
    return Counter(words).most_common(1)[0][0] if words else ""
