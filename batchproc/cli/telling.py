"""Leaves in the checkpoint what `status` and `report` tell: the command, what it waits for, the time line, the end."""

from __future__ import annotations

import os
import time

from batchproc.cli.closing import exit_code, raised, typed, why_stopped
from batchproc.cli.place import folder
from batchproc.core.decisions import HaltKind
from batchproc.core.recorder import Recorder
from batchproc.engine.run import Ending
from batchproc.settings import RunSettings
from batchproc.store.checkpoint import Told
from batchproc.store.results import ResultStore
from batchproc.store.timeline import time_record

_EVERY_S = 10.0  # between notes of what it waits for, which changes all the time


class Teller:
    """Tells a store about its run. `command` is what was typed; what could be a secret in it is not kept."""

    def __init__(self, store: ResultStore, recorder: Recorder, settings: RunSettings, command: list[str]) -> None:
        self._store = store
        self._recorder = recorder
        self._settings = settings
        self._command = command
        self._why = ""
        self._next_s = 0.0
        jobs = settings.jobs if settings.jobs == "-" else os.path.abspath(settings.jobs)
        store.tell(Told(time.time(), "run", jobs=jobs, folder=folder(), command=typed(command)))

    def waits(self, why: str, now: float) -> None:
        """What the run waits for at this instant of its clock; empty: nothing."""
        if why != self._why and now >= self._next_s:
            self._why, self._next_s = why, now + _EVERY_S
            self._store.tell(Told(time.time(), "wait", why=why))

    def time(self, now: float, *, last: bool = False) -> None:
        """Write what happened in the seconds that are over at this instant of the run's clock; `last`: all of it."""
        width, buckets = self._recorder.take(now, last=last)
        if buckets:
            self._store.notes.add(time_record(width, buckets))

    def ends(self, ending: Ending, signal_code: int | None) -> None:
        """The run ends in order."""
        code = exit_code(ending, self._store.totals, signal_code)
        why, command = why_stopped(ending), ""
        limit, halt = self._settings.limit, ending.halt
        if not ending.complete and halt is not None and halt.kind is HaltKind.BUDGET:
            command = typed(raised(self._command, self._settings))  # the same one would stop at once
        if limit is not None and ending.complete:
            why, command = f"the trial of --limit {limit} is done", typed(self._command, without_limit=True)
        self._store.tell(Told(time.time(), "stop", why=why, code=code, command=command))
