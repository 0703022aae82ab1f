"""The event loop of a run, and the one error that a group of them is about."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from batchproc.errors import BatchprocError


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Makes the event loop: uvloop's where there is one."""
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of ours in a group, else the group's first."""
    for error in group.exceptions:
        inner = first_of(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(inner, BatchprocError):
            return inner
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
