"""What the tests of the Python API share: small jobs, and what is left of a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from batchproc import Result
from batchproc.simulator.server import Server

MODEL = "gpt-4o-mini"


def job(n: int, **fields: Any) -> dict[str, Any]:
    """A small chat job."""
    return {"model": MODEL, "messages": [{"role": "user", "content": f"job {n}"}], "max_tokens": 16} | fields


def answer_to(n: int) -> str:
    """What the simulated provider says to `job(n)`."""
    return f"Simulated answer to: job {n}"


async def take(run: AsyncGenerator[Result, None], into: list[Result]) -> None:
    """Take all results of a run; what was taken is in `into` also where it raises."""
    async for result in run:
        into.append(result)  # noqa: PERF401 - a comprehension would lose them


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that no event tells of."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def at_rest(server: Server) -> None:
    """Wait until the server has noticed that nobody waits for it any more."""
    await until(lambda: not server.stats.in_flight)


def engine_tasks() -> list[str]:
    """The tasks of runs that are not over; the server's own, on the same loop, do not count."""
    found = []
    for task in asyncio.all_tasks():
        where = getattr(getattr(task.get_coro(), "cr_code", None), "co_filename", "")
        if "/batchproc/" in where and "/simulator/" not in where:
            found.append(repr(task))
    return found
