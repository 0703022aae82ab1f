"""Progress: one interface, four printers, and the choice between them.

Nothing here reads a clock or starts a thread: the engine calls `update()` about five times a second, and the time is
the snapshot's. The module of the bar, and rich with it, is imported only when a bar is shown.
"""

from __future__ import annotations

from typing import Protocol

from batchproc.events import Event
from batchproc.snapshot import Snapshot, Summary
from batchproc.ui.console import Console
from batchproc.ui.jsonlines import JsonLines
from batchproc.ui.plain import Plain, status_line
from batchproc.ui.summary import print_summary

__all__ = ["Progress", "Quiet", "progress_for", "status_line"]


class Progress(Protocol):
    """Tells how a run goes. No method raises for what can happen to stderr, and none waits."""

    def start(self) -> None:
        """Before the first update."""
        ...

    def update(self, snapshot: Snapshot) -> None:
        """The run as it is now; called often, prints when it is time to."""
        ...

    def event(self, event: Event) -> None:
        """Something happened; may come before `start()` and after `stop()`."""
        ...

    def status(self, snapshot: Snapshot) -> None:
        """Print where the run is, now: somebody asked (SIGUSR1)."""
        ...

    def stop(self) -> None:
        """Take the display down. May be called twice, or without `start()`."""
        ...

    def summary(self, summary: Summary) -> None:
        """The closing words, after `stop()`."""
        ...


class Quiet:
    """Says nothing but errors, and where the run is if asked."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self) -> None:
        """Nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""

    def status(self, snapshot: Snapshot) -> None:
        """Print the status line: quiet does not mean deaf."""
        self._console.line(status_line(snapshot))

    def stop(self) -> None:
        """Nothing."""

    def summary(self, summary: Summary) -> None:
        """The verdict, if not all went well."""
        print_summary(self._console, summary, quiet=True)


def progress_for(console: Console, verbosity: int = 0) -> Progress:
    """The printer this console's audience wants; `verbosity` is -1 (quiet), 0, 1 (`-v`) or 2 (`-vv`)."""
    printer = console.audience.printer
    if verbosity < 0 or printer == "none":
        return Quiet(console)
    if printer == "json":
        return JsonLines(console, verbosity)
    if printer == "bar":
        from batchproc.ui.bar import Bar  # imports rich: 0.1 s

        return Bar(console, verbosity)
    return Plain(console, verbosity)
