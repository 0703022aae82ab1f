"""Carries out `batchproc check`: reads the file and what earlier runs left, and prints what was found."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from batchproc.cli.begin import print_document
from batchproc.cli.chunks import examined
from batchproc.cli.examine import How
from batchproc.cli.firstlook import FIRST, look
from batchproc.cli.purse import book_for
from batchproc.forecast import Forecast
from batchproc.model import RawLine
from batchproc.plan.limits import Limits
from batchproc.plan.survey import Survey, assumed_output
from batchproc.store.input import open_input
from batchproc.store.lines import Blocks, line_of
from batchproc.store.recover import Recovered, has_lines, recover
from batchproc.ui.checkreport import bad_line, forecast_json, forecast_text
from batchproc.ui.console import Console, audience
from batchproc.ui.gauge import Gauge


class Asked(Struct, frozen=True):
    """The options of `check`. `output` is None where no earlier run can be looked for."""

    jobs: str
    output: str | None
    checkpoint: str
    limits: Limits
    base_url: str
    endpoint: str | None
    model: str | None
    prices: str | None
    assume_output: int | None
    limit: int | None
    verbose: int
    no_color: bool
    as_json: bool
    command: list[str]


def checking(asked: Asked) -> int:
    """Check; returns the exit code. Raises BatchprocError."""
    err = sys.stderr.isatty() if sys.stderr is not None else False
    console = Console(sys.stderr, audience(isatty=err, environ=os.environ, no_color=asked.no_color))
    terminal = sys.stdout is not None and sys.stdout.isatty()
    colour = audience(isatty=terminal, environ=os.environ, no_color=asked.no_color).colour
    gauge = Gauge(console, "checking")

    def told(line: int, code: str, message: str) -> None:
        if asked.verbose:
            gauge.clear()
            text = bad_line(line, code, message)
            console.line(text) if asked.as_json else print_document(text.encode() + b"\n")

    try:
        forecast = asyncio.run(_forecast(asked, gauge, told))
    finally:
        gauge.clear()
    if asked.as_json:
        print_document(forecast_json(forecast))
    else:
        print_document(forecast_text(forecast, asked.limits.concurrency, colour).encode(errors="replace") + b"\n")
    return forecast.exit_code


async def _forecast(asked: Asked, gauge: Gauge, told: Callable[[int, str, str], None]) -> Forecast:
    book = book_for(asked.prices, asked.base_url)
    had = await asyncio.to_thread(_earlier, asked)
    notes = list(had.notes) if had is not None else []
    if asked.output is not None and has_lines(asked.output) and (had is None or not had.ours):
        notes.append(f"`{asked.output}` is there and was not made by such a run: `run` will not touch it")
        had = None
    salvaged = {r.index for r in had.salvaged} if had is not None else set()
    earlier = had.totals.models if had is not None else {}
    survey = Survey(
        assumed_output(asked.assume_output, {m: (s.answers, s.output_tokens) for m, s in earlier.items()}),
        done=(lambda index: index in had.order or index in salvaged) if had is not None else None,
        limit=asked.limit,
        told=told,
    )
    await _read(asked, survey, gauge)
    ids, bodies = survey.repeats()
    return Forecast(
        file=asked.jobs,
        lines=survey.lines,
        jobs=survey.jobs,
        bad=survey.bad,
        bad_lines=survey.bad_lines(),
        duplicate_ids=ids,
        duplicate_bodies=bodies,
        whole=survey.whole.part(asked.limits, book.of),
        remaining=survey.rest.part(asked.limits, book.of) if survey.rest is not None else None,
        succeeded=had.totals.succeeded if had is not None else 0,
        failed=had.totals.failed if had is not None else 0,
        output=asked.output if had is not None else None,
        notes=tuple(notes),
        exit_code=3 if survey.bad else 0,
    )


def _earlier(asked: Asked) -> Recovered | None:
    """What an earlier run left; only read."""
    if asked.output is None or not (has_lines(asked.checkpoint) or has_lines(asked.output)):
        return None
    return recover(asked.output, asked.checkpoint)


async def _read(asked: Asked, survey: Survey, gauge: Gauge) -> None:
    how = How(asked.endpoint, asked.model, asked.base_url.endswith("/v1"))
    opened = await open_input(asked.jobs)
    first = _First(opened.blocks, how)
    read = 0
    try:
        async for chunk, size in examined(first, how):
            survey.add(chunk)
            read += size
            gauge.show(read, opened.size, survey.jobs, time.monotonic())
            if survey.full:
                break
    finally:
        await opened.blocks.close()


class _First:
    """A source whose first lines are looked at before anything else: is this a job file at all?"""

    def __init__(self, blocks: Blocks, how: How) -> None:
        self._blocks = blocks
        self._parser = how.parser()
        self._looked = False

    async def read(self) -> bytes:
        """The next bytes; the first ones are at least twenty lines, or all there are. Raises UsageError."""
        if self._looked:
            return await self._blocks.read()
        self._looked = True
        data = b""
        async for block in _blocks(self._blocks):
            data += block
            if data.count(b"\n") > FIRST or len(data) > _ENOUGH:
                break
        pieces = data.split(b"\n", 4 * FIRST)
        if len(pieces) > 4 * FIRST:
            pieces.pop()
        lines: list[RawLine] = []
        for n, piece in enumerate(pieces):
            raw = line_of(piece, n, n + 1, n)
            if raw is not None:
                lines.append(raw)
        look(lines, self._parser)
        return data

    async def close(self) -> None:
        """Whoever opened the source closes it."""


_ENOUGH = 4 << 20


async def _blocks(blocks: Blocks) -> AsyncIterator[bytes]:
    while block := await blocks.read():
        yield block
