"""Progress for programs: one JSON object a line on stderr, each with an `event`."""

from __future__ import annotations

import re

import msgspec

from batchproc.events import Event, JobEnded, JobRequeued, RequestEnded, RequestSent
from batchproc.snapshot import Snapshot, Summary
from batchproc.ui.console import Console
from batchproc.ui.jsontext import json_line

EVERY_S = 1

# From which verbosity on the frequent events are printed; all others always are. Failed jobs count as rare.
_FROM = {RequestSent: 2, RequestEnded: 2, JobRequeued: 1, JobEnded: 1}


def _event_name(kind: type) -> str:
    """`OutageBegan` → `outage_began`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


class JsonLines:
    """`progress` at most once a second, the events under the names of their classes, `summary` at the end."""

    def __init__(self, console: Console, verbosity: int = 0) -> None:
        self._console = console
        self._verbosity = verbosity
        self._next_s: float | None = None
        self._names: dict[type, str] = {}
        self._unsaid: Snapshot | None = None

    def start(self) -> None:
        """Nothing to set up."""

    def update(self, snapshot: Snapshot) -> None:
        """Print a `progress` object if the last one is a second old."""
        if self._next_s is not None and snapshot.elapsed_s < self._next_s:
            self._unsaid = snapshot
            return
        self.status(snapshot)
        self._next_s = snapshot.elapsed_s + EVERY_S

    def event(self, event: Event) -> None:
        """Print an event, unless it is one of many."""
        kind = type(event)
        level = _FROM.get(kind)
        failed_job = isinstance(event, JobEnded) and event.code is not None
        if level is not None and self._verbosity < level and not failed_job:
            return
        name = self._names.get(kind)
        if name is None:
            name = self._names[kind] = _event_name(kind)
        self._console.line(json_line({"event": name, **msgspec.structs.asdict(event)}))

    def status(self, snapshot: Snapshot) -> None:
        """Print a `progress` object now."""
        self._unsaid = None
        fields = msgspec.structs.asdict(snapshot)
        self._console.line(json_line({"event": "progress", "done": snapshot.done, **fields}))

    def stop(self) -> None:
        """Print the last state, if it is not printed yet."""
        if self._unsaid is not None:
            self.status(self._unsaid)

    def summary(self, summary: Summary) -> None:
        """Print the `summary` object."""
        self._console.line(json_line({"event": "summary", **msgspec.structs.asdict(summary)}))
