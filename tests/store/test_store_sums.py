"""Checksums of output lines, as a mark holds them."""

from __future__ import annotations

import tracemalloc
import zlib
from itertools import accumulate

import pytest
from storekit import JOBS, Files, answer, put_all

from batchproc.store import sums as store_sums
from batchproc.store.scan import read_marks
from batchproc.store.sums import LineSums


def test_eight_digits_a_line_the_first_ones_first() -> None:
    """What one mark says, a resume takes over."""
    lines = [b"%d\n" % n for n in range(300)]
    sums, again = LineSums(), LineSums()
    sums.add(lines, 0)
    text = sums.text(len(lines))
    assert text == "".join(f"{zlib.crc32(line):08x}" for line in lines)
    again.replace(0, text)
    assert all(again.fits(n, line[:-1]) for n, line in enumerate(lines))
    assert not again.fits(0, b"1")


def test_a_million_lines_at_once_cost_a_few_bytes_each() -> None:
    """They come between two marks when the one job that all waited for is answered."""
    sums, n = LineSums(), 100_000
    sums.add([b"x\n"] * n, 0)
    tracemalloc.start()
    try:
        sums.text(n)
        assert tracemalloc.get_traced_memory()[1] < 30 * n
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("hasty")
async def test_none_for_what_no_resume_compares(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large output is not read again before its last mark: a million checksums a mark would be for nobody."""
    monkeypatch.setattr(store_sums, "SUMMED_BYTES", 500)
    opened = await files.open()
    await put_all(opened, range(JOBS), done=True)
    marks = read_marks(str(files.checkpoint), sums=True)
    ends = list(accumulate(len(answer(n).line) for n in range(JOBS)))
    known = [n for n in range(JOBS) if not marks.sums.fits(n, b"another")]
    assert marks.last is not None
    assert marks.last.next_index == JOBS
    assert known == [n for n, end in enumerate([0, *ends[:-1]]) if end <= 500]
    assert 0 < len(known) < JOBS
