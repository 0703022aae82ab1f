"""A retry: failed lines of a finished output get new results, and the output is not touched before all are there.

It begins with a note in the checkpoint. Results that follow it are those of the retry: nothing of them is written to
the output, as if it waited for a job before the first. When all are there, `rewrite` makes a new output of both. The
checksums of output lines are given up at the beginning, so that the files fit together before and after the new
output has taken the old one's place.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Collection, Iterator, Mapping

import msgspec
from msgspec import Struct, structs

from batchproc import jsontext
from batchproc.core.chosen import ANSWERED, CHOSEN, FAILED, LEFT_OUT, Chosen
from batchproc.core.order import InOrder
from batchproc.core.resume import Found, Step, decide
from batchproc.errors import FilesDoNotFit, ForeignOutput, InputChanged
from batchproc.model import Position
from batchproc.resultline import read_line
from batchproc.store.checkpoint import VERSION, Header, Mark, Told, mark_record, parse_result, told_record
from batchproc.store.compact import remove_left_over
from batchproc.store.files import AppendFile, disk_failed
from batchproc.store.input import InputIdentity
from batchproc.store.mending import mended
from batchproc.store.opening import CHANGES_HINT, OpenedStore, changes_text
from batchproc.store.reading import lines_of, read_record
from batchproc.store.recover import Recovered, answered_digests, recover
from batchproc.store.results import ResultStore
from batchproc.store.scan import scan
from batchproc.store.sending import SentLog
from batchproc.store.threads import Threads
from batchproc.store.totals import Totals

_FINE = re.compile(rb', "error": null, "attempts": \d+\}\Z')  # so ends an answer's line that has no metadata


class RetryStore(ResultStore):
    """Keeps every result in the checkpoint. `before` is the last mark: that of the run, and what this retry lost."""

    before: Mark | None = None

    def mark(self, *, closed: bool = False) -> Mark | None:
        """The mark of the run again, with what was lost since. It holds no checksums: see the module's text."""
        if self.before is None:
            return None
        totals = self.before.totals.copy()
        totals.merge_spent(self.totals, losses_only=True)
        return structs.replace(self.before, at=time.time(), totals=totals, since=0, sums="", closed=closed)

    def position(self, position: Position) -> None:
        """Of no use here."""

    async def _make_durable(self, *, last: bool = False) -> None:
        mark = self.mark(closed=last)
        if mark is not None and (last or any(spent.lost for spent in self.totals.models.values())):
            async with self._journal.writing:
                await self._journal.append(mark_record(mark))
        await self._journal.sync()


class OpenedRetry(Struct):
    """A retry that may go on. `written` is None where the input need not be compared."""

    opened: OpenedStore
    store: RetryStore
    chosen: Chosen
    written: Iterator[bytes | None] | None


async def open_retry(
    output: str,
    checkpoint: str,
    *,
    identity: Mapping[str, str | None],
    input_identity: InputIdentity | None,
    only: Collection[str] = (),
    accept_changes: bool = False,
) -> OpenedRetry | None:
    """Begin a retry, or go on with it; None where no line (with one of the codes `only`) failed.

    The caller holds the lock. Raises ForeignOutput, InputChanged, FilesDoNotFit, DiskFailed.
    """
    had = recover(output, checkpoint)
    header = _header(had, output, checkpoint, identity, accept_changes)
    jobs = had.retry.lines if had.retry is not None else had.order.next_index
    if had.retry is None and CHOSEN not in _survey(output, jobs, only).state:
        return None
    remove_left_over(checkpoint)
    executor = Threads(4, "batchproc-store")
    unchanged = had.mark is not None and had.mark.input is not None and had.mark.input == input_identity
    out, ckpt = await mended(had, output, checkpoint, executor, header=header, unchanged=unchanged)
    start = had.retry_from if had.retry is not None else await _begin(ckpt, had.mark, jobs)
    await _carry_over(had, ckpt, start)
    chosen = _survey(output, jobs, only)
    order, totals = InOrder(-1), Totals()  # the output waits for a job that never comes
    try:
        found = scan(checkpoint, order, totals, start)
        _note_settled(checkpoint, start, chosen)
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    store = RetryStore(
        out,
        ckpt,
        order,
        header=header or Header(dict(identity)),
        totals=totals,
        written=Totals(),
        input_identity=input_identity,
        sent=SentLog(had.recent, found.sent.unanswered(order)),
        compacts=False,
    )
    store.before = had.mark
    sent = had.recent.groups(time.time())
    opened = OpenedStore(store, Position(0, 1, 0), False, found.digests, sent, had.notes, resumed=True)
    opened.killed = not had.closed
    opened.before = had.mark.totals if had.mark is not None else had.written
    return OpenedRetry(opened, store, chosen, None if unchanged else answered_digests(output))


