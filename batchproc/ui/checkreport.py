"""What `check` found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from batchproc.forecast import Forecast, ModelForecast, Part, Repeats
from batchproc.price import usd
from batchproc.ui.console import paint
from batchproc.ui.jsontext import json_line
from batchproc.ui.words import clip, count, duration, harmless, plural, short

_LABEL = 13  # columns of the labels
_MODELS = 10
_REASONS = 10
_NAME = 60
_MESSAGE = 200
_LIMITS = {
    "rpm": "RPM",
    "tpm": "TPM",
    "itpm": "input tokens per minute",
    "otpm": "output tokens per minute",
    "rpd": "requests per day",
    "tpd": "tokens per day",
}

Row = tuple[str, str]


def forecast_json(forecast: Forecast) -> bytes:
    """The forecast as one line of JSON, the fields by name."""
    return json_line(forecast).encode() + b"\n"


def bad_line(line: int, code: str, message: str) -> str:
    """One bad line, for `-v`."""
    return f"line {line}: {code}: {clip(message, _MESSAGE)}"


def forecast_text(forecast: Forecast, concurrency: int | None, colour: bool) -> str:
    """The report, without a final line break."""
    rows: list[Row] = [("bad lines", text) for text in _bad(forecast)]
    rows += [("duplicates", text) for text in _repeats(forecast)]
    rows += [("note", harmless(text)) for text in forecast.notes]
    lines = [paint(_head(forecast), "yellow" if forecast.bad else "green", colour), *_table(rows, colour)]
    lines += _part(forecast.whole, concurrency, colour)
    rest = forecast.remaining
    if rest is not None:
        done = forecast.succeeded + forecast.failed
        failed = f" ({count(forecast.failed)} of them failed)" if forecast.failed else ""
        lines.append("")
        lines.append(f"{plural(done, 'job')} have their result{failed}; {plural(rest.jobs, 'good job')} remain")
        if rest.jobs:
            lines += _part(rest, concurrency, colour)
    return "\n".join(lines)


def _table(rows: list[Row], colour: bool) -> Iterator[str]:
    said = ""
    for label, text in rows:
        shown = "" if label == said else f"{label}:"
        said = label
        yield f"{paint(shown, 'dim', colour)}{' ' * (_LABEL - len(shown))}{text}"


def _head(forecast: Forecast) -> str:
    name = "standard input" if forecast.file == "-" else harmless(forecast.file)
    if not forecast.jobs:
        return f"{name}: no jobs"
    bad = f"{count(forecast.bad)} bad" if forecast.bad else "none bad"
    return f"{name}: {plural(forecast.jobs, 'job')}, {bad}"


def _bad(forecast: Forecast) -> Iterator[str]:
    for reason in forecast.bad_lines[:_REASONS]:
        more = ", …" if reason.count > len(reason.lines) else ""
        where = ", ".join(map(str, reason.lines)) + more
        noun = "line" if reason.count == 1 else "lines"
        yield f"{count(reason.count)} × {reason.code}: {clip(reason.message, _MESSAGE)} ({noun} {where})"
    if len(forecast.bad_lines) > _REASONS:
        yield f"and {plural(len(forecast.bad_lines) - _REASONS, 'more reason')}; `-v` lists every bad line"


def _repeats(forecast: Forecast) -> Iterator[str]:
    def first(repeats: Repeats) -> str:
        return ", ".join(f"{again} as {before}" for before, again in repeats.lines[:3])

    ids, bodies = forecast.duplicate_ids, forecast.duplicate_bodies
    if ids.count:
        yield f"{plural(ids.count, 'custom_id')} used before (line {first(ids)})"
    if bodies.count:
        yield f"{plural(bodies.count, 'body', 'bodies')} identical to an earlier one (line {first(bodies)})"


def _part(part: Part, concurrency: int | None, colour: bool) -> Iterator[str]:
    for model in part.models[:_MODELS]:
        yield f"{paint(clip(model.model, _NAME), 'cyan', colour)}: {plural(model.jobs, 'job')}"
        yield from _table(list(_model(model)), colour)
    if len(part.models) > _MODELS:
        yield f"and {plural(len(part.models) - _MODELS, 'more model')}"
    rows: list[Row] = []
    if part.models:
        rows.append(("time", _time(part, concurrency)))
        if len(part.models) > 1 and part.cost_usd is not None:
            others = f", without {plural(len(part.unpriced), 'model')} of unknown price" if part.unpriced else ""
            rows.append(("cost", f"{_most(part)} {usd(part.cost_usd)} in all{others}"))
    yield from _table(rows, colour)


def _most(part: Part) -> str:
    return "about" if any(m.estimated_jobs for m in part.models) else "at most"


def _model(model: ModelForecast) -> Iterator[Row]:
    t = model.tokens
    of = "min {}, median {}, p95 {}, max {}".format(*map(count, (t.min, t.median, t.p95, t.max)))
    yield "per job", of
    yield "tokens", f"{count(t.total)} = {count(model.input_tokens)} in + {count(model.output_tokens)} out at the most"
    if model.estimated_jobs:
        each = model.estimated_output_tokens // model.estimated_jobs
        text = f"{count(model.estimated_output_tokens)} of the output: {plural(model.estimated_jobs, 'job')}"
        yield "estimated", f"{text} without a maximum, {count(each)} each; `--assume-max-output` sets it"
    if model.uncounted_jobs:
        yield "not counted", f"{plural(model.uncounted_jobs, 'job')}: a quarter of the bytes stands for the input"
    if model.binding is not None and model.minutes is not None:
        yield "limit", f"{_LIMITS[model.binding]} binds: {duration(model.minutes * 60)}"
    if model.cost_usd is None:
        yield "cost", "no price is known; `--prices FILE` names a list"
    else:
        word = "about" if model.estimated_jobs else "at most"
        yield "cost", f"{word} {usd(model.cost_usd)}, by {harmless(model.price_source or '')}"


def _time(part: Part, concurrency: int | None) -> str:
    flight = f"{short(concurrency)} in flight" if concurrency is not None else "the requests in flight"
    if part.minutes is None or part.binding == "concurrency":
        return f"no limit is given: {flight} and the server decide; `--rpm`, `--tpm`, `--rpd`, `--tpd` name limits"
    text = duration(part.minutes * 60)
    if part.enough_s is not None:
        text += f"; {flight} are enough if requests take less than {duration(part.enough_s, fine=True)}"
    return text
