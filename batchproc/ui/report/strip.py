"""What the run waited for over time, as bars whose parts are shares of each column's time: plain SVG."""

from __future__ import annotations

from collections.abc import Sequence

from batchproc.runreport import Series, Waited
from batchproc.ui.report.markup import escaped
from batchproc.ui.report.words import share_words, when
from batchproc.ui.words import duration

_BARS = 150
_WIDTH, _HEIGHT = 900, 90


def strip(series: Series, waits: Sequence[Waited]) -> str:
    """The bars, and a table that names their colours."""
    step = max(1, -(-len(series.at) // _BARS))
    groups = [range(k, min(k + step, len(series.at))) for k in range(0, len(series.at), step)]
    wide = _WIDTH / max(1, len(groups))
    rects = []
    for n, group in enumerate(groups):
        seconds = series.width_s * sum(1 for k in group if series.in_flight[k] is not None)
        if not seconds:
            continue
        rects.append(_rect(n * wide, 0, wide, _HEIGHT, "none"))
        below = float(_HEIGHT)
        for colour, values in enumerate(series.waits.values()):
            high = min(below, _HEIGHT * sum(values[k] or 0.0 for k in group) / seconds)
            below -= high
            if high >= 0.2:
                rects.append(_rect(n * wide, below, wide, high, f"k{colour}"))
    first, last = when(series.at[0], seconds=True), when(series.at[-1] + series.width_s, seconds=True)
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 16}" role="img" aria-label="what the run waited for, over time">'
        f'{"".join(rects)}<text x="0" y="{_HEIGHT + 13}">{escaped(first)}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 13}" text-anchor="end">{escaped(last)}</text></svg>'
    )
    return f"{svg}\n{_legend(series, waits)}"


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width + 0.1:.1f}" height="{height:.1f}"/>'


def _legend(series: Series, waits: Sequence[Waited]) -> str:
    shown = {why: n for n, why in enumerate(series.waits)}
    rows = []
    for wait in waits:
        number = shown.get(wait.why)
        if number is None:
            continue
        key = f'<svg class="key" viewBox="0 0 8 8"><rect class="k{number}" width="8" height="8"/></svg>'
        rows.append(
            f'<tr><td class="text">{key}{escaped(wait.why)}</td><td class="n">{share_words(wait.share)}</td>'
            f'<td class="n">{duration(wait.seconds, fine=True)}</td></tr>'
        )
    head = '<tr><th>waited for</th><th class="n">share of the time</th><th class="n">in all</th></tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
