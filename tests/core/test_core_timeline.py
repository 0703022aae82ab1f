"""The time line: however coarse it becomes, nothing that was counted gets lost; and its report adds up."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.core.columns import series_of
from batchproc.core.recorder import Recorder
from batchproc.core.review import gaps_of, most_within, review
from batchproc.core.timeline import MODELS, OTHERS, Bucket, ModelPart, TimeLine, latency_class, quantile_s
from batchproc.events import JobEnded, JobRequeued, Note, RequestEnded, RequestSent
from batchproc.model import FaultKind, Usage
from batchproc.snapshot import Status, StatusTotals

START = 1_700_000_000
NAMES = ("a", "b", "<script>", "x" * 500, "")


def made(seed: int) -> Bucket:
    """A bucket full of numbers: cheaper to make than field by field."""
    dice = Random(seed)
    few = lambda: dice.randrange(1000)  # noqa: E731
    some = lambda keys: {key: few() for key in keys if dice.random() < 0.4}  # noqa: E731
    return Bucket(
        at=START + dice.randrange(10 ** dice.randrange(5)),
        seconds=float(few()),
        begun=dice.randrange(3),
        models={name: ModelPart(*(few() for _ in ModelPart.__struct_fields__)) for name in some(NAMES)},
        latency=some(range(0, 270, 60)),
        slowest=float(few()),
        faults=some(kind.value for kind in FaultKind),
        again=few(),
        succeeded=few(),
        failed=few(),
        attempts=some(range(5)),
        in_flight=few(),
        waits={why: float(n) for why, n in some(NAMES).items()},
    )


buckets = st.integers(0, 2**32).map(made)


def totals(buckets: list[Bucket]) -> dict[str, Any]:
    """Everything that adds up, in one."""
    found: dict[str, Any] = {"slowest": 0.0, "in_flight": 0}
    for b in buckets:
        for name in ("seconds", "begun", "again", "succeeded", "failed"):
            found[name] = found.get(name, 0) + getattr(b, name)
        for name in ("latency", "faults", "attempts"):
            for key, n in getattr(b, name).items():
                found[name, key] = found.get((name, key), 0) + n
        for part in b.models.values():
            for name in part.__struct_fields__:
                found["models", name] = found.get(("models", name), 0) + getattr(part, name)
        found["waits"] = found.get("waits", 0.0) + sum(b.waits.values())
        found["slowest"] = max(found["slowest"], b.slowest)
        found["in_flight"] = max(found["in_flight"], b.in_flight)
    return found


@given(st.lists(st.tuples(st.sampled_from([1, 1, 1, 2, 8]), buckets), max_size=20), st.integers(1, 8))
def test_merging_loses_nothing(given: list[tuple[int, Bucket]], most: int) -> None:
    """Whatever comes in whatever width and order: bounded, aligned, ordered, and the totals are those of the parts."""
    line = TimeLine(given, most=most)
    ordered = line.ordered()
    assert len(ordered) <= most
    assert line.width & (line.width - 1) == 0
    assert all(b.at % line.width == 0 for b in ordered)
    assert [b.at for b in ordered] == sorted({b.at for b in ordered})
    expected = totals([b for _, b in given])
    if given:
        assert totals(ordered) == expected
        assert totals([line.whole()]) == expected
        line.coarsen()
        assert totals(line.ordered()) == expected


@given(st.lists(st.tuples(st.just(1), buckets), max_size=30), st.integers(1, 20))
def test_columns_lose_nothing(given: list[tuple[int, Bucket]], columns: int) -> None:
    """The columns of a report add up to the totals too, and every series is as long as the others."""
    series = series_of(TimeLine(given), columns)
    lengths = {len(getattr(series, n)) for n in ("at", "answers", "failed", "in_flight", "p50")}
    lengths |= {len(values) for values in series.waits.values()} | {len(m.requests) for m in series.models}
    assert len(lengths) == 1
    assert sum(n or 0 for n in series.answers) == sum(b.succeeded for _, b in given)
    assert sum(s or 0.0 for values in series.waits.values() for s in values) == pytest.approx(
        sum(s for _, b in given for s in b.waits.values())
    )


@given(st.lists(st.floats(0.0001, 1000), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_within_their_class(latencies: list[float], q: float) -> None:
    """The sketch's quantile is within 5% of the exact one (and a millisecond for what is faster)."""
    bucket = Bucket(0)
    for s in latencies:
        bucket.answered(s)
    exact = sorted(latencies)[max(0, -(-int(q * 1000) * len(latencies) // 1000) - 1)]
    found = quantile_s(bucket.latency, q)
    assert found is not None
    assert abs(found - exact) <= 0.05 * exact + 0.001
    assert bucket.slowest == max(latencies)


def test_names_are_bounded() -> None:
    """Models come from a file, reasons from servers: neither may grow a bucket without end."""
    bucket = Bucket(0)
    for k in range(1000):
        bucket.part(f"model {k}").sent += 1
        bucket.wait(f"{'long ' * 100}{k}" if k % 2 else f"{k}", 1.0)
        bucket.ended(k)
    assert len(bucket.models) == len(bucket.waits) == MODELS + 1
    assert sum(part.sent for part in bucket.models.values()) == sum(bucket.waits.values()) == 1000
    assert bucket.models[OTHERS].sent == 1000 - MODELS
    assert max(map(len, bucket.waits)) <= 160
    assert sum(bucket.attempts.values()) == 1000
    assert len(bucket.attempts) == 101


def test_classes_of_latency() -> None:
    """From a millisecond on, 5% wide."""
    assert [latency_class(s) for s in (0.0, 0.0005, 0.001, 0.00104, 0.00106, 600.0)] == [0, 0, 0, 0, 1, 272]


# --- the recorder -------------------------------------------------------------------------------------------


def test_a_second_of_a_run() -> None:
    """Each event is counted where it belongs, on the clock of the wall."""
    recorder = Recorder(100.0, START + 0.5)
    for event in (
        RequestSent(100.1, "m", 0, 70),
        RequestEnded(100.2, "m", 0, 0.1, FaultKind.RATE_LIMITED, Usage()),
        JobRequeued(100.2, "m", 0, 1, FaultKind.RATE_LIMITED, "slow down", 1.0),
        RequestSent(100.3, "m", 1, 70),
        RequestEnded(100.3, "m", 1, 0.0, FaultKind.CONNECT, Usage()),
        JobRequeued(100.3, "m", 1, 2, FaultKind.CONNECT, "no route", 1.0),
        Note(100.3, "of no concern here"),
    ):
        recorder.on(event)
    recorder.look(100.4, "requests per minute of m", 3, {"m": {"requests per minute": 10.0}})
    recorder.on(RequestSent(100.6, "m", 0, 70))  # half a second later the wall's second is over
    recorder.on(RequestEnded(100.9, "m", 0, 0.3, None, Usage(5, 6)))
    recorder.on(JobEnded(100.9, 0, 1, None, "", 2))
    recorder.on(JobEnded(100.9, 7, 8, "bad", "", 0))
    recorder.look(101.0, "", 1, {"m": {"requests per minute": 10.0}})
    width, (first, second) = recorder.take(101.0, last=True)
    assert (width, first.at, second.at) == (1, START, START + 1)
    assert first.models == {"m": ModelPart(sent=2, unsent=1, refused=1, tokens=140)}
    assert (first.begun, second.begun, first.again, first.in_flight) == (1, 0, 1, 3)
    assert first.faults == {"rate limited": 1, "cannot connect": 1}
    assert first.waits == {"requests per minute of m": pytest.approx(0.4)}
    assert (first.limits, second.limits) == ({"m": {"requests per minute": 10.0}}, {}), "only where they change"
    assert second.models == {"m": ModelPart(sent=1, answers=1, tokens=70, input_tokens=5, output_tokens=6)}
    assert (second.succeeded, second.failed, second.attempts) == (1, 1, {2: 1, 0: 1})
    assert (second.latency, second.slowest) == ({latency_class(0.3): 1}, 0.3)
    assert first.seconds + second.seconds == pytest.approx(1.0)
    assert recorder.take(101.0, last=True) == (1, []), "nothing is given twice"


def test_waiting_is_written_seldom_and_work_at_once() -> None:
    """A run that waits for an hour does not write a record, and fsync, each second of it."""
    recorder = Recorder(0.0, float(START))
    written = []
    for k in range(5 * 60):
        recorder.look(k / 5, "daily limit", 0, {})
        written.append(len(recorder.take(k / 5)[1]))
    assert written.count(0) > 5 * 60 - 8
    recorder.on(RequestSent(60.0, "m", 0, 1))
    recorder.look(61.0, "", 1, {})
    assert recorder.take(61.0)[1], "what happened is written within a second"


def test_a_suspended_process_neither_works_nor_waits() -> None:
    """An hour between two looks was slept: it is neither at work nor at the limit, but a gap."""
    recorder = Recorder(0.0, float(START))
    for now in (1.0, 2.0, 3602.0, 3603.0):
        recorder.look(now, "daily limit", 0, {})
    _, buckets = recorder.take(3604.0, last=True)
    line = TimeLine((1, bucket) for bucket in buckets)
    assert (line.whole().seconds, line.whole().waits) == (3.0, {"daily limit": 3.0})
    assert len(gaps_of(line.ordered(), 1)) == 1


def test_a_long_run_writes_coarser() -> None:
    """A week of seconds takes no more than some ten thousand buckets."""
    recorder = Recorder(0.0, float(START))
    sent = kept = 0
    now = 0.0
    line = TimeLine()
    while now < 7 * 86_400:
        recorder.on(RequestSent(now, "m", 0, 1))
        recorder.look(now, "", 1, {})
        sent += 1
        width, buckets = recorder.take(now)
        kept += len(buckets)
        for bucket in buckets:
            line.add(bucket, width)
        now += recorder.width * 0.9
    width, buckets = recorder.take(now, last=True)
    for bucket in buckets:
        line.add(bucket, width)
    assert kept < 25_000
    assert line.whole().models["m"].sent == sent
    assert len(line.buckets) <= 4096


# --- the report ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amounts", "width", "window", "most", "reason"),
    [
        ([(0, 60)], 1, 60, 60, "a single second is what its minute held"),
        ([(k, 1) for k in range(600)], 1, 60, 60, "an even pace"),
        ([(0, 50), (59, 50), (60, 50)], 1, 60, 100, "sixty seconds hold the first two or the last two"),
        ([(0, 50), (60, 50)], 1, 60, 50, "these are a minute apart"),
        ([(0, 100), (600, 100)], 1, 600, 10, "in ten minutes, per minute"),
        ([(0, 256)], 256, 60, 60, "a bucket that is wider than a minute is a mean"),
        ([], 1, 60, 0, "nothing"),
    ],
)
def test_most_within(amounts: list[tuple[int, int]], width: int, window: int, most: float, reason: str) -> None:
    """The most in any window, per minute."""
    assert most_within(amounts, width, window, 60) == most, reason


def status(**changes: Any) -> Status:
    """A finished run of 100 jobs."""
    fields: dict[str, Any] = dict.fromkeys(Status.__struct_fields__)
    fields |= {"output": "o", "checkpoint": "c", "state": "finished", "exit_code": 0, "total": 100, "answered": 100}
    fields |= {"written": 100, "totals": StatusTotals(100, 0, 1, 1), "errors": (), "retrying": False, "stopped_why": ""}
    return Status(**(fields | changes))


def test_rates_against_limits() -> None:
    """Two runs an hour apart: peak and share of time at the limit are those of the time at work."""
    limits = {"m": {"requests per minute": 120.0, "tokens per minute": 6000.0}}
    line = TimeLine()
    for start in (START, START + 3600):
        for k in range(120):
            part = ModelPart(sent=2, answers=2, tokens=100, input_tokens=50, output_tokens=50)
            line.add(
                Bucket(
                    start + k,
                    seconds=1.0,
                    begun=int(k == 0),
                    models={"m": part},
                    limits=limits if k == 0 else {},
                    waits={"requests per minute of m": 0.5},
                    in_flight=1,
                )
            )
    seen = review(status(cost_usd=4.8, unpriced=("x",)), line, 50, {"m": 4.8})
    (model,) = seen.models
    assert (seen.duration_s, seen.processes, seen.gaps) == (240.0, 2, [(START + 120, START + 3600)])
    assert (model.requests, seen.requests, model.limits) == (480, 480, limits["m"])
    rpm, tpm = model.requests_per_minute, model.tokens_per_minute
    assert (rpm.mean, rpm.peak, rpm.limit, rpm.at_limit) == (120.0, 120.0, 120.0, 0.5)
    assert (tpm.mean, tpm.peak, tpm.limit, tpm.at_limit) == (6000.0, 6000.0, 6000.0, 0.0)
    assert (model.cost_usd, seen.cost_usd, seen.unpriced) == (4.8, 4.8, ("x",))
    assert model.cost_per_hour_at_limit == pytest.approx(72.0), "a cent a request, 120 a minute"
    assert seen.series is not None
    assert seen.series.in_flight.count(None) == 1, "one column stands for the gap"
    assert len(seen.series.at) <= 51


def test_without_a_time_line() -> None:
    """A checkpoint of an older batchproc: what is there is told, and that the rest is not."""
    seen = review(status(), TimeLine(), 50)
    assert (seen.recorded, seen.succeeded, seen.series, seen.latency_s) == (False, 100, None, None)


def test_gaps() -> None:
    """Seconds that a kill lost are none; a pause between two processes is one."""
    at = [START, START + 1, START + 12, START + 100]
    assert gaps_of([Bucket(t) for t in at], 1) == [(START + 13, START + 100)]
