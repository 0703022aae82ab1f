"""The live display: what it shows, at any size, and what it writes to the terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.events import JobEnded, JobRequeued, Note, OutageBegan
from batchproc.model import FaultKind
from batchproc.snapshot import ModelRate, Snapshot, Summary
from batchproc.ui.bar import Bar
from batchproc.ui.console import Audience, Console
from batchproc.ui.frame import Problem, frame
from batchproc.ui.plain import status_line

MODELS = (
    ModelRate("gpt-4o", 1200, 45_000, 3500, 90_000),
    ModelRate("gpt-4o-mini-2024-07-18", 9321, 2_000_000, 10_000, 2_000_000),
    ModelRate("local", 12, 345, None, None),
)
PROBLEM = Problem("server_error", "it\nbroke \x1b[2J", 88, 412)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is shown on terminals only, wherever the tests run."""
    monkeypatch.setenv("TERM", "xterm")


def snapshot(**changes: Any) -> Snapshot:
    """A busy run."""
    fields: dict[str, Any] = {
        "elapsed_s": 30.0,
        "total": 10_000,
        "total_estimate": None,
        "succeeded": 2497,
        "failed": 3,
        "resumed": 0,
        "in_flight": 50,
        "queued": 900,
        "retrying": 2,
        "waiting_in_order": 812,
        "requests": 1300,
        "rate_limited": 2,
        "retries": 5,
        "input_tokens": 1,
        "output_tokens": 2,
        "models": MODELS,
        "waiting_for": "tokens per minute of gpt-4o",
        "eta_s": 754.0,
        "outage_s": None,
        "stopping": "",
    }
    return Snapshot(**(fields | changes))


def shown(width: int, height: int = 24, problems: tuple[Problem, ...] = (), **changes: Any) -> list[str]:
    """The lines of the display without their styles."""
    lines = frame(snapshot(**changes), problems, width, height)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def bar(width: int | None = 80, height: int | None = 24, verbosity: int = 0, colour: bool = False) -> tuple[Bar, Any]:
    """A bar, and the stream it writes to."""
    out = io.StringIO()
    return Bar(Console(out, Audience("bar", colour)), verbosity, width=width, height=height), out


def last_frame(out: io.StringIO) -> str:
    """What was drawn last."""
    return re.split(r"\x1b\[2K", out.getvalue())[-1]


def test_wide() -> None:
    """At 80 columns everything has its place."""
    assert shown(80, problems=(PROBLEM,)) == [
        "━━━━━━━━━━━━────────────────────────────────────  2,500/10,000  25%  12 min left",
        "2,497 ok · 3 failed · 50 in flight · 2 retrying",
        "2 × 429 · 812 waiting in order",
        "gpt-4o                  ━━╸───── 1,200/3,500 RPM  ━━━━──── 45k/90k TPM",
        "gpt-4o-mini-2024-07-18  ━━━━━━━─   9,321/10k RPM  ━━━━━━━━   2M/2M TPM",
        "local                                     12 RPM               345 TPM",
        "waiting for tokens per minute of gpt-4o",
        "412 × server_error, last at line 88: it\\nbroke \\x1b[2J",
    ]


def test_half_as_wide() -> None:
    """At 40 columns gauges and the ends of names are gone."""
    assert shown(40) == [
        "━━━━━────────────────  2,500/10,000  25%",
        "12 min left",
        "2,497 ok · 3 failed · 50 in flight",
        "2 retrying",
        "2 × 429 · 812 waiting in order",
        "gpt-4o      1,200/3,500 RPM  45k/90k TPM",
        "gpt-4o-mi…    9,321/10k RPM    2M/2M TPM",
        "local                12 RPM      345 TPM",
        "waiting for tokens per minute of gpt-4o",
    ]


def test_narrowest() -> None:
    """At 20 columns each model has the limit it is nearest to."""
    lines = shown(20, retrying=0, rate_limited=0, waiting_in_order=0)
    assert lines == [
        "━━━╸───────────  25%",
        "2,500/10,000",
        "12 min left",
        "2,497 ok · 3 failed",
        "50 in flight",
        "gpt-4o 50% TPM",
        "gpt-4o-min… 100% TPM",
        "local 12 RPM",
        "waiting for tokens …",
    ]


def test_nothing_moves_when_numbers_grow() -> None:
    """With and without failures, retries, 429s and reasons to wait there are as many lines."""
    quiet = shown(80, failed=0, retrying=0, rate_limited=0, waiting_in_order=0, waiting_for="")
    assert len(quiet) == len(shown(80))
    assert "sending" in quiet


