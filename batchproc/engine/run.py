"""One run from its first line to its last: starts everything, waits, and puts everything away in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from batchproc.core.decisions import Halt, HaltKind
from batchproc.engine.feed import Feed
from batchproc.engine.pool import Pool
from batchproc.errors import BatchprocError, DiskFailed, UsageError
from batchproc.ports import Ledger

TICK_S = 0.2


class Ending(Struct, frozen=True):
    """How a run ended: complete, halted, or by an error of its own. `unsaved` answers could not be saved."""

    complete: bool
    halt: Halt | None
    error: BatchprocError | None = None
    unsaved: int = 0


async def run(
    pool: Pool,
    feed: Feed,
    ledger: Ledger,
    *,
    tick: Callable[[], None],
    stop_after_s: float | None = None,
    beside: Callable[[Pool], Coroutine[Any, Any, None]] | None = None,
    at_end: Callable[[Ending], None] = lambda ending: None,
) -> Ending:
    """Run to the end. Everything that was collected is written when this returns.

    `beside` runs as long as anything may be sent. `at_end` is called when nothing more is to come, before the ledger is
    closed.

    Where the disk fails, nothing is sent any more; what is in flight is awaited, and saved where there is room.
    """
    errors: list[BatchprocError] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_write(ledger, pool, errors))
        feeding = group.create_task(_feed(feed, pool, errors))
        others = [feeding, group.create_task(_ticking(tick))]
        if beside is not None:
            others.append(group.create_task(beside(pool)))
        if stop_after_s is not None:
            others.append(group.create_task(_later(stop_after_s, lambda: pool.halt(_time_is_up(stop_after_s)))))
        await pool.run()
        for task in others:
            task.cancel()
        halted = pool.scheduler.halted
        complete = feed.finished and not pool.scheduler.queued and not pool.scheduler.in_flight and not pool.left
        error = errors[0] if errors else None
        ending = Ending(complete and error is None, halted, error)
        at_end(ending)
        ledger.close(done=ending.complete and feed.ended)
    if errors:  # perhaps the very last write failed
        return Ending(False, pool.scheduler.halted, errors[0], ledger.unsaved)
    return ending


async def _write(ledger: Ledger, pool: Pool, errors: list[BatchprocError]) -> None:
    def failing(error: DiskFailed, may_save: bool) -> None:
        errors.insert(0, error)
        pool.halt(Halt(HaltKind.DISK, error.message, error.hint), None if may_save else 0.0)

    try:
        await ledger.run(failing)
    except DiskFailed as e:
        if e not in errors:
            errors.insert(0, e)


def _unreadable(error: OSError) -> UsageError:
    return UsageError(
        f"the input cannot be read on: {error.strerror or error}",
        "mend it, then run the same command again: what is answered is saved",
    )


async def _feed(feed: Feed, pool: Pool, errors: list[BatchprocError]) -> None:
    try:
        await feed.run()
    except (BatchprocError, OSError) as e:
        error = e if isinstance(e, BatchprocError) else _unreadable(e)
        if isinstance(error, UsageError) and feed.line:
            error = UsageError(f"{error.message} (after line {feed.line:,}, job {feed.read - 1:,})", error.hint)
        errors.append(error)
        pool.halt(Halt(HaltKind.INPUT, error.message, error.hint))


async def _ticking(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await asyncio.sleep(TICK_S)


async def _later(seconds: float, call: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    call()


def _time_is_up(seconds: float) -> Halt:
    return Halt(
        HaltKind.STOP_AFTER,
        f"the time of --stop-after is up ({seconds:g} s)",
        "run the same command again: it goes on where it stopped",
    )
