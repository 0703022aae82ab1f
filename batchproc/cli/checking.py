"""Carries out `batchproc check`: reads the file and what earlier runs left, and prints what was found."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from batchproc.building.firstlook import FIRST, look
from batchproc.building.purse import book_for
from batchproc.cli.chunks import examined
from batchproc.cli.examine import How
from batchproc.cli.stdout import write_document
from batchproc.forecast import Forecast
from batchproc.model import RawLine
from batchproc.plan.survey import Survey, assumed_output
from batchproc.providers.presets import drops_v1, preset_of
from batchproc.settings import RunSettings
from batchproc.store.input import open_input
from batchproc.store.lines import Blocks, line_of
from batchproc.store.recover import Recovered, has_lines, recover
from batchproc.ui.checkreport import bad_line, forecast_json, forecast_text
from batchproc.ui.console import Console, audience
from batchproc.ui.gauge import Gauge


class Asked(Struct, frozen=True):
    """What `check` was asked for: the settings of the run that is forecast; `output` is `-` where none can be there."""

    settings: RunSettings
    verbose: int
    no_color: bool
    as_json: bool


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
            console.line(text) if asked.as_json else write_document(text.encode() + b"\n")

    try:
        forecast = asyncio.run(_forecast(asked.settings, gauge, told))
    finally:
        gauge.clear()
    if asked.as_json:
        write_document(forecast_json(forecast))
    else:
        text = forecast_text(forecast, asked.settings.concurrency, colour)
        write_document(text.encode(errors="replace") + b"\n")
    return forecast.exit_code


async def _forecast(s: RunSettings, gauge: Gauge, told: Callable[[int, str, str], None]) -> Forecast:
    book = book_for(s.prices, s.base_url)
    had = await asyncio.to_thread(_earlier, s)
    notes = list(had.notes) if had is not None else []
    if s.output != "-" and has_lines(s.output) and (had is None or not had.ours):
        notes.append(f"`{s.output}` is there and was not made by such a run: `run` will not touch it")
        had = None
    salvaged = {r.index for r in had.salvaged} if had is not None else set()
    earlier = had.totals.models if had is not None else {}
    survey = Survey(
        assumed_output(s.assume_max_output, {m: (s.answers, s.output_tokens) for m, s in earlier.items()}),
        done=(lambda index: index in had.order or index in salvaged) if had is not None else None,
        limit=s.limit,
        told=told,
    )
    await _read(s, survey, gauge)
    ids, bodies = survey.repeats()
    return Forecast(
        file=s.jobs,
        lines=survey.lines,
        jobs=survey.jobs,
        bad=survey.bad,
        bad_lines=survey.bad_lines(),
        duplicate_ids=ids,
        duplicate_bodies=bodies,
        whole=survey.whole.part(s.limits_for, s.concurrency, book.of),
        remaining=survey.rest.part(s.limits_for, s.concurrency, book.of) if survey.rest is not None else None,
        succeeded=had.totals.succeeded if had is not None else 0,
        failed=had.totals.failed if had is not None else 0,
        output=s.output if had is not None else None,
        notes=tuple(notes),
        exit_code=3 if survey.bad else 0,
    )


def _earlier(s: RunSettings) -> Recovered | None:
    """What an earlier run left; only read."""
    if s.output == "-" or not (has_lines(s.checkpoint) or has_lines(s.output)):
        return None
    return recover(s.output, s.checkpoint)


async def _read(s: RunSettings, survey: Survey, gauge: Gauge) -> None:
    how = How(s.endpoint, s.model, drops_v1(s.provider, s.base_url), preset_of(s.provider, s.base_url).messages)
    opened = await open_input(s.jobs)
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
