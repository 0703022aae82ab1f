"""Signals: the first one stops the sending, the second SIGINT also the waiting; SIGUSR1 asks for a status line."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType

from batchproc.core.decisions import Halt, HaltKind
from batchproc.engine.pool import Pool

DRAIN_S = 30.0
DRAIN_TERM_S = 8.0


class Signals:
    """Listens while a run goes on. `exit_code` is that of the first signal that came, None if none came."""

    def __init__(self, pool: Pool, drain_s: float | None, on_status: Callable[[], None]) -> None:
        self.exit_code: int | None = None
        self._pool = pool
        self._drain_s = drain_s
        self._on_status = on_status
        self._count = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        self._listen("SIGINT", DRAIN_S)
        self._listen("SIGTERM", DRAIN_TERM_S)
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # nohup means: go on
            self._listen("SIGHUP", DRAIN_TERM_S)
        self._add("SIGUSR1", self._on_status)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number, before in self._before.items():
            try:
                loop.remove_signal_handler(number)
            except (NotImplementedError, ValueError, RuntimeError):
                pass  # this loop never had it
            signal.signal(number, before)  # type: ignore[arg-type]

    def _listen(self, name: str, drain_s: float) -> None:
        self._add(name, lambda: self._stop(name, self._drain_s if self._drain_s is not None else drain_s))

    def _add(self, name: str, call: Callable[[], None]) -> None:
        number = getattr(signal, name, None)
        if number is None:
            return  # Windows has fewer
        loop = asyncio.get_running_loop()

        def handler(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(call)

        try:
            self._before[number] = signal.getsignal(number)
            loop.add_signal_handler(number, call)
        except NotImplementedError:
            signal.signal(number, handler)
        except (ValueError, RuntimeError):
            self._before.pop(number, None)  # not the main thread: whoever runs it handles signals

    def _stop(self, name: str, drain_s: float) -> None:
        self._count += 1
        if self.exit_code is None:
            self.exit_code = 128 + int(getattr(signal, name))
            self._pool.halt(Halt(HaltKind.INTERRUPTED, f"interrupted ({name})"), drain_s)
        elif self._count == 2:
            self._pool.cut()
        else:
            os._exit(self.exit_code)  # the disk hangs: what was saved is saved
