"""Put the parts of a run in shards together: one output in the order of the jobs, and a checkpoint beside it.

    1  copy    OUTPUT.merging: each line with its index in the whole file; fsync
    2  note    OUTPUT.ckpt.merging: header, mark, and results that wait for a missing one; fsync
    3  rename  the checkpoint, then the output; fsync the folder
    4  note    OUTPUT.parts/merged.json

After that OUTPUT is what one process would have made: `status`, `retry` and `run` know no difference. A shard counts
its jobs from 0: what an output line says of its index, of a name made of it, and of the physical line of the input, is
mended here, while the input is read beside the parts. So every line is also compared with the line that it answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct, field

from batchproc.errors import FilesDoNotFit, InputChanged
from batchproc.model import Position, RawLine, Result
from batchproc.resultline import renumbered
from batchproc.store.attempts import Attempt
from batchproc.store.checkpoint import (
    Header,
    Mark,
    Sent,
    Told,
    header_records,
    mark_record,
    result_record,
    sent_record,
    told_record,
)
from batchproc.store.files import disk_failed, sync_folder
from batchproc.store.growing import Growing
from batchproc.store.input import identity_of, open_input
from batchproc.store.jobs import JobParser
from batchproc.store.lines import read_lines
from batchproc.store.parts import MERGED, Manifest, folder_of
from batchproc.store.reading import whole_lines
from batchproc.store.scan import read_marks, sent_records
from batchproc.store.sending import RecentlySent
from batchproc.store.sources import Found, Source
from batchproc.store.sums import SUMMED_BYTES
from batchproc.store.totals import Totals

SUFFIX = ".merging"


class Together(Struct):
    """What came together. `written`, `waiting`: the totals of the lines of the output, and of results behind a missing
    one.
    """

    written: Totals = field(default_factory=Totals)
    waiting: Totals = field(default_factory=Totals)
    missing: int = 0
    paid_twice: int = 0
    last: Position = Position(0, 1, 0)  # of the last line of the output

    def count_part(self, totals: Totals | None) -> None:
        """Count what the answers of a whole part used, and what was lost in it."""
        if totals is not None:
            kept = self.waiting if self.missing else self.written
            kept.input_tokens += totals.input_tokens
            kept.output_tokens += totals.output_tokens
            kept.merge_spent(totals)

    @property
    def totals(self) -> Totals:
        """Of all results."""
        totals = self.written.copy()
        totals.merge(self.waiting)
        return totals


async def merge(
    output: str,
    manifest: Manifest,
    jobs: str,
    attempts: dict[int, list[Attempt]],
    *,
    command: str,
    folder: str,
    tick: Callable[[], None] = lambda: None,
    until_done: Callable[[int], Awaitable[None]] | None = None,
) -> Together:
    """Make the output from what the attempts have answered; the caller holds its lock, and has looked what there is.

    `jobs` is the job file that was cut; `command` is what goes on with the run when typed in `folder`, for `status`;
    `tick` is called now and then. `until_done` waits for a shard that is still at work, and puts its attempts into
    `attempts`. Raises InputChanged, FilesDoNotFit, UsageError, DiskFailed. What it has not put into place is removed.
    """
    size = os.path.getsize(jobs)
    if size < manifest.size:
        raise InputChanged(
            f"the job file `{jobs}` had {manifest.size:,} bytes when it was cut into shards, and has {size:,}",
            "put the old one back, or say with `--jobs FILE` where it is now",
        )
    out, ckpt = Growing(output + SUFFIX), Growing(output + ".ckpt" + SUFFIX)
    try:
        out.begin()
        ckpt.begin()
        now = time.time()
        ckpt.add(header_records(Header(manifest.identity)))
        ckpt.add(told_record(Told(now, "run", os.path.abspath(jobs), folder, command)))
        together = await _copied(manifest, jobs, attempts, out, ckpt, tick, until_done)
        ckpt.add(b"".join(map(sent_record, _sent_lately(attempts, time.time()))))
        _count_what_was_lost(together, attempts)
        out.end()
        done = not together.missing and size == manifest.size
        ckpt.add(mark_record(_mark(together, out, jobs, done)))
        ckpt.add(told_record(Told(now, "merged", lines=out.lines)))
        ckpt.add(told_record(Told(now, "stop", why="merged from shards", code=_code(together, done))))
        ckpt.end()
        os.replace(ckpt.path, output + ".ckpt")
        os.replace(out.path, output)
    except OSError as e:
        disk_failed("writing", out.path, e)
    finally:
        out.remove()
        ckpt.remove()
    sync_folder(output)
    note_merged(output)
    return together


def note_merged(output: str) -> None:
    """Note among the parts that they were put together. Raises DiskFailed."""
    path = os.path.join(folder_of(output), MERGED)
    try:
        with open(path, "wb") as f:
            f.write(msgspec.json.encode({"at": time.time()}) + b"\n")
            os.fsync(f.fileno())
    except OSError as e:
        disk_failed("writing", path, e)
    sync_folder(path)


def merged_here(output: str) -> bool:
    """Whether the checkpoint says that the output was put together from shards. Raises OSError."""
    path = output + ".ckpt"
    return os.path.exists(path) and "merged" in read_marks(path, sums=False).told


async def _copied(
    manifest: Manifest,
    jobs: str,
    attempts: dict[int, list[Attempt]],
    out: Growing,
    ckpt: Growing,
    tick: Callable[[], None],
    until_done: Callable[[int], Awaitable[None]] | None,
) -> Together:
    """Read the input beside the parts, and copy what answers it."""
    together = Together()
    parser = JobParser(endpoint=None, model=None, strip_v1=True)
    opened = await open_input(jobs, part=(0, manifest.size))
    shard, base = -1, 0
    source = Source([])
    try:
        async for batch in read_lines(opened.blocks):
            for raw in batch:
                if shard < 0 or raw.offset >= manifest.cuts[shard + 1]:
                    shard, base = _shard_at(manifest, raw.offset, shard), raw.index
                    source.close()
                    if until_done is not None:
                        await until_done(shard)
                    source = Source(attempts.get(shard, []))
                    together.count_part(source.totals)
                found = source.take(raw.index - base, raw)
                if found is None:
                    together.missing += 1
                    continue
                result = _result(raw, found, parser)
                if together.missing:
                    ckpt.add(result_record(result))
                    _count(together.waiting, result, found, together, source.totals is None)
                else:
                    out.add(result.line)
                    together.last = Position(raw.index, raw.line, raw.offset)
                    _count(together.written, result, found, together, source.totals is None)
            tick()
    finally:
        source.close()
        await opened.blocks.close()
    return together


def _shard_at(manifest: Manifest, offset: int, shard: int) -> int:
    shard = max(0, shard)
    while offset >= manifest.cuts[shard + 1]:
        shard += 1
    return shard


def _result(raw: RawLine, found: Found, parser: JobParser) -> Result:
    """The result of a job at its index in the whole file."""
    seen = found.seen
    try:
        line = renumbered(found.line, raw.index, raw.digest, raw.line, lambda: _name_of(raw, parser))
    except ValueError:
        raise FilesDoNotFit(
            f"the result of job {raw.index} (line {raw.line} of the input) does not read as batchproc writes it",
            "put back the part as it was; or remove it, and run its shard again: its jobs are asked again then",
        ) from None
    before, colon, message = seen.message.partition(": ")
    if not colon or not before.startswith("line ") or not before[5:].isdigit():
        message = seen.message
    return Result(raw.index, raw.digest, line + b"\n", seen.code, raw.line, message, seen.usage, seen.model)


def _name_of(raw: RawLine, parser: JobParser) -> str:
    """The job's name: its own, or one made of its index."""
    if b'"custom_id"' not in raw.data and b"\\u" not in raw.data:  # it has none, however it might be spelt
        return f"request-{raw.index}"
    return parser.parse(raw).custom_id


