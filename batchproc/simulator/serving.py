"""Run the server until it is told to stop: by a signal, or by the end of the process that started it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

from batchproc.simulator.server import Server
from batchproc.simulator.settings import SimulatorSettings


def serve(settings: SimulatorSettings, started: Callable[[str], None], *, stop_at_eof: bool = False) -> None:
    """Serve until SIGINT or SIGTERM, and with `stop_at_eof` also until standard input ends.

    `started` is called with the base URL once connections are accepted. Raises `UsageError` as `Server` does.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, started, stop_at_eof))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(settings: SimulatorSettings, started: Callable[[str], None], stop_at_eof: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    if sys.platform != "win32":
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, stop.set)
    if stop_at_eof:
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    async with Server(settings) as server:
        started(server.url)
        await stop.wait()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Wait for the end of standard input: a pipe ends when its writer dies, however it dies.

    A thread with `os.read`, because not every loop can watch a pipe, and because `sys.stdin` holds a lock
    that a daemon thread must not hold when the interpreter exits.
    """
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # no standard input at all is an end as well
    try:
        loop.call_soon_threadsafe(stop.set)
    except RuntimeError:
        pass  # the loop is closed: the server has stopped already
