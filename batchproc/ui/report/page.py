"""A report as one page: no network, no cookies, nothing foreign that is not escaped.

Tables and the bars of what the run waited for are plain HTML and SVG; the charts are drawn by uPlot, a copy of which is
in the page. A content security policy lets nothing run but that script, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from batchproc.price import usd
from batchproc.runreport import RunReport
from batchproc.ui.jsontext import json_line
from batchproc.ui.report.markup import cell, escaped, table, tile
from batchproc.ui.report.strip import strip
from batchproc.ui.report.words import (
    NOT_RECORDED,
    evidence_text,
    jobs_words,
    latency_words,
    of_limit,
    rate_rows,
    share_words,
    times_words,
)
from batchproc.ui.summary import cost_words
from batchproc.ui.words import count, plural, short


def page(report: RunReport) -> str:
    """The whole document."""
    script = f"{_asset('uplot', 'uPlot.iife.min.js')}\n{_asset('page.js')}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    data = json_line(report.series).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    name = escaped(report.output)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: report</title>\n<style>{_asset('uplot', 'uPlot.min.css')}\n{_asset('page.css')}</style>\n"
        f"</head>\n<body>\n{_body(report)}\n"
        f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _asset(*path: str) -> str:
    return files("batchproc.ui.report").joinpath(*path).read_text(encoding="utf-8").strip()


def _body(report: RunReport) -> str:
    state = {"running": "under way", "unfinished": "unfinished"}.get(report.state, "finished")
    parts = [
        f"<h1>{escaped(report.output)}</h1>",
        f'<p class="soft">{escaped(times_words(report))}{", " if report.recorded else ""}{state}. '
        f"{escaped(jobs_words(report))}.</p>",
    ]
    if report.recorded:
        parts += [_tiles(report), _models(report), _over_time(report), _waits(report), _attempts(report)]
    else:
        parts.append(f"<p>{escaped(NOT_RECORDED[:1].upper() + NOT_RECORDED[1:])}.</p>")
    parts += [_errors(report), _cost(report)]
    if report.recorded:
        parts.append(_evidence(report))
    parts.append('<p class="soft">Made by batchproc report. Times are local.</p>')
    return "\n".join(part for part in parts if part)


def _tiles(report: RunReport) -> str:
    tiles = [
        tile(count(report.succeeded), "jobs answered"),
        tile(count(report.failed), "jobs failed"),
        tile(count(report.requests), "requests sent"),
        tile(count(report.rate_limited), "refused (429)"),
        tile(count(report.retries), "retries"),
    ]
    seen = report.latency_s
    if seen is not None:
        tiles += [
            tile(latency_words(s), name)
            for name, s in (("p50 latency", seen.p50), ("p90", seen.p90), ("p99", seen.p99), ("slowest", seen.max))
        ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _models(report: RunReport) -> str:
    """Requests and tokens against the limits, for each of the busiest models."""
    series = report.series
    parts = []
    for n, model in enumerate(series.models if series is not None else ()):
        charts = f'<div><h3>Requests per minute</h3><div class="chart" data-chart="requests {n}"></div></div>'
        if any(model.tokens):
            charts += f'<div><h3>Tokens per minute</h3><div class="chart" data-chart="tokens {n}"></div></div>'
        parts.append(f'<h2>{escaped(model.model)}</h2>\n<div class="pair">{charts}</div>')
    return "\n".join(parts)


def _over_time(report: RunReport) -> str:
    width = report.series.width_s if report.series is not None else 1
    charts = (
        ("latency", "Latency of answers"),
        ("trouble", f"429s, retries, failures, per {plural(width, 'second').removeprefix('1 ')}"),
        ("flight", "Requests in flight"),
    )
    cells = "".join(
        f'<div><h3>{title}</h3><div class="chart" data-chart="{name}"></div></div>' for name, title in charts
    )
    return f'<h2>All models</h2>\n<div class="pair">{cells}</div>'


def _waits(report: RunReport) -> str:
    if report.series is None or not report.waits:
        return ""
    head = "<h2>What the next request waited for</h2>"
    return f"{head}\n{strip(report.series, report.waits)}"


def _attempts(report: RunReport) -> str:
    rows = [[cell(count(n), "n"), cell(count(jobs), "n")] for n, jobs in report.attempts.items()]
    if not rows:
        return ""
    return "<h2>Requests per job</h2>\n" + table([("requests", "n"), ("jobs", "n")], rows, small=True)


def _errors(report: RunReport) -> str:
    if not report.errors:
        return ""
    heads = [("jobs", "n"), ("code", ""), ("first at line", "n"), ("example", "")]
    rows = [
        [
            cell(count(e.count), "n"),
            cell(e.code[:200], "text"),
            cell(count(e.line) if e.line else "", "n"),
            cell(e.message[:1000], "text"),
        ]
        for e in report.errors
    ]
    return "<h2>Errors</h2>\n" + table(heads, rows)


def _cost(report: RunReport) -> str:
    words = cost_words(report)
    if not words:
        return ""
    rows = [[cell(m.model, "text"), cell(usd(m.cost_usd), "n")] for m in report.models if m.cost_usd is not None]
    models = table([("model", ""), ("cost", "n")], rows, small=True) if rows else ""
    return f"<h2>Cost</h2>\n<p>{escaped(words)}</p>\n{models}"


def _evidence(report: RunReport) -> str:
    """A table and a text that can be sent to a provider."""
    heads = [("model", ""), ("", ""), ("limit", "n"), ("peak, 60 s", "n"), ("sustained, 10 min", "n"), ("mean", "n")]
    heads += [("time at the limit", "n"), ("429s", "n")]
    priced = any(m.cost_per_hour_at_limit is not None for m in report.models)
    if priced:
        heads.append(("USD per hour at the limit", "n"))
    rows = []
    for model in report.models:
        for unit, r in rate_rows(model):
            cells = [model.model if unit == "RPM" else "", unit, short(r.limit) if r.limit is not None else "not known"]
            cells += [of_limit(r.peak, r.limit), of_limit(r.sustained, r.limit), of_limit(r.mean, r.limit)]
            cells.append(share_words(r.at_limit) if r.limit is not None else "")
            cells.append(count(model.rate_limited) if unit == "RPM" else "")
            if priced:
                cost = model.cost_per_hour_at_limit
                cells.append(usd(cost) if cost is not None and unit == "RPM" else "")
            rows.append([cell(c, "text" if k < 1 else "" if k < 2 else "n") for k, c in enumerate(cells)])
    return (
        "<h2>Evidence for higher limits</h2>\n" + table(heads, rows) + "\n<p>The same as text, ready to be sent:</p>\n"
        f"<pre>{escaped(evidence_text(report), lines=True)}</pre>"
    )
