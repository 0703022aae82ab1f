"""Checksums of output lines, as a mark holds them."""

from __future__ import annotations

import tracemalloc
import zlib

from batchproc.store.sums import LineSums


def test_eight_digits_a_line_the_first_ones_first() -> None:
    """What one mark says, a resume takes over."""
    lines = [b"%d\n" % n for n in range(300)]
    sums, again = LineSums(), LineSums()
    sums.add(lines)
    text = sums.text(len(lines))
    assert text == "".join(f"{zlib.crc32(line):08x}" for line in lines)
    again.replace(0, text)
    assert all(again.fits(n, line[:-1]) for n, line in enumerate(lines))
    assert not again.fits(0, b"1")


def test_a_million_lines_at_once_cost_a_few_bytes_each() -> None:
    """They come between two marks when the one job that all waited for is answered."""
    sums, n = LineSums(), 100_000
    sums.add([b"x\n"] * n)
    tracemalloc.start()
    try:
        sums.text(n)
        assert tracemalloc.get_traced_memory()[1] < 30 * n
    finally:
        tracemalloc.stop()
