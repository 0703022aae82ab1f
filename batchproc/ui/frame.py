"""What the live display shows, as lines of styled pieces: pure, of any size from 20 columns and one line.

A display that jumps is not read. So lines keep their place and their number as far as possible, rates stand in columns,
and when there is too little room the least important lines go first, never the bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct

from batchproc.snapshot import ModelRate, Snapshot
from batchproc.ui.plain import busiest, checking_words, cost_words, done_words, outage_words, outlook_words, time_left_s
from batchproc.ui.words import clip, count, duration, harmless, plural, remaining, share, short

Piece: TypeAlias = tuple[str, str]  # text, style ("" for none)
Line: TypeAlias = list[Piece]

_MODELS = 4
_GAUGE = 8
_NARROW = 34  # columns below which a model's numbers do not fit beside its name
_GAUGES_FROM = 64
_SEPARATOR: Piece = (" · ", "dim")


class Problem(Struct):
    """What went wrong lately, and how often."""

    what: str  # code of a failed job, or kind of a fault
    message: str
    line: int
    count: int = 0


def frame(snapshot: Snapshot, problems: Sequence[Problem], width: int, height: int) -> list[Line]:
    """The display in at most `height` lines; lines may be a little longer than `width` where a word is."""
    if snapshot.checked is not None:
        return _checking(snapshot, width)[:height]
    shown = [
        _head(snapshot, width),
        _flow(_answers(snapshot, width), width),
        _flow(_delays(snapshot, width), width),
        _models(snapshot.models, width),
        _state(snapshot, width),
        [_problem(problem, width) for problem in problems],
    ]
    room = height
    for section in (0, 1, 4, 3, 2, 5):  # the most important first
        shown[section] = shown[section][: max(0, room)]
        room -= len(shown[section])
    return [line for lines in shown for line in lines]


def gauge(part: float, whole: float, cells: int, style: str) -> Line:
    """`━━━╸────`: how much of the whole, to half a cell."""
    halves = 2 * cells if whole <= 0 else max(0, min(2 * cells, int(2 * cells * part / whole)))
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return [(full, style), ("─" * (cells - len(full)), "dim")]


def _head(snapshot: Snapshot, width: int) -> list[Line]:
    done, percent = done_words(snapshot)
    left_s = time_left_s(snapshot)
    left = "" if left_s is None else remaining(left_s)
    if not percent:
        return _flow([(f"{done} done", "")], width)
    whole = snapshot.total if snapshot.total is not None else snapshot.total_estimate or 0
    style = "green" if snapshot.done >= whole else "cyan"
    # All beside the bar where it stays long enough to be one; else the time left, then the count, move below it.
    for beside, below in (([done, percent, left], []), ([done, percent], [left]), ([percent], [done, left])):
        text = "  ".join(part for part in beside if part)
        cells = width - len(text) - 2
        if cells >= (20 if not below else 10):
            break
    lines = [[*gauge(snapshot.done, whole, max(1, cells), style), (f"  {text}", "")]]
    return lines + _flow([(part, "") for part in below if part], width)


def _answers(snapshot: Snapshot, width: int) -> list[Piece]:
    pieces = [
        (snapshot.succeeded, "ok", "green"),
        (snapshot.failed, "failed", "red"),
        (snapshot.in_flight, "in flight", ""),
        (snapshot.retrying, "retrying", "yellow"),
    ]
    return _numbers(pieces, width)


def _delays(snapshot: Snapshot, width: int) -> list[Piece]:
    pieces = [(snapshot.rate_limited, "× 429", "yellow"), (snapshot.waiting_in_order, "waiting in order", "")]
    if snapshot.resumed:
        pieces.append((snapshot.resumed, "from earlier runs", ""))
    shown = _numbers(pieces, width)
    return [*shown, (cost_words(snapshot), "")] if snapshot.cost_usd is not None and width >= _NARROW else shown


def _numbers(pieces: Iterable[tuple[int, str, str]], width: int) -> list[Piece]:
    """Zeros stay, dimmed, so that nothing moves when they grow; only a narrow display cannot afford them."""
    return [(f"{count(n)} {noun}", style if n else "dim") for n, noun, style in pieces if n or width >= _NARROW]


def _state(snapshot: Snapshot, width: int) -> list[Line]:
    """What the run is doing about its next request: one line in quiet times, so that the display stands still."""
    lines: list[Line] = []
    if snapshot.stopping:
        lines.append([(clip(f"stopping: {snapshot.stopping}", width), "yellow")])
    if snapshot.outage_s is not None:
        words = outage_words(snapshot)
        if len(words) > width:
            words = f"server out {duration(snapshot.outage_s)}"
        lines.append([(clip(words, width), "red")])
    if snapshot.waiting_for:
        words = f"waiting for {snapshot.waiting_for}"
        if harmless(snapshot.waiting_for) == snapshot.waiting_for and len(words + outlook_words(snapshot)) <= width:
            words += outlook_words(snapshot)
        lines.append([(clip(words, width), "")])
    return lines or [[(clip("sending" + outlook_words(snapshot), width), "dim")]]


def _models(models: Sequence[ModelRate], width: int) -> list[Line]:
    shown = busiest(models, _MODELS)
    if not shown:
        return []
    lines = _model_table(shown, width) if width >= _NARROW else [_narrow_model(model, width) for model in shown]
    if len(models) > _MODELS:
        lines.append([(clip(plural(len(models) - _MODELS, "more model"), width), "dim")])
    return lines


def _narrow_model(model: ModelRate, width: int) -> Line:
    """The name and the limit that is nearest."""
    near = max(
        ((value / limit, unit, _heat(value, limit)) for value, limit, unit in _against(model) if limit),
        default=None,
    )
    if near is None:
        text, style = f" {short(model.requests)} RPM", ""
    else:
        text, style = f" {share(near[0], 1)} {near[1]}", near[2]
    return [(clip(model.model, width - len(text)), ""), (text, style)]


def _against(model: ModelRate) -> tuple[tuple[int, float | None, str], ...]:
    return (model.requests, model.request_limit, "RPM"), (model.tokens, model.token_limit, "TPM")


def _model_table(models: Sequence[ModelRate], width: int) -> list[Line]:
    columns = []
    for column in range(2):
        cells = [_against(model)[column] for model in models]
        texts = [short(value) if limit is None else f"{short(value)}/{short(limit)}" for value, limit, _ in cells]
        columns.append((cells, texts, max(map(len, texts))))
    gauges = width >= _GAUGES_FROM
    taken = sum(longest + len("  ") + len(" RPM") + (_GAUGE + 1 if gauges else 0) for _, _, longest in columns)
    room = max(6, width - taken)
    names = [clip(model.model, min(room, 28)) for model in models]
    name_width = max(map(len, names))
    lines = []
    for row, name in enumerate(names):
        line: Line = [(f"{name:{name_width}}", "")]
        for cells, texts, longest in columns:
            value, limit, unit = cells[row]
            line.append(("  ", ""))
            if gauges:
                line += gauge(value, limit, _GAUGE, _heat(value, limit)) if limit else [(" " * _GAUGE, "")]
                line.append((" ", ""))
            line.append((f"{texts[row]:>{longest}} {unit}", ""))
        lines.append(line)
    return lines


def _heat(value: float, limit: float | None) -> str:
    return "yellow" if limit and value >= 0.9 * limit else "cyan"


def _problem(problem: Problem, width: int) -> Line:
    head = f"{count(problem.count)} × {clip(problem.what, 40)}"
    text = f"{head}, last at line {count(problem.line)}" if problem.line else head
    return [(clip(f"{text}: {problem.message[:500]}" if problem.message else text, width), "dim")]


def _checking(snapshot: Snapshot, width: int) -> list[Line]:
    checked = snapshot.checked or 0
    words = _flow([(checking_words(snapshot), "")], width)
    if not snapshot.resumed >= checked > 0:
        return words
    text = f"  {share(checked, snapshot.resumed)}"
    return [[*gauge(checked, snapshot.resumed, max(1, width - len(text)), "cyan"), (text, "")], *words]


def _flow(pieces: Iterable[Piece], width: int) -> list[Line]:
    """Pieces beside each other with dots between, on as many lines as they need."""
    lines: list[Line] = []
    used = 0
    for text, style in pieces:
        fits = lines and used + len(_SEPARATOR[0]) + len(text) <= width
        if fits:
            lines[-1] += [_SEPARATOR, (text, style)]
            used += len(_SEPARATOR[0]) + len(text)
        else:
            lines.append([(text, style)])
            used = len(text)
    return lines