def _count(totals: Totals, r: Result, found: Found, together: Together, all_of_it: bool) -> None:
    """Count a result; of an answer perhaps not its tokens, which are counted already."""
    if r.code is None and not all_of_it:
        totals.succeeded += 1
        return
    totals.add(r.code, r.usage, r.input_line, r.message, r.model)
    for again in found.again:
        together.paid_twice += 1
        totals.lose(again.model, again.usage.input_tokens, again.usage.output_tokens)


def _sent_lately(attempts: dict[int, list[Attempt]], now: float) -> list[Sent]:
    """What was sent within the last day still counts against the limits; requests that are noted twice count once."""
    groups: set[tuple[float, str, int, int]] = set()
    for attempt in (a for group in attempts.values() for a in group):
        recent = RecentlySent()
        for block in whole_lines(attempt.checkpoint):
            for sent in sent_records(block):
                recent.add(sent)
        groups.update((s.at, s.model, s.requests, s.tokens) for s in recent.groups(now))
    return [Sent(*group, jobs=[]) for group in sorted(groups)]


def _count_what_was_lost(together: Together, attempts: dict[int, list[Attempt]]) -> None:
    """Models get the names that the jobs use for them; attempts without an answer may have been billed."""
    known: set[str] = set()
    for group in attempts.values():
        for each in group:
            known.update(each.totals.models)
            if len(group) > 1 or not each.complete:
                together.written.merge_spent(each.totals, losses_only=True)
    together.written.rename(known)
    together.waiting.rename(known)


def _mark(together: Together, out: Growing, jobs: str, done: bool) -> Mark:
    return Mark(
        time.time(),
        out.lines,
        out.size,
        together.last,
        together.written,
        identity_of(jobs),
        done,
        sums=out.sums.text(out.lines) if out.size <= SUMMED_BYTES else "",
        closed=True,
        saved=together.totals,
        waiting=together.waiting.succeeded + together.waiting.failed,
    )


def _code(together: Together, done: bool) -> int:
    return 5 if not done else 3 if together.totals.failed else 0
