"""Progress for logs: a line every 30 s, notable events at once."""

from __future__ import annotations

from collections.abc import Sequence

from batchproc.events import Event
from batchproc.price import usd
from batchproc.snapshot import ModelRate, Snapshot, Summary
from batchproc.ui.console import Console
from batchproc.ui.notes import note
from batchproc.ui.summary import print_summary
from batchproc.ui.words import clip, clock, count, duration, harmless, plural, rate, remaining, share

EVERY_S = 30
_MODELS = 2
_FOREIGN = 100  # characters of a name or reason in a line


def done_words(snapshot: Snapshot) -> tuple[str, str]:
    """How far a run is, as a count (`1,234/10,000`, `1,234/~10,000`) and a share (`12%`, `~12%`, or nothing)."""
    done, total, estimate = snapshot.done, snapshot.total, snapshot.total_estimate
    if total is not None:
        return f"{count(done)}/{count(total)}", share(done, total)
    # An estimate that turned out too low says nothing any more, and 100% would be a promise.
    if estimate is not None and estimate > done:
        return f"{count(done)}/~{count(estimate)}", f"~{share(done, estimate)}"
    return count(done), ""


def busiest(models: Sequence[ModelRate], most: int) -> list[ModelRate]:
    """The models with the most requests, in the order they came in, so that a display stands still."""
    if len(models) <= most:
        return list(models)
    chosen = sorted(range(len(models)), key=lambda i: (-models[i].requests, -models[i].tokens, i))[:most]
    return [models[i] for i in sorted(chosen)]


def checking_words(snapshot: Snapshot) -> str:
    """What a resume is doing while it compares the input with what was answered."""
    checked = snapshot.checked or 0
    known = f" of {count(snapshot.resumed)}" if snapshot.resumed >= checked > 0 else ""
    return f"checking answered lines: {count(checked)}{known}"


def cost_words(snapshot: Snapshot) -> str:
    """What the answers cost so far, and what all of them will if the others cost as much."""
    text = usd(snapshot.cost_usd or 0.0)
    whole = snapshot.cost_whole_usd
    return f"{text} of about {usd(whole)}" if whole is not None and whole > (snapshot.cost_usd or 0.0) * 1.005 else text


def outage_words(snapshot: Snapshot) -> str:
    """For how long the server has been out, and since when on the clock of this run."""
    out = snapshot.outage_s or 0.0
    return f"no answer from the server for {duration(out)} (since {clock(snapshot.elapsed_s - out)})"


def time_left_s(snapshot: Snapshot) -> float | None:
    """The time left; None while nobody can tell: before there is a pace, while the server is out, at the end."""
    return None if snapshot.stopping or snapshot.outage_s is not None else snapshot.eta_s


def outlook_words(snapshot: Snapshot) -> str:
    """What the time left depends on, as the end of a line; empty where that is not known."""
    if time_left_s(snapshot) is None or not snapshot.held_by:
        return ""
    if snapshot.held_by == snapshot.waiting_for:
        return ", which sets the time left"
    return f"; time left set by {harmless(snapshot.held_by)}"


def status_line(snapshot: Snapshot) -> str:
    """Where a run is, on one line: for plain progress and for SIGUSR1."""
    stamp = f"[{clock(snapshot.elapsed_s)}]"
    if snapshot.checked is not None:
        return f"{stamp} {checking_words(snapshot)}"
    done, percent = done_words(snapshot)
    parts = [f"{done} done ({percent})" if percent else f"{done} done", f"{count(snapshot.failed)} failed"]
    parts.append(f"{count(snapshot.in_flight)} in flight")
    if snapshot.retrying:
        parts.append(f"{count(snapshot.retrying)} retrying")
    parts += _rates(snapshot.models)
    if snapshot.rate_limited:
        parts.append(f"{count(snapshot.rate_limited)} × 429")
    if snapshot.cost_usd is not None:
        parts.append(cost_words(snapshot))
    if snapshot.waiting_for:
        parts.append(f"waiting for {clip(snapshot.waiting_for, _FOREIGN)}")
    if snapshot.outage_s is not None:
        parts.append(outage_words(snapshot))
    if snapshot.stopping:
        parts.append(f"stopping: {clip(snapshot.stopping, _FOREIGN)}")
    left_s = time_left_s(snapshot)
    if left_s is not None:
        by = f" by {clip(snapshot.held_by, _FOREIGN)}" if snapshot.held_by else ""
        parts.append(remaining(left_s) + by)
    return f"{stamp} {', '.join(parts)}"


def _rates(models: Sequence[ModelRate]) -> list[str]:
    named = len(models) > 1
    parts = []
    for model in busiest(models, _MODELS):
        requests = rate(model.requests, "RPM", model.request_limit)
        parts.append(f"{clip(model.model, 40)} {requests}" if named else requests)
        parts.append(rate(model.tokens, "TPM", model.token_limit))
    if len(models) > _MODELS:
        parts.append(plural(len(models) - _MODELS, "more model"))
    return parts


class Plain:
    """Lines without colour or cursor movement; the time is that of the snapshots."""

    def __init__(self, console: Console, verbosity: int = 0) -> None:
        self._console = console
        self._verbosity = verbosity
        self._elapsed_s = 0.0
        self._next_s: float | None = None  # when the next line is due; None: at once
        self._checking = False

    def start(self) -> None:
        """Nothing to set up."""

    def update(self, snapshot: Snapshot) -> None:
        """Print a line if it is time for one."""
        self._elapsed_s = now = snapshot.elapsed_s
        checking = snapshot.checked is not None
        if self._next_s is not None and now < self._next_s and checking == self._checking:
            return
        self._checking = checking
        self._next_s = (now // EVERY_S + 1) * EVERY_S  # full half minutes read well in a log
        self.status(snapshot)

    def event(self, event: Event) -> None:
        """Print a notable event at once."""
        text = note(event, self._verbosity)
        if text is not None:
            self._console.line(f"[{clock(self._elapsed_s)}] {text}")

    def status(self, snapshot: Snapshot) -> None:
        """Print the status line now."""
        self._console.line(status_line(snapshot))

    def stop(self) -> None:
        """Nothing to take down."""

    def summary(self, summary: Summary) -> None:
        """Print the closing words."""
        print_summary(self._console, summary)
