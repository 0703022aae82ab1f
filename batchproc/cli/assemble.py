"""The one place where a run is put together from its parts."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from batchproc.cli.closing import closing, finished_before
from batchproc.cli.descriptors import room_for
from batchproc.cli.firstlook import FIRST, look
from batchproc.cli.loops import first_of, loop_factory
from batchproc.cli.purse import Purse, cost_of
from batchproc.cli.trackers import capacity_maker
from batchproc.core.concurrency import MOST
from batchproc.core.modelqueue import Policy
from batchproc.core.scheduler import Scheduler
from batchproc.engine.feed import Earlier, Feed
from batchproc.engine.pool import Pool
from batchproc.engine.run import run
from batchproc.engine.shutdown import DRAIN_S, Signals
from batchproc.engine.watch import Watch
from batchproc.events import Note
from batchproc.model import Job, RawLine
from batchproc.providers.openai import OpenAI
from batchproc.settings import RunSettings
from batchproc.snapshot import Summary
from batchproc.store.input import Opened, open_input
from batchproc.store.jobs import JobParser
from batchproc.store.lines import read_lines
from batchproc.store.lock import HEARTBEAT_S, OutputLock
from batchproc.store.opening import OpenedStore, open_stdout, open_store
from batchproc.store.recover import answered_digests, has_lines
from batchproc.store.shelf import Shelf
from batchproc.tokens.output import LearntOutput
from batchproc.tokens.weigh import Weigher
from batchproc.ui.progress import Progress
from batchproc.wire.http import HttpTransport, proxy_for


class Run:
    """The parts of one run; `execute` does it.

    `base_url` gives the address requests go to once it is known: an embedded provider needs a moment to start.
    """

    def __init__(
        self,
        settings: RunSettings,
        *,
        key: str | None,
        headers: Mapping[str, str],
        secrets: Sequence[str],
        base_url: Callable[[], str],
        lock: OutputLock | None,
        start_over: Callable[[], None],
        progress: Progress,
        command: list[str],
    ) -> None:
        self._settings = settings
        self._key = key
        self._headers = dict(headers)
        self._secrets = secrets
        self._base_url = base_url
        self._lock = lock
        self._start_over = start_over
        self._progress = progress
        self._command = command
        self._purse = Purse(settings)
        self._weigher = Weigher(exact=settings.limits.tpm is not None or bool(self._purse.terms))
        self._beat_at = 0.0

    def execute(self) -> Summary:
        """Run to the end. Raises BatchprocError where it cannot begin, or the disk fails."""
        gc.set_threshold(100_000, 50, 50)  # few cycles are made: looking for them costs more than they do
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return runner.run(self._execute())
        except BaseExceptionGroup as group:
            raise first_of(group) from group

    async def _execute(self) -> Summary:
        settings = self._settings
        parser = JobParser(endpoint=settings.endpoint, model=settings.model, strip_v1=settings.base_url.endswith("/v1"))
        opened, lines, first = await self._begin(parser)
        try:
            store = await self._store(opened)
            if store.finished:
                for note in store.notes:
                    self._progress.event(Note(0.0, note))
                return finished_before(settings, store.store.totals, cost_of(store.store.totals, self._purse.book))
            if store.position.offset:
                await opened.blocks.close()
                opened = await open_input(settings.jobs, store.position.offset)
                lines = _continued(opened, store)
            elif lines is None:
                lines = read_lines(opened.blocks)
            return await self._run(store, opened, lines, parser, first)
        finally:
            await opened.blocks.close()

    async def _begin(self, parser: JobParser) -> tuple[Opened, AsyncIterator[list[RawLine]] | None, list[RawLine]]:
        """Open the input; where nothing was begun before, look at its first lines before anything is written."""
        settings = self._settings
        opened = await open_input(settings.jobs)
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
        look(first, parser)
        self._purse.first_look(first, parser, self._weigher)
        if settings.fresh:
            self._start_over()
        return opened, _chained(seen, lines), first

    async def _store(self, opened: Opened) -> OpenedStore:
        settings = self._settings
        if settings.output == "-":
            return await open_stdout()
        return await open_store(
            settings.output,
            settings.checkpoint,
            identity=settings.identity(),
            input_identity=opened.identity,
            accept_changes=settings.accept_changes,
        )

    async def _run(
        self,
        store: OpenedStore,
        opened: Opened,
        lines: AsyncIterator[list[RawLine]],
        parser: JobParser,
        first: list[RawLine],
    ) -> Summary:
        settings = self._settings
        loop = asyncio.get_running_loop()
        weigher = self._weigher
        await self._warm_up(weigher, parser, first)
        base_url = await asyncio.to_thread(self._base_url)
        provider = OpenAI(base_url, self._key, self._headers)
        transport = HttpTransport(
            url_for=provider.url,
            headers=provider.headers(),
            timeout_s=settings.timeout_s,
            proxy=proxy_for(base_url) if settings.provider != "simulated" else None,
            secrets=self._secrets,
        )
        scheduler = Scheduler(
            self._policy(),
            capacity_maker(settings.limits, store.sent, now=loop.time, wall=time.time()),
            lambda model: LearntOutput(),
            self._purse.budget(store),
        )
        wanted = settings.concurrency or MOST
        most = room_for(wanted)
        if most < wanted:
            store.notes.append(f"the limit of open files (ulimit -n) allows only {most} requests in flight")
        pool = Pool(
            scheduler,
            transport,
            provider,
            store.store,
            [self._progress.event],
            most=most,
            wall=time.time,
            random=random.Random(),  # noqa: S311 - jitter, nothing secret
            drain_s=settings.drain_s if settings.drain_s is not None else DRAIN_S,
        )
        earlier = Earlier(
            store.store.order.next_index,
            answered_digests(settings.output) if store.verify else None,
            store.digests,
            store.store.unanswered,
        )
        feed = Feed(
            lines,
            earlier,
            parser,
            weigher,
            store.store,
            scheduler,
            pool,
            limit=settings.limit,
            shelf=lambda: Shelf(opened.fd),
        )
        watch = Watch(scheduler, pool, feed, store.store, now=loop.time(), size=opened.size, limit=settings.limit)
        watch.cost = self._purse.cost_usd
        pool.observers.insert(0, watch.on)
        return await self._go(store, pool, feed, watch, transport, weigher)

    async def _go(
        self,
        store: OpenedStore,
        pool: Pool,
        feed: Feed,
        watch: Watch,
        transport: HttpTransport,
        weigher: Weigher,
    ) -> Summary:
        settings = self._settings
        loop = asyncio.get_running_loop()
        await transport.open()
        self._progress.start()

        def status() -> None:
            self._progress.status(watch.snapshot(loop.time()))

        try:
            for note in store.notes:
                self._progress.event(Note(loop.time(), note))
            with Signals(pool, settings.drain_s, status) as signals:
                ending = await run(
                    pool,
                    feed,
                    store.store,
                    tick=lambda: self._tick(watch),
                    stop_after_s=settings.stop_after_s,
                )
            if weigher.fallbacks:
                text = f"{weigher.fallbacks} bodies could not be counted exactly: bytes/4 stood in"
                self._progress.event(Note(loop.time(), text))
            last = watch.snapshot(loop.time())
            self._progress.update(last)
        finally:
            self._progress.stop()
            feed.close()
            await transport.close()
        return closing(
            settings,
            ending,
            watch,
            last,
            store.store.totals,
            now=loop.time(),
            signal_code=signals.exit_code,
            command=self._command,
            keyless=self._key is None,
            cost=self._purse.cost(),
        )

    def _tick(self, watch: Watch) -> None:
        now = asyncio.get_running_loop().time()
        self._progress.update(watch.snapshot(now))
        if self._lock is not None and now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            self._lock.beat()

    def _policy(self) -> Policy:
        s = self._settings
        return Policy(
            max_attempts=s.max_attempts,
            max_wait_s=s.max_wait_s,
            wait_for_daily=s.wait_for_daily,
            concurrency=s.concurrency,
            fail_over=s.fail_over,
        )

    @staticmethod
    async def _warm_up(weigher: Weigher, parser: JobParser, first: list[RawLine]) -> None:
        """Load the ranks for the first job's model while an embedded provider starts."""
        for raw in first[:1]:
            model = getattr(parser.parse(raw), "model", None)
            if model:
                await asyncio.to_thread(weigher.preload, model)


async def _chained(seen: list[list[RawLine]], rest: AsyncIterator[list[RawLine]]) -> AsyncIterator[list[RawLine]]:
    for batch in seen:
        yield batch
    async for batch in rest:
        yield batch


def _continued(opened: Opened, store: OpenedStore) -> AsyncIterator[list[RawLine]]:
    at = store.position
    return read_lines(opened.blocks, index=at.index, line=at.line, offset=at.offset)
