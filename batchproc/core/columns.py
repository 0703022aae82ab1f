"""A time line as columns to draw: of equal width, without what lies between two runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from batchproc.core.capacity import REQUESTS, TOKENS, words
from batchproc.core.timeline import OTHERS, Bucket, ModelPart, TimeLine, quantile_s
from batchproc.model import FaultKind
from batchproc.runreport import ModelSeries, Series

_MODELS = 4
_WAITS = 6
_MINUTE_S = 60
_NONE = ModelPart()


def series_of(timeline: TimeLine, columns: int) -> Series:
    """The columns of a time line, made wider until there are at most `columns` and a few."""
    wider = TimeLine(((timeline.width, bucket) for bucket in timeline.ordered()), most=max(1, columns))
    while len(places := _places(wider)) > columns and wider.width < 1 << 30:
        wider.coarsen()
    buckets = [bucket for _, bucket in places]
    shown = [b for b in buckets if b is not None]
    models = _busiest(shown)
    return Series(
        width_s=wider.width,
        at=[at for at, _ in places],
        answers=_each(buckets, lambda b: b.succeeded),
        failed=_each(buckets, lambda b: b.failed),
        rate_limited=_each(buckets, _refused),
        retries=_each(buckets, lambda b: max(0, b.again - _refused(b))),
        in_flight=_each(buckets, lambda b: b.in_flight),
        p50=_quantiles(buckets, 0.5),
        p90=_quantiles(buckets, 0.9),
        p99=_quantiles(buckets, 0.99),
        waits=_waits(buckets),
        models=[_model(name, places, timeline, wider.width) for name in models],
    )


def _places(timeline: TimeLine) -> list[tuple[int, Bucket | None]]:
    """Every column with its time: seconds in which nothing happened are empty buckets, a gap is a single None."""
    width = timeline.width
    places: list[tuple[int, Bucket | None]] = []
    before: int | None = None
    for bucket in timeline.ordered():
        if before is not None:
            missing = (bucket.at - before) // width - 1
            if missing * width > max(15, 2 * width):
                places.append((before + width, None))
            else:
                places += [(before + k * width, Bucket(before + k * width)) for k in range(1, missing + 1)]
        places.append((bucket.at, bucket))
        before = bucket.at
    return places


def _each(buckets: Sequence[Bucket | None], count: Callable[[Bucket], int]) -> list[int | None]:
    return [count(b) if b is not None else None for b in buckets]


def _refused(bucket: Bucket) -> int:
    return bucket.faults.get(FaultKind.RATE_LIMITED.value, 0)


def _quantiles(buckets: Sequence[Bucket | None], q: float) -> list[float | None]:
    found = [quantile_s(b.latency, q) if b is not None else None for b in buckets]
    return [round(s, 3) if s is not None else None for s in found]


def _waits(buckets: Sequence[Bucket | None]) -> dict[str, list[float | None]]:
    """Seconds by reason: those that count most each, the others together."""
    sums: dict[str, float] = {}
    for bucket in buckets:
        for why, seconds in bucket.waits.items() if bucket is not None else ():
            sums[why] = sums.get(why, 0.0) + seconds
    chosen = sorted((why for why in sums if why != OTHERS), key=lambda why: -sums[why])[:_WAITS]
    waits = {w: [round(b.waits.get(w, 0.0), 3) if b is not None else None for b in buckets] for w in chosen}
    if len(chosen) < len(sums):
        rest = [sum(s for w, s in b.waits.items() if w not in waits) if b is not None else None for b in buckets]
        waits[OTHERS] = [round(s, 3) if s is not None else None for s in rest]
    return waits


def _busiest(buckets: Iterable[Bucket]) -> list[str]:
    sent: dict[str, int] = {}
    for bucket in buckets:
        for name, part in bucket.models.items():
            sent[name] = sent.get(name, 0) + part.sent
    return sorted(sent, key=lambda name: (-sent[name], name))[:_MODELS]


def _model(name: str, places: Sequence[tuple[int, Bucket | None]], timeline: TimeLine, width: int) -> ModelSeries:
    parts = [b.models.get(name, _NONE) if b is not None else None for _, b in places]
    charged = any(part.tokens for part in parts if part is not None)
    requests = [part.sent - part.unsent if part is not None else None for part in parts]
    tokens = [_tokens(part, charged) if part is not None else None for part in parts]
    per_minute = _MINUTE_S / width
    fine = [(b.at, b.models.get(name, _NONE)) for b in timeline.ordered()]
    by_requests = _last_minute([(at, p.sent - p.unsent) for at, p in fine], places, timeline.width, width)
    by_tokens = _last_minute([(at, _tokens(p, charged)) for at, p in fine], places, timeline.width, width)
    buckets = [b for _, b in places]
    return ModelSeries(
        model=name,
        requests=[n * per_minute if n is not None else None for n in requests],
        tokens=[n * per_minute if n is not None else None for n in tokens],
        requests_last_minute=by_requests,
        tokens_last_minute=by_tokens,
        request_limit=_limits(buckets, name, words(REQUESTS, 60.0)),
        token_limit=_limits(buckets, name, words(TOKENS, 60.0)),
    )


def _tokens(part: ModelPart, charged: bool) -> int:
    return part.tokens if charged else part.input_tokens + part.output_tokens


def _last_minute(
    fine: Sequence[tuple[int, int]], places: Sequence[tuple[int, Bucket | None]], fine_width: int, width: int
) -> list[float | None]:
    """For each column the most in a minute that ends within it, where the time line tells single minutes."""
    held_s = max(fine_width, _MINUTE_S // fine_width * fine_width)
    most: dict[int, int] = {}
    window: deque[tuple[int, int]] = deque()
    total = 0
    for at, n in fine:
        window.append((at, n))
        total += n
        while window[0][0] <= at - held_s:
            total -= window.popleft()[1]
        column = at // width * width
        most[column] = max(most.get(column, 0), total)
    return [most.get(at, 0) * _MINUTE_S / held_s if b is not None else None for at, b in places]


def _limits(buckets: Sequence[Bucket | None], name: str, what: str) -> list[float | None]:
    """The limit as it was known in each column; the columns before it was told have none."""
    limits: list[float | None] = []
    known: float | None = None
    for bucket in buckets:
        if bucket is not None and name in bucket.limits:
            known = bucket.limits[name].get(what)
        limits.append(known if bucket is not None else None)
    return limits
