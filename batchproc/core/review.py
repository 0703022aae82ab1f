"""What a run did, from its time line and its totals: rates against limits, latencies, what it waited for.

Rates come of sums over windows of the time line, so they are exact while its buckets are seconds, and means over as
much as a bucket is wide in a run of many hours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from batchproc.core.capacity import REQUESTS, TOKENS, words
from batchproc.core.columns import series_of
from batchproc.core.timeline import Bucket, ModelPart, TimeLine, quantile_s
from batchproc.model import FaultKind
from batchproc.runreport import Latency, ModelReport, Rates, RunReport, Waited
from batchproc.snapshot import Status

RPM, TPM = words(REQUESTS, 60.0), words(TOKENS, 60.0)
_PEAK_S, _SUSTAINED_S = 60, 600
_NONE = ModelPart()


def review(status: Status, timeline: TimeLine, columns: int, costs: Mapping[str, float] | None = None) -> RunReport:
    """The report of a run; its series have at most about `columns` columns. `costs`: USD so far, by model.

    What all of it cost, `status` says.
    """
    answered, totals = status.answered, status.totals
    plain = RunReport(
        output=status.output,
        checkpoint=status.checkpoint,
        state=status.state,
        jobs=status.total if status.total is not None else status.total_estimate,
        answered=answered,
        succeeded=totals.succeeded,
        failed=totals.failed,
        recorded=bool(timeline.buckets),
        errors=status.errors,
        cost_usd=status.cost_usd,
        cost_lost_usd=status.cost_lost_usd,
        unpriced=status.unpriced,
    )
    if not timeline.buckets:
        return plain
    whole, ordered = timeline.whole(), timeline.ordered()
    width = timeline.width
    refused = whole.faults.get(FaultKind.RATE_LIMITED.value, 0)
    models = [_model(name, ordered, width, whole, (costs or {}).get(name)) for name in whole.models]
    return RunReport(
        **{name: getattr(plain, name) for name in _OF_STATUS},
        processes=whole.begun,
        began_at=float(ordered[0].at),
        ended_at=float(ordered[-1].at + width),
        duration_s=whole.seconds,
        gaps=gaps_of(ordered, width),
        requests=sum(part.sent - part.unsent for part in whole.models.values()),
        retries=whole.again,
        rate_limited=refused,
        faults=dict(sorted(whole.faults.items(), key=lambda item: -item[1])),
        attempts=dict(sorted(whole.attempts.items())),
        latency_s=_latency(whole),
        models=sorted(models, key=lambda m: (-m.requests, m.model)),
        waits=_waits(whole),
        series=series_of(timeline, columns),
    )


_OF_STATUS = (
    "output", "checkpoint", "state", "jobs", "answered", "succeeded", "failed", "recorded", "errors", "cost_usd",
    "cost_lost_usd", "unpriced",
)  # fmt: skip


def gaps_of(ordered: Sequence[Bucket], width: int) -> list[tuple[int, int]]:
    """The times at which no process was at work, as (from, to). Seconds that a kill lost are none."""
    most = max(15, 2 * width)
    pairs = pairwise(ordered)
    return [(a.at + width, b.at) for a, b in pairs if b.at - a.at - width > most]


def _latency(whole: Bucket) -> Latency | None:
    at = [quantile_s(whole.latency, q) for q in (0.5, 0.9, 0.99)]
    p50, p90, p99 = (min(s, whole.slowest) for s in at if s is not None) if at[0] is not None else (0.0, 0.0, 0.0)
    return Latency(p50, p90, p99, whole.slowest) if whole.latency else None


def _waits(whole: Bucket) -> list[Waited]:
    waits = sorted(whole.waits.items(), key=lambda item: -item[1])
    return [Waited(why, seconds, _share(seconds, whole.seconds)) for why, seconds in waits]


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _model(name: str, ordered: Sequence[Bucket], width: int, whole: Bucket, cost: float | None) -> ModelReport:
    part = whole.models[name]
    limits = whole.limits.get(name, {})
    charged = part.tokens > 0
    requests = _rates(ordered, width, whole, lambda b: _sent(b, name), limits.get(RPM), f"{RPM} of {name}")
    tokens = _rates(ordered, width, whole, lambda b: _tokens(b, name, charged), limits.get(TPM), f"{TPM} of {name}")
    sent = part.sent - part.unsent
    return ModelReport(
        model=name,
        requests=sent,
        answers=part.answers,
        rate_limited=part.refused,
        charged_tokens=part.tokens,
        input_tokens=part.input_tokens,
        output_tokens=part.output_tokens,
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        limits=limits,
        cost_usd=cost,
        cost_per_hour_at_limit=_hourly(cost, part, requests.limit, tokens.limit),
    )


def _sent(bucket: Bucket, name: str) -> int:
    part = bucket.models.get(name, _NONE)
    return part.sent - part.unsent


def _tokens(bucket: Bucket, name: str, charged: bool) -> int:
    """Tokens of a model as they were charged or, where nothing is charged, as the answers say."""
    part = bucket.models.get(name, _NONE)
    return part.tokens if charged else part.input_tokens + part.output_tokens


def _rates(
    ordered: Sequence[Bucket],
    width: int,
    whole: Bucket,
    amount: Callable[[Bucket], int],
    limit: float | None,
    why: str,
) -> Rates:
    minutes = max(1.0, whole.seconds / 60)
    amounts = [(bucket.at, amount(bucket)) for bucket in ordered]
    return Rates(
        mean=sum(n for _, n in amounts) / minutes,
        peak=most_within(amounts, width, _PEAK_S, 60),
        sustained=most_within(amounts, width, min(_SUSTAINED_S, max(60, int(whole.seconds))), 60),
        limit=limit,
        at_limit=_share(whole.waits.get(why, 0.0), whole.seconds),
    )


def most_within(amounts: Sequence[tuple[int, int]], width: int, window_s: int, per_s: int) -> float:
    """The most that came within `window_s` seconds, per `per_s` seconds. Buckets wider than that are means."""
    held_s = max(width, window_s // width * width)
    most = total = first = 0
    for at, n in amounts:
        total += n
        while amounts[first][0] <= at - held_s:
            total -= amounts[first][1]
            first += 1
        most = max(most, total)
    return most * per_s / held_s


def _hourly(cost: float | None, part: ModelPart, rpm: float | None, tpm: float | None) -> float | None:
    """What an hour at the limits would cost, if its answers cost what those so far did on average."""
    if cost is None or not part.answers or not part.sent:
        return None
    per_request = part.tokens / part.sent
    rates = [rpm] if rpm is not None else []
    rates += [tpm / per_request] if tpm is not None and per_request else []
    return 60 * min(rates) * cost / part.answers if rates else None
