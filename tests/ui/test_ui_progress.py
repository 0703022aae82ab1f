"""Plain lines, JSON lines, and silence."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from msgspec.structs import asdict

from batchproc.events import (
    Event,
    JobEnded,
    JobRequeued,
    Note,
    OutageBegan,
    OutageEnded,
    RequestEnded,
    RequestSent,
    Stopping,
)
from batchproc.model import NO_USAGE, FaultKind
from batchproc.snapshot import ModelRate, Snapshot, Summary
from batchproc.ui.bar import Bar
from batchproc.ui.console import Audience, Console
from batchproc.ui.jsonlines import JsonLines
from batchproc.ui.jsontext import json_line
from batchproc.ui.plain import Plain
from batchproc.ui.progress import Progress, Quiet, progress_for, status_line

ONE = (ModelRate("gpt-4o", 1200, 45_000, 3500, 90_000),)
TWO = (*ONE, ModelRate("mini\x1b", 7, 12, None, None))
SENT = RequestSent(1.0, "m", 0, 10)
RETURNED = RequestEnded(1.0, "m", 0, 0.5, FaultKind.SERVER, NO_USAGE)
SUCCEEDED = JobEnded(1.0, 0, 1, None, "")
FAILED = JobEnded(1.0, 87, 1088, "bad_code", "too\nlong")
REQUEUED = JobRequeued(1.0, "m", 0, 6, FaultKind.SERVER, "oops\x1b[0m", 2.34)
BEGAN = OutageBegan(1.0, "gpt-4o", "no route to host")
ENDED = OutageEnded(9.0, "gpt-4o", 125.0)
STOPPING = Stopping(1.0, "interrupted", 12, 30.0)
NOTE = Note(1.0, "repaired `a\nb`")
SUMMARY = Summary("all done", 0, 1, 1, 0, 0, 0, 1.0, 1, 0, 0, 0, 0, (), "", (), "out.jsonl", None, None)


def snapshot(**changes: Any) -> Snapshot:
    """A run after half a minute, with one model."""
    fields: dict[str, Any] = {
        "elapsed_s": 30.0,
        "total": 10_000,
        "total_estimate": None,
        "succeeded": 1231,
        "failed": 3,
        "resumed": 0,
        "in_flight": 50,
        "queued": 900,
        "retrying": 0,
        "waiting_in_order": 8,
        "requests": 1300,
        "rate_limited": 2,
        "retries": 5,
        "input_tokens": 1,
        "output_tokens": 2,
        "models": ONE,
        "waiting_for": "tokens per minute of gpt-4o",
        "eta_s": 754.0,
        "outage_s": None,
        "stopping": "",
    }
    return Snapshot(**(fields | changes))


def console(printer: str = "plain") -> tuple[Console, io.StringIO]:
    """A console without colour, and what is written to it."""
    out = io.StringIO()
    return Console(out, Audience(printer, False)), out  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "line", "reason"),
    [
        (
            {},
            "[00:30] 1,234/10,000 done (12%), 3 failed, 50 in flight, 1,200 RPM of 3,500, 45k TPM of 90k, 2 × 429, "
            "waiting for tokens per minute of gpt-4o, 12 min left",
            "everything that says something",
        ),
        (
            {"models": (), "rate_limited": 0, "waiting_for": "", "eta_s": None},
            "[00:30] 1,234/10,000 done (12%), 3 failed, 50 in flight",
            "and nothing that does not",
        ),
        (
            {"models": (*TWO, ModelRate("rare", 1, 1, None, None)), "waiting_for": "", "eta_s": None, "retrying": 4},
            "[00:30] 1,234/10,000 done (12%), 3 failed, 50 in flight, 4 retrying, gpt-4o 1,200 RPM of 3,500, "
            "45k TPM of 90k, mini\\x1b 7 RPM, 12 TPM, 1 more model, 2 × 429",
            "of several models the busiest, by name",
        ),
        (
            {"total": None, "total_estimate": 10_000, "models": (), "waiting_for": "a\nb", "rate_limited": 0},
            "[00:30] 1,234/~10,000 done (~12%), 3 failed, 50 in flight, waiting for a\\nb, 12 min left",
            "an estimated total is marked",
        ),
        (
            {"total": None, "total_estimate": 1000, "models": (), "waiting_for": "", "rate_limited": 0, "eta_s": None},
            "[00:30] 1,234 done, 3 failed, 50 in flight",
            "an estimate that proved too low is not shown",
        ),
        (
            {"models": (), "waiting_for": "", "rate_limited": 0, "outage_s": 20.0, "stopping": "interrupted"},
            "[00:30] 1,234/10,000 done (12%), 3 failed, 50 in flight, no answer from the server for 20 s "
            "(since 00:10), stopping: interrupted",
            "an outage since when, a stop instead of the time left",
        ),
        ({"checked": 12_000}, "[00:30] checking answered lines: 12,000", "a resume that compares the input"),
        (
            {"checked": 12_000, "resumed": 40_000},
            "[00:30] checking answered lines: 12,000 of 40,000",
            "how many there are, where it is known",
        ),
    ],
)
def test_status_line(changes: dict[str, Any], line: str, reason: str) -> None:
    """One line says where a run is."""
    assert status_line(snapshot(**changes)) == line, reason


def test_plain_speaks_twice_a_minute() -> None:
    """The first update is a line, then one every full half minute; a pause does not bring several."""
    out_console, out = console()
    plain = Plain(out_console)
    plain.start()
    for tenths in [*range(2, 650), 2000, 2001]:
        plain.update(snapshot(elapsed_s=tenths / 10))
    plain.stop()
    assert [line[:7] for line in out.getvalue().splitlines()] == ["[00:00]", "[00:30]", "[01:00]", "[03:20]"]


def test_plain_says_when_checking_is_over() -> None:
    """The end of the check of a resume is a line of its own."""
    out_console, out = console()
    plain = Plain(out_console)
    for second, checked in ((1, 0), (2, 500), (3, None), (4, None)):
        plain.update(snapshot(elapsed_s=second, checked=checked))
    lines = out.getvalue().splitlines()
    assert lines[0] == "[00:01] checking answered lines: 0"
    assert lines[1].startswith("[00:03] 1,234/10,000 done")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("event", "level", "line", "reason"),
    [
        (SENT, None, "", "one of many"),
        (RETURNED, None, "", "one of many"),
        (SUCCEEDED, None, "", "one of many"),
        (FAILED, 1, "line 1,088 failed: bad_code: too\\nlong", "for the curious"),
        (REQUEUED, 2, "line 6 again in 2.3 s: server error: oops\\x1b[0m", "for the very curious"),
        (BEGAN, 0, "outage of `gpt-4o`: no route to host; its jobs wait", "explains why nothing moves"),
        (ENDED, 0, "`gpt-4o` answers again after 2 min 05 s", "and that it does again"),
        (STOPPING, 0, "stopping: interrupted; waiting up to 30 s for 12 in flight", "what Ctrl-C did"),
        (Stopping(1.0, "money spent", 0, 30.0), 0, "stopping: money spent", "nothing to wait for"),
        (NOTE, 0, "repaired `a\\nb`", "worth a line by definition"),
    ],
)
def test_plain_events(event: Event, level: int | None, line: str, reason: str) -> None:
    """Notable events are lines at once, others from the verbosity on that asks for them."""
    for verbosity in (0, 1, 2):
        out_console, out = console()
        Plain(out_console, verbosity).event(event)
        expected = f"[00:00] {line}\n" if level is not None and verbosity >= level else ""
        assert out.getvalue() == expected, reason


def test_json_progress_once_a_second() -> None:
    """A `progress` object at most once a second, with the fields of the snapshot; the last state is never lost."""
    out_console, out = console("json")
    printer = JsonLines(out_console)
    printer.start()
    for fifths in range(12):
        printer.update(snapshot(elapsed_s=fifths / 5, eta_s=float("inf")))
    printer.stop()
    printer.stop()
    printer.summary(SUMMARY)
    *progress, summary = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [document["elapsed_s"] for document in progress] == [0.0, 1.0, 2.0, 2.2]
    assert {"event", "done", *Snapshot.__struct_fields__} == set(progress[0])
    assert progress[0]["models"][0]["request_limit"] == 3500
    assert progress[0]["eta_s"] is None
    assert summary["event"] == "summary"
    assert summary["verdict"] == "all done"


@pytest.mark.parametrize(
    ("event", "level", "name", "reason"),
    [
        (SENT, 2, "request_sent", "one per request"),
        (RETURNED, 2, "request_ended", "one per request"),
        (SUCCEEDED, 1, "job_ended", "one per job"),
        (FAILED, 0, "job_ended", "a failure is rare and wanted"),
        (REQUEUED, 1, "job_requeued", "many while a server has trouble"),
        (BEGAN, 0, "outage_began", "rare"),
        (ENDED, 0, "outage_ended", "rare"),
        (STOPPING, 0, "stopping", "rare"),
        (NOTE, 0, "note", "rare"),
    ],
)
def test_json_events(event: Event, level: int, name: str, reason: str) -> None:
    """Each event is an object under the name of its class, with its fields; the frequent ones on demand."""
    for verbosity in (0, 1, 2):
        out_console, out = console("json")
        JsonLines(out_console, verbosity).event(event)
        if verbosity < level:
            assert out.getvalue() == "", reason
            continue
        document = json.loads(out.getvalue())
        assert document.pop("event") == name, reason
        assert set(document) == set(asdict(event)), reason


@pytest.mark.parametrize("text", ["a\nb\r", "\u2028\u2029\x85", "\ud800", "😀", "\x7f\x1b[31m", '"\\'])
def test_json_lines_are_ascii(text: str) -> None:
    """Reason for each text: it breaks some line splitter, encoding or terminal; as JSON it stays itself."""
    line = json_line({"text": text, "number": float("nan")})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"text": text, "number": None}


def test_quiet_says_nothing_unless_asked() -> None:
    """Silence through a whole run that went well, except to SIGUSR1."""
    out_console, out = console("none")
    quiet = Quiet(out_console)
    quiet.start()
    quiet.update(snapshot())
    quiet.event(BEGAN)
    quiet.stop()
    quiet.summary(SUMMARY)
    assert out.getvalue() == ""
    quiet.status(snapshot())
    assert out.getvalue() == status_line(snapshot()) + "\n"


@pytest.mark.parametrize(
    ("printer", "verbosity", "kind", "reason"),
    [
        ("bar", 0, Bar, "a terminal"),
        ("plain", 0, Plain, "a pipe"),
        ("json", 0, JsonLines, "a program"),
        ("none", 0, Quiet, "nobody"),
        ("bar", -1, Quiet, "-q wins"),
    ],
)
def test_choice_of_printer(printer: str, verbosity: int, kind: type, reason: str) -> None:
    """The audience decides which printer there is, and each lives through a whole run on a closed stream."""
    out_console, out = console(printer)
    progress: Progress = progress_for(out_console, verbosity)
    assert type(progress) is kind, reason
    out.close()
    progress.start()
    for event in (SENT, FAILED, BEGAN, NOTE):
        progress.event(event)
    progress.update(snapshot())
    progress.status(snapshot())
    progress.stop()
    progress.summary(SUMMARY)
