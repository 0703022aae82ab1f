"""Signals to the driver: the first one stops all workers, the second also the waiting, the third everything."""

from __future__ import annotations

import os
import signal
from types import FrameType

from batchproc.engine.shutdown import DRAIN_S, DRAIN_TERM_S


class Signals:
    """Listens while it is entered. `code` is the exit code of the first signal that came, None if none came."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.count = 0
        self.name = ""
        self.drain_s = DRAIN_S
        self._status = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        self.listen()
        return self

    def listen(self) -> None:
        """Listen, also where somebody else has taken the signals meanwhile."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
            number = getattr(signal, name, None)
            ignored = name == "SIGHUP" and number is not None and signal.getsignal(number) is signal.SIG_IGN
            if number is None or ignored:  # nohup means: go on
                continue
            before = signal.signal(number, self._asked if name == "SIGUSR1" else self._came)
            self._before.setdefault(number, before)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before or signal.SIG_DFL)  # type: ignore[arg-type]

    def take_status(self) -> bool:
        """Whether a status line was asked for since the last call."""
        asked, self._status = self._status, False
        return asked

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self._status = True

    def _came(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.code is None:
            self.code = 128 + number
            self.name = signal.Signals(number).name
            self.drain_s = DRAIN_S if self.name == "SIGINT" else DRAIN_TERM_S
        elif self.count > 2:
            os._exit(self.code)  # what was saved is saved; Ray ends the workers of a driver that is gone
