"""Events in words, each on one line, and from which verbosity on they are worth one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchproc.events import Event, JobEnded, JobRequeued, Note, OutageBegan, OutageEnded, Stopping
from batchproc.ui.words import clip, count, duration, harmless

_MESSAGE = 300  # characters of a foreign message


def _outage_began(event: OutageBegan) -> str:
    return f"outage of `{harmless(event.model)}`: {clip(event.why, _MESSAGE)}; its jobs wait"


def _outage_ended(event: OutageEnded) -> str:
    return f"`{harmless(event.model)}` answers again after {duration(event.lasted_s)}"


def _stopping(event: Stopping) -> str:
    why = f"stopping: {clip(event.why, _MESSAGE)}"
    if not event.in_flight:
        return why
    return f"{why}; waiting up to {duration(event.drain_s)} for {count(event.in_flight)} in flight"


def _note(event: Note) -> str:
    return harmless(event.text)


def _job_ended(event: JobEnded) -> str | None:
    if event.code is None:
        return None
    return f"{_line(event.line)}failed: {clip(event.code, 80)}: {clip(event.message, _MESSAGE)}"


def _job_requeued(event: JobRequeued) -> str:
    wait = duration(event.wait_s, fine=True)
    return f"{_line(event.line)}again in {wait}: {event.kind.value}: {clip(event.message, _MESSAGE)}"


def _line(line: int) -> str:
    return f"line {count(line)} " if line else ""


# Any: each function takes the event of its row.
_WORDS: dict[type, tuple[int, Callable[[Any], str | None]]] = {
    OutageBegan: (0, _outage_began),
    OutageEnded: (0, _outage_ended),
    Stopping: (0, _stopping),
    Note: (0, _note),
    JobEnded: (1, _job_ended),
    JobRequeued: (2, _job_requeued),
}


def note(event: Event, verbosity: int) -> str | None:
    """The line for an event, None if it deserves none. Cheap for the many that do not."""
    row = _WORDS.get(type(event))
    return row[1](event) if row is not None and verbosity >= row[0] else None
