"""A run of the command: its files, its display, its signals around what sends."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
from collections.abc import AsyncIterator, Callable

from batchproc.building.connect import credential_of
from batchproc.building.firstlook import FIRST, chained, look, warm_up
from batchproc.building.parts import Access, Parts, Source, build, parser_for
from batchproc.building.purse import Purse, cost_of
from batchproc.building.trackers import Shared, shared
from batchproc.cli.closing import closing, finished_before
from batchproc.cli.loop import run_in_loop
from batchproc.cli.telling import Teller
from batchproc.cli.ticking import Ticking
from batchproc.engine.feed import Earlier
from batchproc.engine.run import Ending, run
from batchproc.engine.shutdown import Signals
from batchproc.engine.watch import Watch
from batchproc.events import Note
from batchproc.model import Job, RawLine
from batchproc.ports import Parser
from batchproc.settings import RunSettings
from batchproc.snapshot import Summary
from batchproc.store.input import Opened, open_input
from batchproc.store.lines import read_lines
from batchproc.store.lock import OutputLock
from batchproc.store.opening import OpenedStore, open_stdout, open_store
from batchproc.store.recover import answered_digests, has_lines
from batchproc.store.shelf import Shelf
from batchproc.tokens.weigh import Weigher
from batchproc.ui.progress import Progress


class Run:
    """The parts of one run; `execute` does it.

    `base_url` gives the address requests go to once it is known: an embedded provider needs a moment to start.
    """

    sends = True  # requests go out: an embedded provider is needed where it is asked for

    def __init__(
        self,
        settings: RunSettings,
        *,
        access: Access,
        base_url: Callable[[], str],
        lock: OutputLock | None,
        start_over: Callable[[], None],
        progress: Progress,
        command: list[str],
    ) -> None:
        self._settings = settings
        self._access = access
        self._base_url = base_url
        self._lock = lock
        self._start_over = start_over
        self._progress = progress
        self._command = command
        self._purse = Purse(settings)
        exact = settings.limits_tokens or bool(self._purse.terms)
        self._weigher = Weigher(exact, first_most=settings.least_tokens_a_second)
        self._shared: Shared | None = None  # the limits, where other runs use them too

    def execute(self) -> Summary:
        """Run to the end. Raises BatchprocError where it cannot begin, or the disk fails."""
        gc.set_threshold(100_000, 50, 50)  # few cycles are made: looking for them costs more than they do
        return run_in_loop(self._execute)

    async def _execute(self) -> Summary:
        settings = self._settings
        if settings.quota is not None:
            access = self._access
            credential = credential_of(access.key, access.headers, access.secrets)
            self._shared = await shared(settings, credential)
        parser = self._parser()
        opened, lines, first = await self._begin(parser)
        try:
            store = await self._store(opened)
            if store.finished:
                for note in store.notes:
                    self._progress.event(Note(0.0, note))
                cost = cost_of(store.store.totals, self._purse.book)
                return finished_before(settings, store.store.totals, self._command, cost)
            if store.position.offset:
                await opened.blocks.close()
                opened = await open_input(settings.jobs, store.position.offset, settings.part)
                lines = _continued(opened, store)
            elif lines is None:
                lines = read_lines(opened.blocks)
            return await self._run(store, opened, lines, parser, first)
        finally:
            await opened.blocks.close()

    # --- what a retry and a finish do in another way ---------------------------------------------------------

    def _parser(self) -> Parser:
        return parser_for(self._settings)

    def _identity(self) -> dict[str, str | None]:
        return self._settings.identity()

    def _earlier(self, store: OpenedStore) -> Earlier:
        written = answered_digests(self._settings.output) if store.verify else None
        return Earlier(store.store.order.next_index, written, store.digests, store.store.unanswered)

    def _total(self) -> int | None:
        """How many jobs there are, where that is known before they are read."""

    async def _after(self, ending: Ending) -> None:
        """What is left to do when everything is written."""

    def _words(self, summary: Summary, ending: Ending) -> Summary:
        """The last words, from those of a run."""
        return summary

    # --- the run ---------------------------------------------------------------------------------------------

    async def _begin(self, parser: Parser) -> tuple[Opened, AsyncIterator[list[RawLine]] | None, list[RawLine]]:
        """Open the input; where nothing was begun before, look at its first lines before anything is written."""
        settings = self._settings
        opened = await open_input(settings.jobs, part=settings.part)
        begun = settings.output != "-" and (os.path.exists(settings.checkpoint) or has_lines(settings.output))
        if begun and not settings.fresh:
            return opened, None, []
        lines = read_lines(opened.blocks)
        seen: list[list[RawLine]] = []
        first: list[RawLine] = []
        async for batch in lines:
            seen.append(batch)
            first = (first + batch)[:FIRST]
            if len(first) == FIRST or any(isinstance(parser.parse(raw), Job) for raw in batch[:FIRST]):
                break
        if settings.part is None:  # else the head of the file was looked at when it was cut
            look(first, parser)
        self._purse.first_look(first, parser, self._weigher)
        if settings.fresh:
            self._start_over()
        return opened, chained(seen, lines), first

    async def _store(self, opened: Opened) -> OpenedStore:
        settings = self._settings
        if settings.output == "-":
            return await open_stdout()
        return await open_store(
            settings.output,
            settings.checkpoint,
            identity=self._identity(),
            input_identity=opened.identity,
            accept_changes=settings.accept_changes,
        )

    async def _run(
        self,
        store: OpenedStore,
        opened: Opened,
        lines: AsyncIterator[list[RawLine]],
        parser: Parser,
        first: list[RawLine],
    ) -> Summary:
        settings = self._settings
        loop = asyncio.get_running_loop()
        weigher = self._weigher
        await warm_up(weigher, parser, first, settings.provider)
        base_url = await asyncio.to_thread(self._base_url)
        tell = self._progress.event
        shelf = functools.partial(Shelf, opened.fd, opened.start)
        budget = self._purse.budget(store.store, before=store.before, killed=store.killed)
        parts = build(
            settings,
            self._access,
            base_url,
            Source(lines, self._earlier(store), parser, weigher, shelf),
            store.store,
            budget,
            sent=store.sent,
            observers=[tell],
            shared=self._shared,
        )
        if parts.note:
            store.notes.append(parts.note)
        watch = Watch(
            parts.scheduler,
            parts.pool,
            parts.feed,
            store.store,
            now=loop.time(),
            size=opened.size,
            limit=settings.limit,
            total=self._total(),
            tell=tell,
        )
        watch.cost = self._purse.cost_usd
        parts.pool.observers.insert(0, watch.on)
        return await self._go(store, parts, watch)

    async def _go(self, store: OpenedStore, parts: Parts, watch: Watch) -> Summary:
        settings, weigher = self._settings, self._weigher
        loop = asyncio.get_running_loop()
        await parts.transport.open()
        self._progress.start()

        def status() -> None:
            self._progress.status(watch.snapshot(loop.time()))

        try:
            for note in store.notes:
                self._progress.event(Note(loop.time(), note))
            teller = Teller(store.store, watch.recorder, settings, self._command)
            ticking = Ticking(watch, teller, self._progress, self._lock)
            with Signals(parts.pool, settings.drain_s, status) as signals:
                ending = await run(
                    parts.pool,
                    parts.feed,
                    store.store,
                    tick=ticking.tick,
                    at_end=lambda ending: ticking.ends(ending, signals.exit_code),
                    stop_after_s=settings.stop_after_s,
                    beside=self._shared.leasing if self._shared is not None else None,
                )
            if weigher.fallbacks:
                text = f"{weigher.fallbacks} bodies could not be counted exactly: bytes/4 stood in"
                self._progress.event(Note(loop.time(), text))
            await self._after(ending)
            last = watch.snapshot(loop.time())
            self._progress.update(last)
        finally:
            self._progress.stop()
            parts.feed.close()
            await parts.transport.close()
        summary = closing(
            settings,
            ending,
            watch,
            last,
            store.store.totals,
            now=loop.time(),
            signal_code=signals.exit_code,
            command=self._command,
            keyless=self._access.key is None,
            cost=self._purse.cost(),
        )
        return self._words(summary, ending)


def _continued(opened: Opened, store: OpenedStore) -> AsyncIterator[list[RawLine]]:
    at = store.position
    return read_lines(opened.blocks, index=at.index, line=at.line, offset=at.offset)
