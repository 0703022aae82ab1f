"""Costs in words, and the report of `check`."""

from __future__ import annotations

import io
import json

from msgspec.structs import replace
from test_ui_bar import shown
from test_ui_summary import EMPTY

from batchproc.forecast import BadLines, Forecast, ModelForecast, Part, Repeats, Spread
from batchproc.ui.checkreport import forecast_json, forecast_text
from batchproc.ui.console import Audience, Console
from batchproc.ui.gauge import Gauge
from batchproc.ui.summary import summary_text

MODEL = ModelForecast(
    "gpt-4o", 1000, Spread(1, 2, 3, 4, 5000), 2000, 3000, 10, 100, 2, "tpm", 12.5, 1.25, "a list\x1b[31m"
)
PART = Part(1000, (MODEL,), "tpm", 12.5, 0.5, 1.25, ())
FULL = Forecast(
    "jobs.jsonl",
    1003,
    1002,
    2,
    (BadLines("invalid_json", "not JSON \x1b[31m", 2, (3, 9)),),
    Repeats(1, ((1, 5),)),
    Repeats(2, ((1, 5), (6, 7))),
    PART,
    replace(PART, jobs=400),
    500,
    102,
    "jobs.results.jsonl",
    ("a note",),
    3,
)


def test_the_cost_row() -> None:
    """What it cost; what may have been lost; what is not in it. Nothing where no price is known."""
    text = summary_text(replace(EMPTY, cost_usd=1.5, cost_lost_usd=0.25, unpriced=("own\x1b",)), False)
    assert "cost:      $1.5000, and at most $0.2500 for requests whose answers were lost" in text
    assert text.endswith("no price is known for own\\x1b")
    assert "cost" not in summary_text(EMPTY, False)


def test_the_live_display_has_the_cost_where_there_is_room() -> None:
    """So far, and of all; a narrow display goes without."""
    assert any("$1.5000 of about $3.0000" in line for line in shown(100, cost_usd=1.5, cost_whole_usd=3.0))
    assert not any("$" in line for line in shown(30, cost_usd=1.5, cost_whole_usd=3.0))
    assert not any("$" in line for line in shown(100))


def test_the_report() -> None:
    """Every finding has its row; foreign text does no harm."""
    lines = forecast_text(FULL, 64, False).splitlines()
    assert lines == [
        "jobs.jsonl: 1,002 jobs, 2 bad",
        "bad lines:   2 × invalid_json: not JSON \\x1b[31m (lines 3, 9)",
        "duplicates:  1 custom_id used before (line 5 as 1)",
        "             2 bodies identical to an earlier one (line 5 as 1, 7 as 6)",
        "note:        a note",
        *(rows := MODEL_ROWS),
        "",
        "602 jobs have their result (102 of them failed); 400 good jobs remain",
        *rows,
    ]


MODEL_ROWS = [
    "gpt-4o: 1,000 jobs",
    "per job:     min 1, median 2, p95 3, max 4",
    "tokens:      5,000 = 2,000 in + 3,000 out at the most",
    "estimated:   100 of the output: 10 jobs without a maximum, 10 each; `--assume-max-output` sets it",
    "not counted: 2 jobs: a quarter of the bytes stands for the input",
    "limit:       TPM binds: 12 min 30 s",
    "cost:        about $1.2500, by a list\\x1b[31m",
    "time:        12 min 30 s; 64 in flight are enough if requests take less than 0.5 s",
]


def test_several_models_have_a_sum() -> None:
    """Of those whose price is known."""
    free = replace(MODEL, model="own", cost_usd=None, price_source=None, binding=None, minutes=None)
    part = replace(PART, models=(MODEL, free), unpriced=("own",))
    text = forecast_text(replace(FULL, whole=part, remaining=None), None, False)
    assert "cost:        about $1.2500 in all, without 1 model of unknown price" in text
    assert "cost:        no price is known" in text


def test_the_document_is_one_line() -> None:
    """With every field by its name."""
    document = forecast_json(FULL)
    assert document.count(b"\n") == 1
    assert json.loads(document)["whole"]["models"][0]["tokens"]["p95"] == 3


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_gauge_draws_over_itself_and_leaves_nothing() -> None:
    """Ten times a second at the most; on a pipe never."""
    screen = _Terminal()
    gauge = Gauge(Console(screen, Audience("bar", False)), "checking")
    gauge.show(50, 100, 7, 1.0)
    gauge.show(60, 100, 8, 1.05)
    gauge.show(60, None, 9, 2.0)
    gauge.clear()
    gauge.clear()
    parts = screen.getvalue().split("\r")
    assert len(parts) == 4
    assert "checking: 7 lines  50%" in parts[1]
    assert parts[2] == "checking: 9 lines\x1b[K"
    assert parts[3] == "\x1b[K"
    pipe = io.StringIO()
    Gauge(Console(pipe, Audience("plain", False)), "checking").show(1, 2, 3, 1.0)
    assert not pipe.getvalue()
