"""Look at a run from outside, also while it goes on: takes no lock, writes nothing, mends nothing.

The last mark says nearly all of it, about a second late, without reading the results. Only where the process was
killed, or a file is not as the mark says, the results themselves are counted.
"""

from __future__ import annotations

import os
import shlex
import time

from msgspec import Struct

from batchproc.errors import ForeignOutput, UsageError
from batchproc.model import Position
from batchproc.snapshot import ErrorGroup, Holder, Status, StatusTotals, StatusWait
from batchproc.store.checkpoint import Mark
from batchproc.store.count import count
from batchproc.store.files import disk_failed
from batchproc.store.lock import held_by
from batchproc.store.parts import MANIFEST, folder_of, merge_of
from batchproc.store.recover import has_lines
from batchproc.store.scan import Marks, read_marks
from batchproc.store.totals import Totals


class _Counted(Struct):
    """How far a run is: `complete` says that nothing is left to do."""

    totals: Totals
    written: int
    waiting: int
    tries: int
    complete: bool


class Looked(Struct):
    """How far a run is, what its answers used by model, and the settings that identify it (none, if not known)."""

    status: Status
    totals: Totals
    identity: dict[str, str | None]


def look(output: str, checkpoint: str) -> Status:
    """How far the run with these files is. Raises UsageError, ForeignOutput, DiskFailed."""
    return looked(output, checkpoint).status


def looked(output: str, checkpoint: str) -> Looked:
    """The same, and what it spent. Raises UsageError, ForeignOutput, DiskFailed."""
    marks = told_by(output, checkpoint)
    running = held_by(output)
    counted = _quick(output, marks, running) or _count(output, checkpoint, marks)
    totals = counted.totals
    begun, wait, stop = (marks.told.get(what) for what in ("run", "wait", "stop"))
    retrying = marks.retry is not None
    complete = counted.complete and not retrying
    exit_code = 5 if not complete else 3 if totals.failed else 0
    answered = totals.succeeded + totals.failed
    status = Status(
        output=output,
        checkpoint=checkpoint,
        state="running" if running else "unfinished" if not complete else "finished",
        exit_code=exit_code,
        total=counted.written if counted.complete else None,
        total_estimate=None if counted.complete else _estimate(marks.last),
        answered=answered,
        written=counted.written,
        waits_for=None
        if counted.complete
        else StatusWait(
            index=counted.written,
            waiting=counted.waiting,
            tries=counted.tries,
            why=wait.why if wait and running else "",
        ),
        totals=StatusTotals(totals.succeeded, totals.failed, totals.input_tokens, totals.output_tokens),
        errors=error_groups(totals),
        running=running,
        retrying=retrying,
        stopped_at=stop.at if stop else None,
        stopped_why=stop.why if stop else "",
        stopped_code=stop.code if stop else None,
        jobs=begun.jobs if begun else None,
        folder=begun.folder if begun else None,
        command=(stop.command if stop else "") or (begun.command if begun else None),
    )
    return Looked(status, totals, marks.header.identity if marks.header is not None else {})


def told_by(output: str, checkpoint: str) -> Marks:
    """Marks and notes of a run. Raises UsageError where there is none, ForeignOutput for what is not ours."""
    if os.path.isdir(output):
        raise UsageError(f"`{output}` is a folder", "name the results file of a run")
    if not os.path.exists(output) and not os.path.exists(checkpoint):
        if os.path.exists(os.path.join(folder_of(output), MANIFEST)):
            raise UsageError(f"`{output}` is made in shards, and not merged yet", f"`{merge_of(output)}` first")
        raise UsageError(f"there is no file `{output}`", "name the results file of a run, as its last words do")
    try:
        marks = read_marks(checkpoint, sums=False) if has_lines(checkpoint) else Marks()
        ours = marks.last is not None or bool(marks.told) or marks.header is not None
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    if not ours:
        hint = f"if batchproc made it, `batchproc run JOBS -o {shlex.quote(output)} --adopt` takes it over"
        raise ForeignOutput(f"there is no checkpoint `{checkpoint}` that says a run made `{output}`", hint)
    return marks


def error_groups(totals: Totals) -> tuple[ErrorGroup, ...]:
    """The errors by their codes, most frequent first."""
    # A message that was read from an output begins with the line of a bad job, which a group says by itself.
    groups = [
        ErrorGroup(code, e.count, e.line, e.message.removeprefix(f"line {e.line}: "))
        for code, e in totals.errors.items()
    ]
    return tuple(sorted(groups, key=lambda g: (-g.count, g.line)))


def _quick(output: str, marks: Marks, running: Holder | None) -> _Counted | None:
    """What the last mark says, if it may be believed without looking at the results."""
    mark = marks.last
    if mark is None or mark.saved is None or marks.retry is not None:
        return None
    size = os.path.getsize(output) if os.path.exists(output) else -1
    if running is None and (size != mark.output_length or not (mark.done or "stop" in marks.told)):
        return None
    return _Counted(mark.saved, mark.next_index, mark.waiting, mark.tries, mark.done and size == mark.output_length)


def _count(output: str, checkpoint: str, marks: Marks) -> _Counted:
    """Count the results themselves."""
    try:
        seen = count(output, checkpoint, marks)
    except OSError as e:
        disk_failed("reading", output, e)
    mark = marks.last
    complete = mark is not None and mark.done and mark.next_index == seen.written and seen.whole
    if marks.retry is not None:
        complete = seen.written == marks.retry.lines
    return _Counted(seen.totals, seen.written, seen.waiting, seen.tries, complete)


def _estimate(mark: Mark | None) -> int | None:
    """Jobs in the input, by how many stood in the part of it that is answered."""
    if mark is None or mark.input is None:
        return None
    at: Position = mark.position
    return int(at.index * mark.input.size / at.offset) if at.offset else None


def age_s(at: float) -> float:
    """Seconds since a Unix time; one from the future counts as now."""
    return max(0.0, time.time() - at)
