"""Read output and checkpoint of an earlier run and say where to go on; nothing is changed yet."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from msgspec import Struct, field, structs

from batchproc.core.order import InOrder
from batchproc.model import Position, Result
from batchproc.resultline import Seen, digest_in, read_line
from batchproc.store.checkpoint import Header, Mark, Told
from batchproc.store.digests import Digests
from batchproc.store.files import disk_failed
from batchproc.store.reading import lines_of, parts_of
from batchproc.store.scan import Marks, Scan, read_marks, scan
from batchproc.store.sending import RecentlySent
from batchproc.store.sums import SUMMED_BYTES, LineSums
from batchproc.store.totals import Totals, as_named

_OPENING = b'{"id": "batch_req_'


class Recovered(Struct):
    """Where an earlier run stands.

    `header` is None where the checkpoint has no readable one. `salvaged` are results to append to the checkpoint
    before going on. `lost` is set when more than a torn line must be cut off the output. `ours`: something in
    the files says that batchproc made them.
    """

    header: Header | None
    order: InOrder
    output_size: int
    checkpoint_size: int
    totals: Totals
    written: Totals
    mark: Mark | None
    recent: RecentlySent
    unanswered: dict[int, int]
    digests: Digests
    salvaged: list[Result]
    lost: bool
    ours: bool
    keep_tail: bool  # behind `checkpoint_size` the checkpoint has results that stand nowhere else
    record_bytes: int  # of a result record in the checkpoint, on average
    last_index: int = -1  # where the last index stands in the checkpoint
    retry: Told | None = None  # a retry that is not through; its results begin at byte `retry_from` of the checkpoint
    retry_from: int = 0
    notes: list[str] = field(default_factory=list)
    closed: bool = False  # the last process ended in order: nothing was in flight


def has_lines(path: str) -> bool:
    """Whether a file exists and is not empty."""
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False


def recover(output: str, checkpoint: str) -> Recovered:
    """Read both files. Raises DiskFailed where they cannot be read."""
    try:
        size = os.path.getsize(output) if os.path.exists(output) else 0
    except OSError as e:
        disk_failed("reading", output, e)
    there = has_lines(checkpoint)
    try:
        marks = read_marks(checkpoint, sums=0 < size <= SUMMED_BYTES) if there else Marks()
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    try:
        tail = read_output(output, size, marks)
    except OSError as e:
        disk_failed("reading", output, e)
    order = InOrder(tail.next_index)
    keep_losses(tail.written, marks.last)
    totals = tail.written.copy()
    try:
        found = scan(checkpoint, order, totals) if there else Scan(Digests(tail.next_index))
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    known = names_known(found.sent.models, marks.last)
    for each in (totals, tail.written):
        each.rename(known)
    return Recovered(
        header=found.header,
        order=order,
        output_size=tail.size,
        checkpoint_size=found.size,
        totals=totals,
        written=tail.written,
        mark=marks.last,
        recent=found.sent.recent,
        unanswered=found.sent.unanswered(order),
        digests=found.digests,
        salvaged=[structs.replace(r, model=as_named(r.model, known)) for r in _salvaged(tail, found, order)],
        lost=tail.bad > 0,
        ours=bool(found.size or found.loose or tail.next_index or tail.salvaged),
        keep_tail=found.loose_tail,
        record_bytes=found.result_bytes // max(1, found.results),
        last_index=found.last_index,
        retry=marks.retry,
        retry_from=marks.retry_from,
        notes=_notes(output, checkpoint, marks.last, tail, found),
        closed=found.closed,
    )


def keep_losses(written: Totals, mark: Mark | None) -> None:
    """What lost attempts may have used stands in marks only, wherever the output had to be read from."""
    for model, known in mark.totals.models.items() if mark is not None else ():
        spent = written.spent(model)
        spent.lost, spent.lost_input, spent.lost_output = known.lost, known.lost_input, known.lost_output


def names_known(sent_to: Collection[str], mark: Mark | None) -> set[str]:
    """The names that the jobs use for their models, as requests and the last mark say."""
    return {*sent_to, *(mark.totals.models if mark is not None else ())}


def _salvaged(tail: Tail, found: Scan, order: InOrder) -> list[Result]:
    """Results that are readable somewhere, though not where they belong: each index once."""
    results: dict[int, Result] = {}
    for seen, line in tail.salvaged:
        results.setdefault(seen.index, _as_result(seen, line))
    for r in found.loose:
        results.setdefault(r.index, r)
    return [r for r in results.values() if r.index not in order]


def _notes(output: str, checkpoint: str, mark: Mark | None, tail: Tail, found: Scan) -> list[str]:
    notes: list[str] = []
    if mark is not None and tail.next_index < mark.next_index:
        gone = mark.next_index - tail.next_index - len(tail.salvaged)
        if gone > 0:
            notes.append(f"the output lost {gone} lines that were written before")
    if found.damaged:
        notes.append(f"{found.damaged} damaged records in `{checkpoint}` are not used")
    if tail.bad:
        notes.append(f"`{output}` is damaged at line {tail.next_index + 1}: it is cut there and mended")
    return notes


class Tail(Struct):
    """What the output holds from some line on. `bad` counts lines that are not as batchproc wrote them."""

    next_index: int
    size: int
    written: Totals
    salvaged: list[tuple[Seen, bytes]] = field(default_factory=list)
    bad: int = 0


def read_output(output: str, size: int, marks: Marks) -> Tail:
    """What the output holds, from the last mark on where it is large. Raises OSError."""
    mark = marks.last
    start = Tail(0, 0, Totals())
    if not size:
        return start
    if mark is not None and size > SUMMED_BYTES and _ends_a_line(output, mark, size):
        start = Tail(mark.next_index, mark.output_length, mark.written())
    return _read_tail(output, start, marks)


def _ends_a_line(output: str, mark: Mark, size: int) -> bool:
    """Whether the output has, where the mark says so, the end of the line that the mark says."""
    if not mark.output_length:
        return True
    if size < mark.output_length:
        return False
    start = max(0, mark.output_length - (4 << 20))
    with open(output, "rb") as f:
        f.seek(start)
        data = f.read(mark.output_length - start)
    if not data.endswith(b"\n"):
        return False
    before = data.rfind(b"\n", 0, -1)
    if before < 0 and start > 0:
        return True  # a line of more than 4 MiB: its end is all that is looked at
    seen = read_line(data[before + 1 : -1])
    return seen is not None and seen.index == mark.next_index - 1


def _read_tail(output: str, tail: Tail, marks: Marks) -> Tail:
    """Read the output from where `tail` stands; stop counting at the first line that is not the next one."""
    sums, mark = marks.sums, marks.last
    rest: list[bytes] = []
    broken = False
    for offset, line in lines_of(output, tail.size, rest):
        seen = _read(line, sums)
        if seen is None:
            broken = True
            tail.bad += 1
            _take_parts(tail, line, sums)
        elif not broken and seen.index == tail.next_index:
            tail.next_index += 1
            tail.size = offset + len(line) + 1
            tail.written.add(seen.code, seen.usage, seen.index + 1, seen.message, seen.model)
            if mark is not None and tail.size == mark.output_length and tail.next_index == mark.next_index:
                tail.written = mark.written()  # it knows physical lines and the provider's own usage
        else:
            broken = True
            tail.salvaged.append((seen, line))
    for line in rest:
        if not _take_parts(tail, line, sums) and not is_torn(line):
            tail.bad += 1
    return tail


def _read(line: bytes, sums: LineSums) -> Seen | None:
    """Read a line that batchproc wrote; None if it is another's, or not as it was written."""
    seen = read_line(line)
    if seen is None or seen.digest is None or not sums.fits(seen.index, line):
        return None
    return seen


def _take_parts(tail: Tail, line: bytes, sums: LineSums) -> bool:
    """Salvage whole lines from one whose newline was hit, or is missing."""
    some = False
    for part in parts_of(line, _OPENING):
        seen = _read(part, sums)
        if seen is not None:
            tail.salvaged.append((seen, part))
            some = True
    return some


def is_torn(line: bytes) -> bool:
    """Whether this can be the beginning of a line of ours, as a crash leaves it: cut, or zeros to the end."""
    text = line.rstrip(b"\0")
    return text.startswith(_OPENING) or _OPENING.startswith(text)


def _as_result(seen: Seen, line: bytes) -> Result:
    return Result(seen.index, seen.digest or b"", line + b"\n", seen.code, 0, seen.message, seen.usage, seen.model)


def answered_digests(output: str) -> Iterator[bytes | None]:
    """For each line of the output, the digest of the input line it answers (None if its id does not say)."""
    for _, line in lines_of(output):
        yield digest_in(line)


def start_position(mark: Mark | None, next_index: int, unchanged: bool) -> Position:
    """Where to enter the input: at the mark if the file is the same and nothing before it is missing."""
    if mark is None or not unchanged or mark.position.index > next_index:
        return Position(0, 1, 0)
    return mark.position