@pytest.mark.parametrize(
    ("changes", "line", "reason"),
    [
        ({"total": None, "eta_s": None}, "2,500 done", "an unknown total has no bar"),
        ({"total": None, "total_estimate": 9_000}, "  2,500/~9,000  ~27%  12 min left", "an estimate is marked"),
        ({"total": None, "total_estimate": 2_000}, "2,500 done", "an estimate that proved too low is not shown"),
        ({"total": 2_500}, "━  2,500/2,500  100%  12 min left", "full"),
        ({"total": 0, "succeeded": 0, "failed": 0}, "━  0/0  100%  12 min left", "an empty file is done"),
        ({"resumed": 400}, "400 from earlier runs", "what this run did not have to do"),
        ({"outage_s": 20.0}, "no answer from the server for 20 s (since 00:10)", "why nothing moves"),
        ({"stopping": "inter\nrupted"}, "stopping: inter\\nrupted", "that it ends"),
        ({"models": MODELS * 3}, "5 more models", "four models have room"),
        ({"checked": 12_000}, "checking answered lines: 12,000", "a resume that compares the input"),
        ({"checked": 30, "resumed": 40}, "━  75%"[1:], "with a bar, where the number is known"),
    ],
)
def test_parts(changes: dict[str, Any], line: str, reason: str) -> None:
    """Each state of a run has its words."""
    assert any(line in text for text in shown(80, **changes)), reason


@given(
    st.integers(19, 200),
    st.integers(1, 40),
    st.integers(0, 10**6),
    st.one_of(st.none(), st.integers(0, 10**6)),
    st.text(st.characters(), max_size=40),
    st.integers(0, 7),
)
def test_any_size(width: int, height: int, done: int, total: int | None, foreign: str, models: int) -> None:
    """The display keeps to its lines and columns, and foreign text to one line."""
    changes = {"total": total, "succeeded": done, "waiting_for": foreign, "stopping": foreign, "outage_s": 700.0}
    rates = tuple(ModelRate(foreign, i, i, i or None, 10.0) for i in range(models))
    lines = shown(width, height, (Problem(foreign, foreign, 1, 1),), models=rates, **changes)
    assert 1 <= len(lines) <= height
    assert all(len(line) <= max(width, 27) for line in lines)  # 27: the longest number with its noun
    assert not any(char < " " or "\x7f" <= char < "\xa0" for line in lines for char in line)


def test_draws_in_place() -> None:
    """A second update goes back over the first, and the end leaves nothing of either."""
    display, out = bar()
    display.start()
    display.update(snapshot(total=5000))
    assert "\x1b" not in out.getvalue().replace("\x1b[2K", "")
    display.update(snapshot())
    assert out.getvalue().count("\x1b[1A") == 6
    assert last_frame(out).startswith("━")
    display.stop()
    assert last_frame(out).strip() == ""
    display.update(snapshot())
    assert last_frame(out).strip() == "", "after the end nothing is drawn"


def test_colour_or_none() -> None:
    """Without colour there is no attribute of any kind, and the cursor is never hidden."""
    for colour in (False, True):
        display, out = bar(colour=colour)
        display.update(snapshot())
        display.stop()
        assert bool(re.search(r"\x1b\[[\d;]+m", out.getvalue())) is colour
        assert "\x1b[?25" not in out.getvalue()


def test_events_scroll_away_above() -> None:
    """Notable events are printed above the display with the next update, in order; others are not."""
    display, out = bar(verbosity=1)
    display.update(snapshot())
    display.event(OutageBegan(1.0, "m", "no route\n"))
    display.event(JobEnded(1.0, 0, 7, "bad", "\x1b[31m"))
    display.event(JobRequeued(1.0, "m", 0, 7, FaultKind.SERVER, "later", 1.0))
    display.update(snapshot())
    above, below = last_frame(out).split("━", 1)
    assert above == "[00:30] outage of `m`: no route\\n; its jobs wait\n[00:30] line 7 failed: bad: \\x1b[31m\n"
    assert "1 × server error, last at line 7: later" in below
    display.event(Note(1.0, "at the end"))
    display.stop()
    display.event(Note(1.0, "after it"))
    assert out.getvalue().endswith("[00:30] at the end\n[00:30] after it\n")


def test_status_above() -> None:
    """SIGUSR1 prints a line even if it has just been drawn."""
    display, out = bar()
    display.status(snapshot())
    assert out.getvalue().startswith("[00:30] 2,500/10,000 done (25%)")


