"""The event loop of a run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from batchproc.errors import BatchprocError, first_error
from batchproc.store.threads import FEW, Threads, can_start

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the fastest loop there is here; None for the standard one.

    The fastest ends the process, without a word, where it cannot start the threads that look up names.
    """
    if sys.platform == "win32" or not can_start(FEW):
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run_in_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in a new loop; of several errors, that of ours is raised. Raises UsageError without threads."""
    done: list[T] = []

    async def with_threads() -> None:
        asyncio.get_running_loop().set_default_executor(Threads(FEW, "batchproc"))
        done.append(await main())

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(with_threads())
    except BaseExceptionGroup as group:
        raise first_error(group) from group
    except RuntimeError as e:  # a loop ends its threads in one more, and there may be none to be had
        if isinstance(e.__context__, BatchprocError):
            raise e.__context__ from None
        if not done:
            raise
    return done[0]
