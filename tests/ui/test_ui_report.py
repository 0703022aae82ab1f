"""The report: as text of any width, and as a page that is whole, safe and needs nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from batchproc.runreport import Latency, ModelReport, ModelSeries, Rates, RunReport, Series, Waited
from batchproc.snapshot import ErrorGroup
from batchproc.ui.report.page import page
from batchproc.ui.report.spark import spark
from batchproc.ui.report.text import columns_in, report_text
from batchproc.ui.report.words import evidence_text

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[2J\u2028"
AT = 1_700_000_000


def report(name: str = "gpt-4o", **changes: Any) -> RunReport:
    """A run of three columns, a gap, and one more."""
    rpm = Rates(mean=900.0, peak=1190.0, sustained=1000.0, limit=1200.0, at_limit=0.59)
    tpm = Rates(mean=90_000.0, peak=100_000.0, sustained=95_000.0, limit=None, at_limit=0.0)
    model = ModelReport(name, 3000, 2900, 69, 300_000, 200_000, 90_000, rpm, tpm, {"requests per minute": 1200.0})
    line: list[float | None] = [600.0, 1200.0, 0.0, None, 60.0]
    series = Series(
        width_s=2,
        at=[AT, AT + 2, AT + 4, AT + 6, AT + 100],
        answers=[1, 2, 0, None, 4],
        failed=[0, 1, 0, None, 0],
        rate_limited=[0, 69, 0, None, 0],
        retries=[0, 0, 0, None, 2],
        in_flight=[5, 9, 0, None, 3],
        p50=[0.5, 1.0, None, None, 1.5],
        p90=[0.5, 1.0, None, None, 1.5],
        p99=[0.5, 1.0, None, None, 1.5],
        waits={f"requests per minute of {name}": [0.5, 2.0, 0.0, None, 0.0]},
        models=[ModelSeries(name, line, line, line, line, line, [None] * 5)],
    )
    made = RunReport(
        output="o.jsonl",
        checkpoint="o.jsonl.ckpt",
        state="finished",
        jobs=3000,
        answered=3000,
        succeeded=2900,
        failed=100,
        recorded=True,
        processes=2,
        began_at=float(AT),
        ended_at=float(AT + 102),
        duration_s=8.0,
        gaps=[(AT + 6, AT + 100)],
        requests=3000,
        retries=71,
        rate_limited=69,
        faults={"rate limited": 69, "server error": 2},
        attempts={1: 2930, 2: 60, 9: 10},
        latency_s=Latency(0.34, 1.2, 3.0, 125.0),
        models=[model],
        waits=[Waited(f"requests per minute of {name}", 4.7, 0.59), Waited("nothing much", 0.001, 0.0001)],
        errors=(ErrorGroup("content_filter", 100, 88, "not that"),),
        series=series,
    )
    return replace(made, **changes)


def test_text() -> None:
    """The table, the sparklines with their gap, the errors."""
    lines = report_text(report(), colour=False).split("\n")
    assert lines[0] == "o.jsonl: a run"
    assert "jobs:         3,000 jobs = 2,900 succeeded + 100 failed" in lines
    assert "requests:     3,000 requests, 71 retries, 69 × 429" in lines
    assert "attempts:     jobs by requests: 2,930 × 1, 60 × 2, 10 × more" in lines
    assert "latency:      p50 340 ms, p90 1.2 s, p99 3.0 s, max 2 min 05 s" in lines
    row = next(line for line in lines if " RPM " in line and "gpt-4o" in line)
    assert row.split() == ["gpt-4o", "RPM", "900", "1,190", "(99%)", "1,000", "(83%)", "1,200", "59%", "69"]
    assert "waited for:    59%  requests per minute of gpt-4o, 4.7 s" in lines
    assert not any("nothing much" in line for line in lines)
    assert "pace:         ▅█▁┊▂  up to 1,200 RPM" in lines
    assert "latency p50:  ▃▆ ┊█  up to 1.5 s" in lines
    assert "errors:       100 × content_filter, first at line 88: not that" in lines


def test_an_old_checkpoint() -> None:
    """It says so, and shows what is there."""
    plain = RunReport("o", "c", "unfinished", 10, 4, 3, 1, False, errors=(ErrorGroup("bad", 1, 2, "why"),))
    text = report_text(plain, colour=False)
    assert "4 of ~10 have a result = 3 succeeded + 1 failed" in text
    assert "has no time line" in text
    assert "1 × bad, first at line 2: why" in text
    assert "has no time line" in page(plain)
    assert "why" in page(plain)


@given(st.text(max_size=60), st.integers(20, 200))
def test_foreign_text_stays_on_its_line(foreign: str, width: int) -> None:
    """Names and messages cannot move the cursor."""
    seen = report(foreign, errors=(ErrorGroup(foreign, 1, 1, foreign),), output=foreign)
    text = report_text(seen, colour=False, width=width)
    assert not any(char < " " or "\x7f" <= char < "\xa0" for line in text.split("\n") for char in line)
    assert columns_in(width) >= 10
    assert "\x1b" not in evidence_text(seen)


@pytest.mark.parametrize(
    ("values", "gaps", "shown"),
    [
        ([0.0, 0.001, 7.0, 3.5], [1, 1, 1, 1], "▁▂█▅"),  # a little is not nothing
        ([None, None, 1.0], [1, None, 1], " ┊█"),  # no value, no process
        ([0.0, 0.0], [1, 1], "▁▁"),
        ([], [], ""),
    ],
)
def test_spark(values: list[float | None], gaps: list[int | None], shown: str) -> None:
    """One character a value."""
    assert spark(values, gaps) == shown


# --- the page -----------------------------------------------------------------------------------------------

_VOID = {"meta", "rect", "br", "img", "link", "input"}


class Checked(HTMLParser):
    """Collects elements and their text, and that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