def _header(
    had: Recovered, output: str, checkpoint: str, identity: Mapping[str, str | None], accept_changes: bool
) -> Header | None:
    """Refuse what cannot be retried; the header to write where the settings changed and that is accepted."""
    if had.header is None and had.mark is None and had.retry is None:
        raise ForeignOutput(
            f"there is no checkpoint `{checkpoint}` that says a run made `{output}`",
            f"if batchproc made it, `batchproc run JOBS -o {shlex.quote(output)} --adopt` takes it over",
        )
    if had.header is not None and had.header.version > VERSION:
        raise FilesDoNotFit(
            f"`{checkpoint}` was written by a newer batchproc",
            "go on with that version: `pip install --upgrade batchproc`",
        )
    mark = had.mark
    finished = mark is not None and mark.done and mark.next_index == had.order.next_index and not had.lost
    if had.retry is None and not finished:
        raise FilesDoNotFit(
            f"the run that writes `{output}` is unfinished: only a finished one can be retried",
            f"`batchproc status {output}` tells the command that goes on; `batchproc finish {output}` closes the run",
        )
    if had.header is None:
        return Header(dict(identity))
    decision = decide(Found(True, had.header.identity, True), identity)
    if decision.step is not Step.CHANGED:
        return None
    if not accept_changes:
        raise InputChanged(changes_text(decision), CHANGES_HINT)
    return Header(dict(identity))


async def _begin(ckpt: AppendFile, mark: Mark | None, jobs: int) -> int:
    """Note, twice for the case of damage, that a retry begins; returns where its results will stand."""
    void = b"" if mark is None else mark_record(structs.replace(mark, since=0, sums=""))
    note = told_record(Told(time.time(), "retry", lines=jobs))
    await ckpt.append(void + note + note)
    await ckpt.sync()
    return ckpt.size


async def _carry_over(had: Recovered, ckpt: AppendFile, start: int) -> None:
    """Where the output lost lines while the retry is under way: their results that stand in front of it count too."""
    try:
        earlier = [read_record(ckpt.fd, where) for _, where in had.order.items() if where < start]
    except OSError as e:
        disk_failed("reading", ckpt.path, e)
    if earlier:
        await ckpt.append(b"".join(record + b"\n" for record in earlier))
        await ckpt.sync()


def _survey(output: str, jobs: int, only: Collection[str]) -> Chosen:
    """Which lines of the output failed. Raises FilesDoNotFit where one is damaged, DiskFailed."""
    chosen = Chosen(jobs)
    state = chosen.state
    index = 0
    try:
        for _, line in lines_of(output):
            if index >= jobs:
                break
            if _FINE.search(line[-48:]) is None:
                seen = read_line(line)
                if seen is None or seen.index != index:
                    raise FilesDoNotFit(
                        f"`{output}` is damaged at line {index + 1}",
                        "put a sound copy of it back, then type the same command again",
                    )
                if seen.code is not None:
                    state[index] = CHOSEN if not only or seen.code in only else LEFT_OUT
                    chosen.attempts[index] = _attempts(line)
            index += 1
    except OSError as e:
        disk_failed("reading", output, e)
    for lost in range(index, jobs):  # only where a disk lost them after the retry had begun
        state[lost] = CHOSEN
    return chosen


class _Tried(Struct):
    attempts: int = 0


_TRIED = msgspec.json.Decoder(_Tried)


def _attempts(line: bytes) -> int:
    try:
        return max(0, jsontext.decode(line, _TRIED).attempts)
    except jsontext.NotJson:
        return 0


def _note_settled(checkpoint: str, start: int, chosen: Chosen) -> None:
    for _, line in lines_of(checkpoint, start):
        r = parse_result(line)
        if r is not None and r.index < chosen.jobs:
            chosen.state[r.index] = ANSWERED if r.code is None else FAILED
