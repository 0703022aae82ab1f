"""The rows that the text and the page have in common: numbers of a report in words."""

from __future__ import annotations

import time

from batchproc.price import usd
from batchproc.runreport import ModelReport, Rates, RunReport
from batchproc.ui.words import count, duration, harmless, plural, short

NOT_RECORDED = "this checkpoint has no time line: it was written by an older batchproc, adopted, or merged from shards"


def latency_words(seconds: float) -> str:
    """`340 ms`, `1.2 s`, `2 min 05 s`."""
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else duration(seconds, fine=True)


def when(at: float, *, seconds: bool = False) -> str:
    """A local date and time."""
    return time.strftime("%d %b %Y %H:%M:%S" if seconds else "%d %b %Y %H:%M", time.localtime(at))


def times_words(report: RunReport) -> str:
    """When the run was at work, and how long."""
    if report.began_at is None or report.ended_at is None:
        return ""
    text = f"{when(report.began_at)} to {when(report.ended_at)}, {duration(report.duration_s, fine=True)} at work"
    if report.processes > 1:
        text += f" in {plural(report.processes, 'process', 'processes')}"
    if report.gaps:
        text += f", {plural(len(report.gaps), 'gap')} of {duration(sum(b - a for a, b in report.gaps))}"
    return text


def jobs_words(report: RunReport) -> str:
    """How many jobs there are, and what became of them: a sum that is right."""
    text = f"{count(report.answered)} have a result"
    if report.jobs is not None and report.state == "finished":
        text = plural(report.jobs, "job")
    elif report.jobs is not None and report.jobs > report.answered:
        text = f"{count(report.answered)} of ~{count(report.jobs)} have a result"
    return f"{text} = {count(report.succeeded)} succeeded + {count(report.failed)} failed"


def share_words(share: float) -> str:
    """A share in per cent, where a little is not nothing."""
    return "0%" if share <= 0 else "<1%" if share < 0.01 else f"{100 * share:.0f}%"


def of_limit(value: float, limit: float | None) -> str:
    """`1,190 (99%)` of a limit."""
    return f"{short(value)} ({100 * value / limit:.0f}%)" if limit else short(value)


def rate_rows(model: ModelReport) -> list[tuple[str, Rates]]:
    """The limits per minute that have something to show."""
    rows = [("RPM", model.requests_per_minute)]
    if model.tokens_per_minute.peak or model.tokens_per_minute.limit:
        rows.append(("TPM", model.tokens_per_minute))
    return rows


def evidence_text(report: RunReport) -> str:
    """What to send to a provider when asking for higher limits: plain text."""
    lines = [f"Work: {times_words(report)}."]
    for model in report.models:
        name = harmless(model.model)
        lines.append(
            f"{name}: {plural(model.requests, 'request')}, {plural(model.answers, 'answer')}, "
            f"{count(model.rate_limited)} refused with 429; {count(model.input_tokens)} input and "
            f"{count(model.output_tokens)} output tokens used."
        )
        for unit, rates in rate_rows(model):
            limit = f"limit {short(rates.limit)} {unit}; " if rates.limit else f"no limit of {unit} known; "
            held = f"; the next request waited for this limit {share_words(rates.at_limit)} of the time"
            lines.append(
                f"  {limit}most in 60 s {of_limit(rates.peak, rates.limit)}, in ten minutes "
                f"{of_limit(rates.sustained, rates.limit)} per minute, mean {of_limit(rates.mean, rates.limit)}"
                + (held if rates.limit else "")
                + "."
            )
        if model.cost_per_hour_at_limit is not None:
            lines.append(f"  An hour at these limits costs about {usd(model.cost_per_hour_at_limit)}.")
    return "\n".join(lines)