def test_the_page_is_whole_and_needs_nothing_from_outside() -> None:
    """Well-formed; no element loads anything; the only script is the one whose hash the policy names."""
    text = page(report())
    seen = Checked(text)
    loading = {"src", "href", "srcset", "action", "data", "poster"}
    assert not [e for e in seen.elements if loading & e[1].keys() or e[0] in ("link", "iframe", "object", "base")]
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    style = "".join(data for tag, data in seen.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in seen.elements if t == "meta" and "content" in a and "http-equiv" in a)
    scripts = [data for tag, data in seen.texts if tag == "script"]
    assert len(scripts) == 2
    assert policy is not None
    assert base64.b64encode(hashlib.sha256(scripts[1].encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy
    assert json.loads(scripts[0])["at"] == [AT, AT + 2, AT + 4, AT + 6, AT + 100]
    assert {a["data-chart"] for _, a in seen.elements if "data-chart" in a} == {
        "requests 0", "tokens 0", "latency", "trouble", "flight",
    }  # fmt: skip


def test_hostile_names_and_messages() -> None:
    """What servers and files bring is text, wherever it stands."""
    text = page(report(HOSTILE, output=HOSTILE, errors=(ErrorGroup(HOSTILE, 1, 1, HOSTILE),)))
    seen = Checked(text)
    assert [tag for tag, _ in seen.elements].count("script") == 2
    assert not [tag for tag, _ in seen.elements if tag == "img"]
    assert "alert(1)" in "".join(data for tag, data in seen.texts if tag == "td"), "it is shown all the same"
    assert "\x1b" not in text
    assert json.loads(next(data for tag, data in seen.texts if tag == "script"))["models"][0]["model"] == HOSTILE


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=80))
def test_any_text_is_escaped(foreign: str) -> None:
    """The same elements, whatever the names are."""
    plain = [tag for tag, _ in Checked(page(report("m"))).elements]
    made = page(report(foreign, output=foreign, errors=(ErrorGroup(foreign, 100, 88, foreign),)))
    assert [tag for tag, _ in Checked(made).elements] == plain


def test_evidence_and_costs() -> None:
    """The table has the limit, the peak and the share of time; with prices also what an hour at the limit costs."""
    seen = report()
    text = re.sub(r"<[^>]*>", " ", page(seen).split("Evidence for higher limits")[1].split("<script")[0])
    for word in ("1,200", "1,190 (99%)", "1,000 (83%)", "59%", "69", "not known"):
        assert word in text
    assert "USD" not in text
    assert "<h2>Cost</h2>" not in page(seen)
    model = replace(seen.models[0], cost_usd=4.8, cost_per_hour_at_limit=72.0)
    costly = replace(seen, models=[model], cost_usd=4.8, cost_lost_usd=0.5, unpriced=("<b>",))
    priced = page(costly)
    assert "$72.00" in priced
    words = "$4.8000, and at most $0.5000 for requests whose answers were lost; no price is known for "
    assert f"<h2>Cost</h2>\n<p>{words}&lt;b&gt;</p>" in priced
    assert words + "<b>" in " ".join(report_text(costly, False).split())
    assert "An hour at these limits costs about $72.00." in evidence_text(replace(seen, models=[model]))


def test_uplot_is_the_published_one() -> None:
    """The files beside the README are those whose hashes it gives."""
    folder = files("batchproc.ui.report").joinpath("uplot")
    readme = folder.joinpath("README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| `([0-9a-f]{64})` \|$", readme, re.MULTILINE)
    assert len(rows) == 3
    for name, digest in rows:
        assert hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest() == digest
