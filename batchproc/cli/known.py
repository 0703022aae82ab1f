"""What the checkpoint of a run says to the commands that come after it: which job file, which settings."""

from __future__ import annotations

import os
import shlex

from batchproc.cli.place import folder
from batchproc.errors import Locked, UsageError
from batchproc.store.files import disk_failed
from batchproc.store.lock import held_by
from batchproc.store.look import told_by
from batchproc.store.scan import Marks, read_marks

_AGAIN = "name the job file with `--jobs FILE`; `--jobs -` reads it from standard input"


def marks_of(output: str, checkpoint: str, *, break_lock: bool) -> Marks:
    """Marks and notes of a run that no process is at. Raises UsageError, ForeignOutput, Locked."""
    marks = told_by(output, checkpoint)
    holder = None if break_lock else held_by(output)
    if holder is not None:
        raise Locked(
            f"`{output}` is being written by another batchproc (process {holder.pid} on {holder.host})",
            "wait for it or stop it: `batchproc status` tells how far it is",
        )
    return marks


def jobs_of(output: str, marks: Marks, given: str | None) -> str:
    """The job file: as given, else as the run was told. Raises UsageError where it must be given (again)."""
    if given is not None:
        return given
    told = marks.told.get("run")
    jobs = told.jobs if told is not None else ""
    if not jobs:
        raise UsageError(f"the checkpoint of `{output}` does not say which job file it answers", _AGAIN)
    if jobs == "-":
        raise UsageError(
            f"the jobs of `{output}` came from standard input, and must come again", f"add `--jobs -`, or {_AGAIN}"
        )
    if not os.path.exists(jobs):
        raise UsageError(f"the job file `{jobs}` is not there any more", f"put it back, or {_AGAIN}")
    relative = os.path.relpath(jobs) if folder() else jobs
    return relative if len(relative) < len(jobs) else jobs


def identity_of_run(checkpoint: str) -> dict[str, str | None] | None:
    """The settings that the run has, as last accepted; None where no header can be read."""
    try:
        header = read_marks(checkpoint, sums=False).header
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    return header.identity if header is not None else None


def quoted(path: str) -> str:
    """A file name as it is typed."""
    return shlex.quote(path)
