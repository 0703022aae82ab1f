"""The last words of a run, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchproc.price import usd
from batchproc.runreport import RunReport
from batchproc.snapshot import ErrorGroup, Status, Summary
from batchproc.ui.console import Console, paint
from batchproc.ui.jsontext import json_line
from batchproc.ui.words import clip, count, duration, harmless, plural, rate

_LABEL = 11  # columns of the labels
_MODELS = 3
_ERRORS = 5
_NAME = 30


def summary_json(summary: Summary) -> bytes:
    """The summary as one line of JSON, the fields by name."""
    return json_line(summary).encode() + b"\n"


def print_summary(console: Console, summary: Summary, *, quiet: bool = False) -> None:
    """Print the closing words, then `error:` and `hint:` where there are any; `quiet`: only if not all went well."""
    if not quiet:
        console.line(summary_text(summary, console.colour, console.width))
    elif summary.exit_code:
        console.line(_verdict(summary, console.colour))
    if summary.error:
        console.error(summary.error, summary.hint)


def summary_text(summary: Summary, colour: bool, width: int = 100) -> str:
    """The closing words, without a final line break. Only foreign messages are cut to `width`: paths get copied."""
    lines = [_verdict(summary, colour), counts(summary)]
    rows = [("resumed", f"{plural(summary.resumed, 'job')} answered by earlier runs")] if summary.resumed else []
    rows.append(("time", _time(summary)))
    rows += [("rates", text) for text in _rates(summary)]
    if summary.binding:
        rows.append(("held back", f"by {harmless(summary.binding)}"))
    if summary.input_tokens or summary.output_tokens:
        rows.append(("tokens", f"{count(summary.input_tokens)} in + {count(summary.output_tokens)} out"))
    if cost := cost_words(summary):
        rows.append(("cost", cost))
    rows += [("failed", text) for text in error_lines(summary.errors, max(40, width - _LABEL))]
    if summary.output:
        rows.append(("files", _files(summary)))
    if summary.next_command:
        rows.append(("next", harmless(summary.next_command)))
    said = ""
    for label, text in rows:
        shown = "" if label == said else f"{label}:"
        said = label
        lines.append(f"{paint(shown, 'dim', colour)}{' ' * (_LABEL - len(shown))}{text}")
    return "\n".join(lines)


def _verdict(summary: Summary, colour: bool) -> str:
    style = "green" if not summary.exit_code else "yellow" if summary.exit_code in (3, 5, 129, 130, 143) else "red"
    return paint(harmless(summary.verdict), style, colour)


def counts(summary: Summary) -> str:
    """`10,000 jobs = 9,990 succeeded + 10 failed + 0 not run`: always a sum that is right."""
    ended = f"{count(summary.succeeded)} succeeded + {count(summary.failed)} failed"
    not_run = summary.not_run
    if not_run is None and summary.total is not None:
        not_run = max(0, summary.total - summary.succeeded - summary.failed)
    done = summary.succeeded + summary.failed
    if not_run is None:
        return f"{plural(done, 'job')} = {ended}, the rest of the input was not read"
    if summary.total is None:
        return f"{plural(done + not_run, 'job')} = {ended} + {count(not_run)} not run, the rest was not read"
    return f"{plural(summary.total, 'job')} = {ended} + {count(not_run)} not run"


def cost_words(summary: Summary | Status | RunReport) -> str:
    """What a run has cost, in words; empty where no price is known."""
    if summary.cost_usd is None:
        return ""
    text = usd(summary.cost_usd)
    if summary.cost_lost_usd:
        text += f", and at most {usd(summary.cost_lost_usd)} for requests whose answers were lost"
    if summary.unpriced:
        names = ", ".join(clip(name, _NAME) or "(no name)" for name in summary.unpriced[:_MODELS])
        text += f"; no price is known for {names}" + (", …" if len(summary.unpriced) > _MODELS else "")
    return text


def _time(summary: Summary) -> str:
    text = duration(summary.elapsed_s, fine=True)
    extras = []
    if summary.retries:
        extras.append(plural(summary.retries, "retry", "retries"))
    if summary.rate_limited:
        extras.append(f"{count(summary.rate_limited)} × 429")
    if summary.requests:
        text += f", {plural(summary.requests, 'request')}"
    return f"{text} ({', '.join(extras)})" if extras else text


def _rates(summary: Summary) -> Iterator[str]:
    models = sorted(summary.models, key=lambda m: (-m.requests, -m.tokens))
    shown = [m for m in models[:_MODELS] if m.requests or m.tokens]
    names = [clip(m.model, _NAME) for m in shown]
    requests = [rate(m.requests, "RPM", m.request_limit) for m in shown]
    name_width, requests_width = (max(map(len, column), default=0) for column in (names, requests))
    for model, name, per_minute in zip(shown, names, requests, strict=True):
        tokens = rate(model.tokens, "TPM", model.token_limit) if model.tokens or model.token_limit else ""
        yield f"{name:{name_width}}  {per_minute:{requests_width}}  {tokens}".rstrip()
    if len(models) > _MODELS:
        yield f"and {plural(len(models) - _MODELS, 'more model')}"


def error_lines(errors: Sequence[ErrorGroup], width: int) -> Iterator[str]:
    """The most frequent errors, a line each."""
    shown = errors[:_ERRORS]
    digits = max((len(count(group.count)) for group in shown), default=0)
    for group in shown:
        yield clip(_error(group, digits), width)
    others = errors[_ERRORS:]
    if others:
        yield f"{count(sum(group.count for group in others)):>{digits}} × {plural(len(others), 'other error')}"


def _error(group: ErrorGroup, digits: int) -> str:
    text = f"{count(group.count):>{digits}} × {group.code}"
    if group.line:
        text += f", first at line {count(group.line)}"
    return f"{text}: {group.message}" if group.message else text


def _files(summary: Summary) -> str:
    output = harmless(summary.output)
    return f"{output}, checkpoint {harmless(summary.checkpoint)}" if summary.checkpoint else output
