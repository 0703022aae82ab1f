"""One run from Python: the engine works in a task of its own, results are taken from its delivery."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any

from batchproc.api.delivery import Delivery
from batchproc.api.files import WithFiles
from batchproc.api.jobs import Jobs, JobsGiven
from batchproc.api.ledger import NoFiles
from batchproc.api.log import log
from batchproc.api.result import Result
from batchproc.api.wording import reworded, stopped_by
from batchproc.building.embedded import embedded
from batchproc.building.parts import Access, Parts, Source, build, parser_for
from batchproc.building.purse import Purse
from batchproc.core.budget import Budget
from batchproc.core.decisions import Halt, HaltKind
from batchproc.engine.feed import Earlier
from batchproc.engine.run import Ending, run
from batchproc.errors import BatchprocError, first_error
from batchproc.events import Note
from batchproc.model import RawLine
from batchproc.ports import Ledger
from batchproc.settings import RunSettings
from batchproc.store.shelf import Shelf
from batchproc.tokens.weigh import Weigher


class Session:
    """`ahead` jobs may wait to be sent, `look_ahead` may be on their way altogether."""

    def __init__(
        self, jobs: JobsGiven, settings: RunSettings, access: Access, *, ordered: bool, look_ahead: int, ahead: int
    ) -> None:
        self._settings = settings
        self._access = access
        self._purse = Purse(settings)
        self._delivery = Delivery(ordered=ordered, look_ahead=look_ahead)
        self._jobs = Jobs(jobs, self._delivery, parser_for(settings), ahead=ahead)
        exact = settings.limits_tokens or bool(self._purse.terms)
        self._weigher = Weigher(exact, first_most=settings.least_tokens_a_second)
        self._parts: Parts | None = None
        self._lines: AsyncGenerator[list[RawLine], None]

    async def results(self) -> AsyncGenerator[Result, None]:
        """Run, and yield what comes of it."""
        engine = asyncio.create_task(self._run(), name="batchproc")
        try:
            while (result := await self._delivery.next()) is not None:
                yield result
            await asyncio.wait([engine])
        finally:
            await self._stop(engine)
        if self._jobs.error is not None:
            raise self._jobs.error
        try:
            ending = engine.result()
        except BatchprocError as e:
            raise reworded(e) from e.__cause__
        if ending.error is not None:
            raise reworded(ending.error)
        if ending.halt is not None and not ending.complete:
            raise stopped_by(ending.halt)

    async def _stop(self, engine: asyncio.Task[Ending]) -> None:
        """Where the results are not wanted any more: send nothing, and leave nothing behind.

        What is in flight is awaited where there are files that keep it, else cut off: nobody would see it.
        """
        if not engine.done():
            await self._wind_up(engine)
        if not engine.cancelled():
            engine.exception()  # asked for, so that nobody is told of it who cannot do anything

    async def _wind_up(self, engine: asyncio.Task[Ending]) -> None:
        if self._parts is None:
            engine.cancel()
        else:
            drain_s = self._settings.drain_s if self._settings.output != "-" else 0.0
            self._parts.pool.halt(Halt(HaltKind.INTERRUPTED, "the results were not taken to their end"), drain_s)
        while not engine.done():
            try:
                await asyncio.wait([engine])
            except asyncio.CancelledError:
                if self._parts is None:
                    engine.cancel()
                else:
                    self._parts.pool.cut()
                await asyncio.wait([engine])
                raise

    async def _run(self) -> Ending:
        simulated = embedded(self._settings)
        try:
            if simulated is not None:
                simulated.spawn()
                base_url = await asyncio.to_thread(simulated.wait_url)
            else:
                base_url = self._settings.base_url
            return await self._with_ledger(base_url)
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        finally:
            try:
                if simulated is not None:
                    await asyncio.to_thread(simulated.stop)
                await self._jobs.close()
            finally:
                self._delivery.end()

    async def _with_ledger(self, base_url: str) -> Ending:
        settings = self._settings
        if settings.output == "-":
            nothing = NoFiles(self._delivery)
            parts = self._build(base_url, nothing, self._purse.budget(nothing), Earlier(0, None, {}, {}))
            return await self._go(parts, nothing)
        files = await WithFiles.open(settings, self._delivery)
        try:
            opened = files.opened
            for note in opened.notes:
                log(Note(0.0, note))
            budget = self._purse.budget(files.store, before=opened.before, killed=opened.killed)
            self._jobs.passed = files.passed
            parts = self._build(
                base_url, files, budget, files.earlier, sent=opened.sent, shelf=functools.partial(Shelf, None)
            )
            files.watch(parts)
            return await self._go(parts, files, files.tick, files.ends)
        finally:
            await files.release()

    def _build(self, base_url: str, ledger: Ledger, budget: Budget, earlier: Earlier, **others: Any) -> Parts:
        self._lines = self._jobs.lines()
        source = Source(self._lines, earlier, self._jobs, self._weigher, others.pop("shelf", None))
        parts = build(
            self._settings,
            self._access,
            base_url,
            source,
            ledger,
            budget,
            observers=[log],
            raise_limits=False,
            **others,
        )
        if parts.note:
            log(Note(0.0, parts.note))
        self._jobs.attach(parts.pool)
        return parts

    async def _go(
        self,
        parts: Parts,
        ledger: Ledger,
        tick: Callable[[], None] = lambda: None,
        at_end: Callable[[Ending], None] = lambda ending: None,
    ) -> Ending:
        self._parts = parts
        await parts.transport.open()
        try:
            return await run(
                parts.pool,
                parts.feed,
                ledger,
                tick=tick,
                stop_after_s=self._settings.stop_after_s,
                at_end=at_end,
            )
        finally:
            parts.feed.close()
            await self._lines.aclose()
            await parts.transport.close()