def test_last_two_problems() -> None:
    """The last two kinds of problems are shown with their counts, 429s not among them, successes neither."""
    display, out = bar(width=200)
    for code in ["first", *(f"other_{i}" for i in range(100)), "second", "third", "second", None]:
        display.event(JobEnded(1.0, 0, 7, code, "message"))
    display.event(JobRequeued(1.0, "m", 0, 7, FaultKind.RATE_LIMITED, "slow down", 1.0))
    display.update(snapshot())
    assert last_frame(out).splitlines()[-2:] == [
        "1 × third, last at line 7: message",
        "2 × second, last at line 7: message",
    ]


def test_reason_to_wait_can_be_read() -> None:
    """A reason that comes and goes stays for two seconds."""
    display, out = bar()
    display.update(snapshot(elapsed_s=30.0))
    display.update(snapshot(elapsed_s=31.9, waiting_for=""))
    assert "waiting for tokens" in last_frame(out)
    display.update(snapshot(elapsed_s=32.1, waiting_for=""))
    assert "sending" in last_frame(out)


def test_narrowed_terminal() -> None:
    """The rows into which a terminal broke the old lines when it became narrower are erased too."""
    display, out = bar(width=100)
    display.update(snapshot())
    before = len(out.getvalue())
    display._screen.width = 50
    display.update(snapshot())
    # 7 lines need 6 steps up; the bar and the three models took a second row each.
    assert out.getvalue()[before:].count("\x1b[1A") == 6 + 4


@pytest.mark.parametrize("environ", [{"COLUMNS": "200"}, {"FORCE_COLOR": "1"}, {"TTY_INTERACTIVE": "0"}])
def test_environment_of_rich(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reason for each: variables that rich knows give neither colour where none is wanted nor a silent bar."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    display, out = bar()
    display.update(snapshot())
    assert last_frame(out).startswith("━")
    assert "\x1b[" not in last_frame(out)


def test_ascii_terminal() -> None:
    """A terminal without box characters gets a bar of others, just as wide."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    display = Bar(Console(stream, Audience("bar", False)), width=80, height=24)
    display.update(snapshot())
    first = raw.getvalue().decode("ascii").split("\x1b[2K")[-1].splitlines()[0]
    assert re.fullmatch(r"=+-+  2,500/10,000  25%  12 min left", first)
    assert len(first) == 79


def test_closing_words() -> None:
    """The summary follows as ordinary text."""
    display, out = bar()
    display.summary(Summary("all done", 0, 1, 1, 0, 0, 0, 1.0, 1, 0, 0, 0, 0, (), "", (), "o", None, None))
    assert out.getvalue().startswith("all done\n1 job = 1 succeeded + 0 failed + 0 not run\n")


@pytest.mark.parametrize(
    ("waiting_for", "held_by", "width", "line"),
    [
        ("limit of m", "limit of m", 80, "waiting for limit of m, which sets the time left"),
        ("the time before a retry", "answers", 80, "waiting for the time before a retry; time left set by answers"),
        ("limit of m", "limit of m", 40, "waiting for limit of m"),
        ("", "requests per minute of m", 80, "sending; time left set by requests per minute of m"),
        ("", "", 80, "sending"),
        ("x\ny", "x\ny", 80, "waiting for x\\ny"),
    ],
)  # fmt: skip
def test_what_sets_the_time_left(waiting_for: str, held_by: str, width: int, line: str) -> None:
    """Named where there is room for it; the reason for waiting goes first."""
    assert shown(width, waiting_for=waiting_for, held_by=held_by)[-1] == line
    assert "time left" not in shown(80, waiting_for=waiting_for, held_by=held_by, eta_s=None)[-1]


def test_problems_keep_their_places() -> None:
    """Two kinds of failures that alternate do not change places with each other, and a new kind is seen soon."""
    display, out = bar()
    seen = []
    for k in range(20):
        for code in ("first", "second"):
            display.event(JobEnded(1.0, k, k, code, "why"))
        if k % 2:
            display.event(JobEnded(1.0, k, k, "first", "why"))
        display.update(snapshot(elapsed_s=30.0 + k / 5))
        seen.append(re.findall(r"× (\w+), last", last_frame(out)))
    assert seen[1:] == [["first", "second"]] * 19
    display.event(JobEnded(1.0, 99, 99, "third", "why"))
    display.update(snapshot(elapsed_s=40.0))
    assert "third" in last_frame(out)


def test_no_time_left_while_the_server_is_out() -> None:
    """The pace of a minute without answers foretells days: nothing is foretold then, also not in the plain line."""
    assert "left" not in " ".join(shown(80, outage_s=20.0, held_by="the server: refused", waiting_for=""))
    assert "left" not in status_line(snapshot(outage_s=20.0))
    assert "left" in status_line(snapshot())
