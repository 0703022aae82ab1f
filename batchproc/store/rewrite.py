"""The end of a retry: a new output of the old lines and the new results, in the old one's place.

    1  copy    OUTPUT.retry: each line as it was, or its new result
    2  fsync   the copy
    3  rename  it to OUTPUT, and fsync the folder
    4  note    in the checkpoint: the retry is through, and a mark of the new output

A process that dies before 3 leaves the old output, one that dies between 3 and 4 the new one, and the results in the
checkpoint either way: the same command does it again, with the same bytes as its outcome.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from batchproc.core.chosen import CHOSEN, LEFT_OUT, Chosen
from batchproc.core.order import InOrder
from batchproc.errors import DiskFailed
from batchproc.model import NO_USAGE, Position
from batchproc.resultline import read_line
from batchproc.store.checkpoint import Mark, Told, mark_record, parse_result, told_record
from batchproc.store.files import disk_failed, sync_folder
from batchproc.store.growing import Growing
from batchproc.store.input import InputIdentity
from batchproc.store.reading import lines_of, read_record
from batchproc.store.sums import SUMMED_BYTES
from batchproc.store.totals import Totals

SUFFIX = ".retry"


def rewrite(
    output: str,
    checkpoint: str,
    order: InOrder,
    chosen: Chosen,
    *,
    before: Mark | None,
    identity: InputIdentity | None,
    position: Position,
    longer: bool,
) -> Totals:
    """Put the new results, which wait in the checkpoint as `order` says, into the output; returns its totals.

    `before` is the mark of the run, with all that was lost; `identity` and `position` (of the last job) are those of
    the input, which is `longer` where it has jobs that the run never had. Raises DiskFailed.
    """
    path = output + SUFFIX
    totals = _tokens_before(before)
    new = Growing(path)
    try:
        source = os.open(checkpoint, os.O_RDONLY)
        try:
            new.begin()
            for line in _lines(output, source, order, chosen, totals):
                new.add(line)
            new.end()
        finally:
            os.close(source)
        os.replace(path, output)
    except OSError as e:
        disk_failed("writing", path, e)
    finally:
        new.close()
    sync_folder(output)
    now = time.time()
    text = new.sums.text(chosen.jobs) if new.size <= SUMMED_BYTES else ""
    done = not longer
    mark = Mark(now, chosen.jobs, new.size, position, totals, identity, done, sums=text, closed=True, saved=totals)
    _append(checkpoint, mark_record(mark) + told_record(Told(now, "retried", lines=chosen.jobs)))
    return totals


def _lines(output: str, source: int, order: InOrder, chosen: Chosen, totals: Totals) -> Iterator[bytes]:
    """The lines of the new output, counted."""
    old = lines_of(output)
    for index in range(chosen.jobs):
        _, line = next(old, (0, b""))
        where = order.where(index)
        if where is not None:
            r = parse_result(read_record(source, where))
            if r is None or r.index != index:
                raise DiskFailed(
                    f"the new result of job {index} cannot be read back from its checkpoint",
                    "check the disk, then run the same command again: this job is asked again",
                )
            totals.add(r.code, r.usage, r.input_line, r.message, r.model)
            yield r.line
            continue
        if chosen.state[index] in (LEFT_OUT, CHOSEN):
            seen = read_line(line)
            if seen is not None:
                totals.add(seen.code, NO_USAGE, chosen.lines[index] or index + 1, seen.message)
        else:
            totals.succeeded += 1
        yield line + b"\n"


def _tokens_before(before: Mark | None) -> Totals:
    """The tokens of the answers that stay, and what was lost: failed lines have none."""
    was = before.totals.copy() if before is not None else Totals()
    return Totals(0, 0, was.input_tokens, was.output_tokens, models=was.models)


def _append(checkpoint: str, data: bytes) -> None:
    try:
        fd = os.open(checkpoint, os.O_WRONLY | os.O_APPEND)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as e:
        disk_failed("writing", checkpoint, e)
