"""The event loop of a run, and the error that ended one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from batchproc.errors import BatchprocError


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the fastest loop there is here; None for the standard one."""
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of ours in a group, else the group's first."""
    for error in group.exceptions:
        inner = first_error(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(inner, BatchprocError):
            return inner
    first = group.exceptions[0]
    return first_error(first) if isinstance(first, BaseExceptionGroup) else first
