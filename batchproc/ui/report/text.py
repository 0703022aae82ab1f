"""A report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from batchproc.runreport import RunReport, Series
from batchproc.ui.console import paint
from batchproc.ui.report.spark import spark
from batchproc.ui.report.words import (
    NOT_RECORDED,
    jobs_words,
    latency_words,
    of_limit,
    rate_rows,
    share_words,
    times_words,
    when,
)
from batchproc.ui.summary import cost_words, error_lines
from batchproc.ui.words import clip, count, duration, harmless, plural, short

LABEL = 14
_MODELS = 6
_NAME = 28
_ATTEMPTS = 6


def columns_in(width: int) -> int:
    """How many columns a sparkline may have in a terminal that wide."""
    return max(10, min(72, width - LABEL - 18))


def report_text(report: RunReport, colour: bool, width: int = 100) -> str:
    """The report, without a final line break. Only foreign text and sparklines are cut to the width."""
    state = {"running": "a run that is under way", "unfinished": "an unfinished run"}.get(report.state, "a run")
    lines = [paint(f"{harmless(report.output)}: {state}", "cyan", colour)]
    said = ""
    for label, text in _rows(report, width):
        shown = f"{label}:" if label and label != said else ""
        said = label or said
        lines.append(f"{paint(shown, 'dim', colour)}{' ' * (LABEL - len(shown))}{text}".rstrip())
    return "\n".join(lines)


def _rows(report: RunReport, width: int) -> Iterator[tuple[str, str]]:
    yield "jobs", jobs_words(report)
    if report.recorded:
        yield from _recorded(report, width)
    else:
        yield "over time", NOT_RECORDED
    if cost := cost_words(report):
        yield "cost", cost
    if report.series is not None:
        yield from _sparks(report.series)
    for text in error_lines(report.errors, max(40, width - LABEL)):
        yield "errors", text


def _recorded(report: RunReport, width: int) -> Iterator[tuple[str, str]]:
    yield "time", times_words(report)
    yield (
        "requests",
        f"{plural(report.requests, 'request')}, {plural(report.retries, 'retry', 'retries')}, "
        f"{count(report.rate_limited)} × 429",
    )
    others = {kind: n for kind, n in report.faults.items() if kind != "rate limited"}
    if others:
        yield "", ", ".join(f"{count(n)} × {kind}" for kind, n in others.items())
    if report.attempts:
        yield "attempts", _attempts(report.attempts)
    if report.latency_s is not None:
        seen = report.latency_s
        parts = (("p50", seen.p50), ("p90", seen.p90), ("p99", seen.p99), ("max", seen.max))
        yield "latency", ", ".join(f"{name} {latency_words(s)}" for name, s in parts)
    for text in _table(report):
        yield "rates", text
    for wait in report.waits[:5]:
        if wait.share >= 0.005:
            yield (
                "waited for",
                f"{share_words(wait.share):>4}  {clip(wait.why, 80)}, {duration(wait.seconds, fine=True)}",
            )


def _attempts(attempts: dict[int, int]) -> str:
    shown = {n: jobs for n, jobs in attempts.items() if n <= _ATTEMPTS}
    more = sum(jobs for n, jobs in attempts.items() if n > _ATTEMPTS)
    texts = [f"{count(jobs)} × {n}" for n, jobs in shown.items()]
    return "jobs by requests: " + ", ".join([*texts, f"{count(more)} × more"] if more else texts)


def _table(report: RunReport) -> Iterator[str]:
    """Each model's rates against its limits."""
    head = ("", "", "mean", "peak 60 s", "10 min", "limit", "at limit", "429")
    rows = [head]
    for model in report.models[:_MODELS]:
        name = clip(model.model, _NAME)
        for unit, r in rate_rows(model):
            values = (short(r.mean), of_limit(r.peak, r.limit), of_limit(r.sustained, r.limit))
            limit = short(r.limit) if r.limit is not None else "-"
            refused = count(model.rate_limited) if unit == "RPM" else ""
            rows.append((name, unit, *values, limit, share_words(r.at_limit) if r.limit is not None else "-", refused))
            name = ""
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    for row in rows:
        left = "  ".join(f"{row[k]:{widths[k]}}" for k in (0, 1))
        yield f"{left}  " + "  ".join(f"{row[k]:>{widths[k]}}" for k in range(2, len(head)))
    if len(report.models) > _MODELS:
        yield f"and {plural(len(report.models) - _MODELS, 'more model')}"


def _sparks(series: Series) -> Iterator[tuple[str, str]]:
    ends = series.at[-1] + series.width_s
    first, last = when(series.at[0], seconds=True), when(ends, seconds=True)
    yield "over time", f"{first} to {last}, {plural(series.width_s, 'second')} a column"
    gaps = series.in_flight
    requests = _sum([m.requests for m in series.models])
    tokens = _sum([m.tokens for m in series.models])
    rows: list[tuple[str, list[float | None], str]] = [("pace", requests, "RPM"), ("", tokens, "TPM")]
    rows.append(("in flight", list(series.in_flight), ""))
    for label, values, unit in rows:
        yield label, f"{spark(values, gaps)}  up to {short(_most(values))} {unit}".rstrip()
    for label, values in (("latency p50", series.p50), ("latency p99", series.p99)):
        yield label, f"{spark(values, gaps, _most(series.p99))}  up to {latency_words(_most(values))}"
    for label, numbers in (("429s", series.rate_limited), ("retries", series.retries), ("failed", series.failed)):
        if any(numbers):
            total = sum(n for n in numbers if n)
            yield label, f"{spark(numbers, gaps)}  {count(total)} in all"


def _sum(columns: list[list[float | None]]) -> list[float | None]:
    return [None if any(v is None for v in row) else sum(v or 0.0 for v in row) for row in zip(*columns, strict=True)]


def _most(values: list[float | None]) -> float:
    return max((v for v in values if v is not None), default=0.0)
