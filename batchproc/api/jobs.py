"""Takes jobs from the user's iterable, as few as will do, and makes lines of them, as a job file has them.

A plain iterable is asked on the event loop, in small chunks (32 jobs or 5 ms, whichever is first, then everybody
else has a turn): one that blocks holds up the requests meanwhile. An async iterable is awaited.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping
from typing import Any

from batchproc.api.delivery import Delivery
from batchproc.core.decisions import Halt, HaltKind
from batchproc.engine.pool import Pool
from batchproc.model import BadJob, Job, RawLine
from batchproc.ports import Parser
from batchproc.store.lines import MAX_LINE, digest_of

_CHUNK = 32
_CHUNK_S = 0.005

JobsGiven = Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]


def check_iterable(jobs: object) -> None:
    """Raise TypeError for what is clearly not an iterable of jobs."""
    if isinstance(jobs, AsyncIterable) or (isinstance(jobs, Iterable) and not isinstance(jobs, str | bytes | Mapping)):
        return
    hint = ""
    if isinstance(jobs, str | bytes):
        hint = "; for a file of jobs: `run_jobs(map(json.loads, open(path)))`, or the command `batchproc run`"
    elif isinstance(jobs, Mapping):
        hint = "; for one job: `run_jobs([job])`"
    elif callable(jobs):
        hint = "; call the function that makes them"
    raise TypeError(f"`jobs` must be an iterable or async iterable of dicts, not {type(jobs).__name__}{hint}")


class Jobs:
    """Reads the iterable by `lines`, and understands its lines by `parse` (a `ports.Parser`).

    `error` is what the iterable raised, or a TypeError for an item that is no dict: nothing is sent after it. `passed`
    is called with each line after the engine has looked at it.
    """

    def __init__(self, jobs: JobsGiven, delivery: Delivery, parser: Parser, *, ahead: int) -> None:
        self.error: BaseException | None = None
        self.passed: Callable[[RawLine], None] | None = None
        self._given: Any = aiter(jobs) if isinstance(jobs, AsyncIterable) else iter(jobs)
        self._async = isinstance(jobs, AsyncIterable)
        self._delivery = delivery
        self._parser = parser
        self._ahead = ahead
        self._index = 0
        self._ended = False
        self._unfit: dict[int, tuple[str | None, str]] = {}  # jobs that are not JSON: custom_id, and why
        self._pool: Pool | None = None

    def attach(self, pool: Pool) -> None:
        """Read on whenever this pool wants jobs."""
        self._pool = pool
        self._delivery.room = pool.wants_jobs.set

    async def lines(self) -> AsyncGenerator[list[RawLine], None]:
        """The jobs as lines, a few at a time; after an error of the iterable it stops the run and never ends."""
        while True:
            await self._room()
            batch = await (self._one() if self._async else self._chunk())
            self._delivery.pulled += len(batch)
            if batch:
                yield batch
                for raw in batch if self.passed is not None else ():
                    self.passed(raw)  # type: ignore[misc]
            if self.error is not None:
                if self._pool is not None:
                    self._pool.halt(Halt(HaltKind.INPUT, "the iterable of jobs raised an error"))
                await asyncio.Event().wait()
            if self._ended:
                return

    def parse(self, raw: RawLine) -> Job | BadJob:
        """Understand a line."""
        unfit = self._unfit.pop(raw.index, None)
        if unfit is None:
            return self._parser.parse(raw)
        custom_id, why = unfit
        return BadJob(raw.index, raw.line, raw.digest, custom_id or f"request-{raw.index}", "invalid_json", why)

    async def close(self) -> None:
        """Close the iterable if it is a generator; a file or a cursor is its owner's."""
        if inspect.isasyncgen(self._given):
            await self._given.aclose()
        elif inspect.isgenerator(self._given):
            self._given.close()

    async def _room(self) -> None:
        """Wait until jobs are wanted: enough wait to be sent, or too many results wait to be taken."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("not attached to a pool")
        now = asyncio.get_running_loop().time
        while self._delivery.full or pool.scheduler.queued_in_open_models(now()) >= self._ahead:
            pool.wants_jobs.clear()
            await pool.wants_jobs.wait()

    async def _one(self) -> list[RawLine]:
        """One job of an async iterable: another may be long in coming."""
        try:
            return [self._line(await anext(self._given))]
        except StopAsyncIteration:
            self._ended = True
        except asyncio.CancelledError as e:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self.error = e
        except BaseException as e:
            self.error = e
        return []

    async def _chunk(self) -> list[RawLine]:
        """A few jobs of a plain iterable."""
        given: Iterator[Any] = self._given
        batch: list[RawLine] = []
        most = min(_CHUNK, self._delivery.left)
        until = time.perf_counter() + _CHUNK_S
        try:
            while len(batch) < most and (not batch or time.perf_counter() < until):
                batch.append(self._line(next(given)))
        except StopIteration:
            self._ended = True
        except BaseException as e:
            self.error = e
        return batch

    def _line(self, job: object) -> RawLine:
        """A job as a line. Raises TypeError where it is no dict."""
        index = self._index
        if not isinstance(job, Mapping):
            raise TypeError(f"job {index} is of type {type(job).__name__}, not a dict")
        self._index += 1
        try:
            data = json.dumps(job if isinstance(job, dict) else dict(job), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as e:
            custom_id = job.get("custom_id")
            why = "nested too deep" if isinstance(e, RecursionError) else f"not JSON: {e}"
            self._unfit[index] = (custom_id if isinstance(custom_id, str) else None, why)
            return RawLine(index, index + 1, index, b"", digest_of(why.encode()))
        digest = digest_of(data)
        if len(data) > MAX_LINE:
            return RawLine(index, index + 1, index, b"", digest, too_long=True)
        return RawLine(index, index + 1, index, data, digest)
