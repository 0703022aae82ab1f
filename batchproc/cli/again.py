"""A retry: a run of the failed lines of a finished output, whose results take their places at the end."""

from __future__ import annotations

import asyncio

from msgspec import structs

from batchproc.cli.assemble import Run
from batchproc.cli.closing import done_before
from batchproc.cli.known import quoted
from batchproc.core.chosen import Attempts
from batchproc.engine.again import Again
from batchproc.engine.feed import Earlier
from batchproc.engine.run import Ending
from batchproc.snapshot import Summary
from batchproc.store.input import Opened, open_input
from batchproc.store.lines import read_lines
from batchproc.store.lock import HEARTBEAT_S
from batchproc.store.look import look
from batchproc.store.opening import OpenedStore
from batchproc.store.retrying import OpenedRetry, open_retry
from batchproc.store.rewrite import rewrite
from batchproc.store.shelf import Shelf
from batchproc.store.totals import Totals

_UNTOUCHED = "the output is as it was until the retry is through; what was answered is in the checkpoint"


class Retry(Run):
    """See the module's text."""

    _retry: OpenedRetry
    _again: Again
    _input: Opened
    _totals: Totals | None = None  # of the new output

    async def _execute(self) -> Summary:
        settings = self._settings
        opened = await open_input(settings.jobs)
        try:
            retry = await open_retry(
                settings.output,
                settings.checkpoint,
                identity=self._identity(),
                input_identity=opened.identity,
                only=settings.only,
                accept_changes=settings.accept_changes,
            )
            if retry is None:
                return self._nothing()
            self._retry, self._input = retry, opened
            lines = read_lines(opened.blocks)
            digests = retry.opened.digests
            self._again = Again(lines, retry.chosen, retry.written, digests, lambda: Shelf(opened.fd))
            return await self._run(retry.opened, opened, self._again.read(), self._parser(), [])
        finally:
            await opened.blocks.close()

    def _earlier(self, store: OpenedStore) -> Earlier:
        return Earlier(-1, None, store.digests, Attempts(self._retry.chosen, store.store.unanswered))

    def _total(self) -> int | None:
        return self._retry.chosen.count

    async def _after(self, ending: Ending) -> None:
        if not ending.complete:
            return
        retry, again, settings = self._retry, self._again, self._settings
        work = asyncio.to_thread(
            rewrite,
            settings.output,
            settings.checkpoint,
            retry.opened.store.order,
            retry.chosen,
            before=retry.store.mark(),
            identity=self._input.identity,
            position=again.position,
            longer=again.longer,
        )
        writing = asyncio.ensure_future(work)
        while not (await asyncio.wait([writing], timeout=HEARTBEAT_S))[0]:
            if self._lock is not None:
                self._lock.beat()
        self._totals = writing.result()

    def _words(self, summary: Summary, ending: Ending) -> Summary:
        if self._totals is None:
            return structs.replace(summary, hint=summary.hint or _UNTOUCHED)
        jobs, now, still = self._retry.chosen.count, summary.succeeded, summary.failed
        verdict = f"{now:,} of {jobs:,} failed lines are answered now, {still:,} still fail"
        others = self._totals.failed - still
        if others:
            verdict += f"; {others:,} others were left as they are"
        code = summary.exit_code if summary.exit_code not in (0, 3) else 3 if self._totals.failed else 0
        following = summary.next_command
        if not still:  # what is left needs other codes, if anything
            following = f"batchproc retry {quoted(self._settings.output)}" if others else None
        return structs.replace(summary, verdict=verdict, exit_code=code, next_command=following)

    def _nothing(self) -> Summary:
        settings = self._settings
        summary = done_before(look(settings.output, settings.checkpoint))
        codes = " or ".join(f"`{code}`" for code in settings.only)
        why = f"nothing to do: no line failed with {codes}" if codes else "nothing to do: no line failed"
        return structs.replace(summary, verdict=why)
