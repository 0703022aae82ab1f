"""What is done a few times a second while a run goes on, and once at its end: look, show, write down, sign of life."""

from __future__ import annotations

import asyncio

from batchproc.cli.telling import Teller
from batchproc.engine.run import Ending
from batchproc.engine.watch import Watch
from batchproc.store.lock import OutputLock
from batchproc.ui.progress import Progress


class Ticking:
    """`tick` is for the engine to call; `lock` is None where results go to standard output."""

    def __init__(self, watch: Watch, teller: Teller, progress: Progress, lock: OutputLock | None) -> None:
        self._watch = watch
        self._teller = teller
        self._progress = progress
        self._lock = lock

    def tick(self) -> None:
        """The run as it is now."""
        now = asyncio.get_running_loop().time()
        snapshot = self._watch.snapshot(now)
        self._progress.update(snapshot)
        self._teller.waits(snapshot.waiting_for, now)
        self._teller.time(now)
        if self._lock is not None:
            self._lock.beat()

    def ends(self, ending: Ending, signal_code: int | None) -> None:
        """Nothing more is to come."""
        now = asyncio.get_running_loop().time()
        self._watch.snapshot(now)
        self._teller.time(now, last=True)
        self._teller.ends(ending, signal_code)
