"""How far a run is, in words: what `batchproc status` prints."""

from __future__ import annotations

import shlex

from batchproc.snapshot import Status
from batchproc.ui.console import paint
from batchproc.ui.summary import cost_words, error_lines
from batchproc.ui.words import clip, count, duration, harmless, plural

_LABEL = 11
_WIDTH = 100


def status_text(
    status: Status, colour: bool, *, running_s: float, stopped_s: float | None, here: bool, retry: str
) -> str:
    """The words, without a final line break.

    `here`: the command can be typed in this folder as it is; `retry` is the one that sends failed lines again.
    """
    style = {0: "green", 3: "yellow"}.get(status.exit_code, "cyan")
    lines = [paint(_verdict(status, running_s), style, colour)]
    for label, text in _rows(status, stopped_s, here, retry):
        shown = f"{label}:" if label else ""
        lines.append(f"{paint(shown, 'dim', colour)}{' ' * (_LABEL - len(shown))}{text}")
    return "\n".join(lines)


def _verdict(status: Status, running_s: float) -> str:
    name = harmless(status.output)
    what = "retry" if status.retrying else "run"
    holder = status.running
    if holder is not None:
        who = f"process {holder.pid} on {harmless(holder.host)}"
        quiet = f", no sign of life for {duration(holder.beat_s)}" if holder.beat_s > 30 else ""
        return f"{name}: a {what} is under way, {who} for {duration(running_s)}{quiet}"
    if status.exit_code == 5:
        return f"{name}: the {what} is unfinished, and no process is at work"
    failed = status.totals.failed
    return f"{name}: done, {plural(failed, 'job')} failed" if failed else f"{name}: done"


def _rows(status: Status, stopped_s: float | None, here: bool, retry: str) -> list[tuple[str, str]]:
    totals = status.totals
    rows = [("answered", f"{_answered(status)} = {count(totals.succeeded)} succeeded + {count(totals.failed)} failed")]
    rows.append(("written", plural(status.written, "line")))
    wait = status.waits_for
    if wait is not None:
        tries = f"sent {plural(wait.tries, 'time')} so far" if wait.tries else "not sent yet"
        behind = f"{count(wait.waiting)} wait behind job {wait.index}" if wait.waiting else f"job {wait.index} is next"
        rows.append(("", f"{behind} ({tries})"))
        if wait.why:
            rows.append(("waits for", clip(wait.why, _WIDTH)))
    if status.running is None and status.exit_code == 5:
        rows.append(("stopped", _stopped(status, stopped_s)))
    rows += [("failed" if not n else "", text) for n, text in enumerate(error_lines(status.errors, _WIDTH))]
    if totals.input_tokens or totals.output_tokens:
        rows.append(("tokens", f"{count(totals.input_tokens)} in + {count(totals.output_tokens)} out"))
    if cost := cost_words(status):
        rows.append(("cost", cost))
    rows.append(("files", f"{harmless(status.output)}, checkpoint {harmless(status.checkpoint)}"))
    if status.running is None and status.exit_code == 5 and status.command:
        folder = "" if here or status.folder is None else f"cd {shlex.quote(status.folder)} && "
        rows.append(("next", harmless(folder + status.command)))
    elif status.exit_code == 3:
        rows.append(("next", harmless(retry)))
    return rows


def _answered(status: Status) -> str:
    if status.total is not None and status.total == status.answered:
        return plural(status.total, "job")
    if status.total_estimate is not None and status.total_estimate > status.answered:
        return f"{count(status.answered)} of ~{count(status.total_estimate)} jobs"
    return plural(status.answered, "job")


def _stopped(status: Status, stopped_s: float | None) -> str:
    if stopped_s is None:
        return "without a word: killed, or the machine went down"
    why = f": {clip(status.stopped_why, _WIDTH)}" if status.stopped_why else ""
    return f"{duration(stopped_s)} ago with exit code {status.stopped_code}{why}"
