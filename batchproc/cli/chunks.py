"""Brings a job file, whole lines at a time, to the processes that look at them; the answers come in order."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor

from batchproc.cli.examine import How, examine, start_process
from batchproc.plan.survey import Chunk
from batchproc.store.lines import MAX_LINE, Blocks

_ALONE = 8  # chunks of about a megabyte looked at here, before other processes are worth their start
_MOST = 8  # processes


async def chunks_of(blocks: Blocks) -> AsyncIterator[bytes | None]:
    """The text in pieces that end with a line; None for a line that is too long to be kept."""
    carry: list[bytes] = []
    carried = 0
    passing = False  # over the rest of such a line
    while block := await blocks.read():
        if passing:
            at = block.find(b"\n") + 1
            if not at:
                continue
            block, passing = block[at:], False
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join([*carry, block[:end]])
            carry, carried = [], 0
        if end < len(block):
            carry.append(block[end:])
            carried += len(block) - end
        if carried > MAX_LINE:
            carry, carried, passing = [], 0, True
            yield None
    if carry:
        yield b"".join(carry)


async def examined(blocks: Blocks, how: How) -> AsyncIterator[tuple[Chunk, int]]:
    """Every chunk as it was found, and its size in bytes."""
    count = processes()
    loop = asyncio.get_running_loop()
    pool: ProcessPoolExecutor | None = None
    waiting: deque[tuple[asyncio.Future[Chunk], int]] = deque()
    seen = 0
    try:
        async for data in chunks_of(blocks):
            begins = not seen
            seen += 1
            if data is None:
                waiting.append((_ready(loop, too_long()), MAX_LINE))
            elif count < 2 or seen <= _ALONE:
                yield examine(data, how, begins=begins), len(data)
            else:
                pool = pool or _pool(count)
                waiting.append((loop.run_in_executor(pool, examine, data, how), len(data)))
            while len(waiting) > 2 * count or (waiting and waiting[0][0].done()):
                future, size = waiting.popleft()
                yield await future, size
        while waiting:
            future, size = waiting.popleft()
            yield await future, size
    finally:
        for future, _ in waiting:
            future.cancel()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def processes() -> int:
    """How many may work at once on this machine."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _MOST)


def too_long() -> Chunk:
    """The one line that is not kept."""
    return Chunk(1, 1, bad=[(0, 0, "invalid_job", f"the line is longer than {MAX_LINE >> 20} MiB")])


def _pool(count: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(count, mp_context=context, initializer=start_process)


def _ready(loop: asyncio.AbstractEventLoop, chunk: Chunk) -> asyncio.Future[Chunk]:
    future: asyncio.Future[Chunk] = loop.create_future()
    future.set_result(chunk)
    return future
