"""Take over an output whose checkpoint is gone, if each of its lines is a result of the input's job at its place.

What is found makes a new checkpoint: header, and a mark that says where things stand. Everything after that is an
ordinary resume. Nothing is written before every line has been looked at, and the checkpoint appears whole or not.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping

import msgspec
from msgspec import Raw, Struct

from batchproc import jsontext
from batchproc.errors import ForeignOutput
from batchproc.model import BadJob, Job, Position, RawLine
from batchproc.ports import Parser
from batchproc.resultline import read_line
from batchproc.store.checkpoint import Header, Mark, header_records, mark_record
from batchproc.store.files import disk_failed, sync_folder
from batchproc.store.input import open_input
from batchproc.store.lines import read_lines
from batchproc.store.reading import lines_of
from batchproc.store.recover import is_torn
from batchproc.store.totals import Totals

SUFFIX = ".adopt"
_HINT = "nothing was changed; name the input it was made from, or choose another output with `-o`"


class _Response(Struct):
    status_code: int
    body: Raw


class _Shape(Struct):
    custom_id: str
    response: _Response | None
    error: dict[str, str] | None
    attempts: int


_SHAPE = msgspec.json.Decoder(_Shape)


async def adopt(output: str, checkpoint: str, jobs: str, parser: Parser, identity: Mapping[str, str | None]) -> int:
    """Make a checkpoint for an output that has none; returns how many lines it has. The caller holds the lock.

    Raises ForeignOutput naming the first line that does not fit, UsageError, DiskFailed.
    """
    opened = await open_input(jobs)
    inputs = _each(read_lines(opened.blocks))
    totals, position = Totals(), Position(0, 1, 0)
    index = size = 0
    rest: list[bytes] = []
    try:
        for offset, line in lines_of(output, 0, rest):
            raw = await anext(inputs, None)
            _check(output, line, index, raw, parser, totals)
            position = Position(index, raw.line, raw.offset) if raw is not None else position
            index, size = index + 1, offset + len(line) + 1
        for line in rest:  # a run that was killed leaves a torn line, which is cut when the run goes on
            if not is_torn(line) or read_line(line) is not None:
                _check(output, line, index, await anext(inputs, None), parser, Totals())
    except OSError as e:
        disk_failed("reading", output, e)
    finally:
        await opened.blocks.close()
    mark = Mark(time.time(), index, size, position, totals, opened.identity, since=index, saved=totals)
    _write(checkpoint, header_records(Header(dict(identity))) + mark_record(mark))
    return index


async def _each(batches: AsyncIterator[list[RawLine]]) -> AsyncIterator[RawLine]:
    async for batch in batches:
        for raw in batch:
            yield raw


def _check(output: str, line: bytes, index: int, raw: RawLine | None, parser: Parser, totals: Totals) -> None:
    """Count a line that fits. Raises ForeignOutput for one that does not."""
    job = parser.parse(raw) if raw is not None else None
    why = f"the input has only {index} jobs" if raw is None or job is None else _misfit(line, index, raw, job)
    seen = read_line(line)
    if why or seen is None or raw is None:
        raise ForeignOutput(f"line {index + 1} of `{output}` is not the result of job {index}: {why}", _HINT)
    totals.add(seen.code, seen.usage, raw.line, seen.message, job.model if isinstance(job, Job) else seen.model)


def _misfit(line: bytes, index: int, raw: RawLine, job: Job | BadJob) -> str:
    """Why a line is not the result of a job; empty if it is."""
    seen = read_line(line)
    if seen is None:
        return "it is no result line"
    if seen.index != index:
        return f"its index is {seen.index}"
    try:
        shape = jsontext.decode(line, _SHAPE)
    except jsontext.NotJson as e:
        return f"it is no result line: {e}"
    if shape.custom_id != job.custom_id:
        return f"its custom_id is `{shape.custom_id}`, that of the job `{job.custom_id}`"
    if seen.digest is None:
        return "its id was not made by batchproc"
    if seen.digest != raw.digest:
        return f"line {raw.line} of the input reads differently now"
    if shape.error is None and shape.response is None:
        return "it has neither an answer nor an error"
    return ""


def _write(checkpoint: str, data: bytes) -> None:
    try:
        with open(checkpoint + SUFFIX, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(checkpoint + SUFFIX, checkpoint)
    except OSError as e:
        disk_failed("writing", checkpoint, e)
    sync_folder(checkpoint)
