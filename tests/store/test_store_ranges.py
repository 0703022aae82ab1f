"""Where a job file is cut, and how its parts read: together exactly the file, whatever is in it."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchproc.errors import UsageError
from batchproc.model import RawLine
from batchproc.store import ranges
from batchproc.store.input import open_input
from batchproc.store.lines import read_lines
from batchproc.store.ranges import cuts_of
from batchproc.store.shelf import Shelf

BOM = b"\xef\xbb\xbf"
LINES = st.sampled_from(
    [
        b"",
        b" ",
        b"\r",
        b'{"a":1}',
        b'{"a":1}\r',
        b"x" * 90,
        BOM + b'{"a":2}',
        b" \t" + BOM + b"{}",
        BOM,
        "\u2028".encode(),
    ]
)
FILES = st.tuples(st.lists(LINES, max_size=40), st.booleans(), st.booleans()).map(
    lambda t: (BOM if t[2] else b"") + b"\n".join(t[0]) + (b"\n" if t[1] else b"")
)


async def read(path: str, part: tuple[int, int] | None = None) -> list[RawLine]:
    """The lines of a file, or of a part of it."""
    opened = await open_input(path, part=part)
    try:
        return [raw async for batch in read_lines(opened.blocks) for raw in batch]
    finally:
        await opened.blocks.close()


async def read_all(path: str, parts: Sequence[tuple[int, int] | None]) -> list[list[RawLine]]:
    """The lines of each part; None is the whole file."""
    return [await read(path, part) for part in parts]


def write(folder: str, data: bytes) -> tuple[str, int]:
    """A file of these bytes: its name and a descriptor."""
    path = os.path.join(folder, "jobs")
    Path(path).write_bytes(data)
    return path, os.open(path, os.O_RDONLY)


@settings(max_examples=150, deadline=None)
@given(FILES, st.integers(1, 30), st.integers(1, 100))
@example(b"", 3, 7)
@example(b"x" * 500, 4, 64)  # one huge line: one part has it, the others are empty
@example(b"x" * 500 + b"\n", 4, 64)
@example(b"a\n" + BOM + b"{}\n" * 5, 4, 3)
@example(b"a\n" + b" " * 50 + BOM + b"{}\nb\n", 9, 7)
@example(b"a\nb\n", 50, 64)  # more parts than lines
def test_the_parts_together_are_the_file(data: bytes, parts: int, step: int) -> None:
    """Each byte is in one part, each line in one, and each reads in its part as it does in the file."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "_STEP", step)
        path, fd = write(folder, data)
        try:
            cuts = cuts_of(fd, len(data), parts)
        finally:
            os.close(fd)
        assert cuts[0] == 0
        assert cuts[-1] == len(data)
        assert len(cuts) == parts + 1
        assert cuts == sorted(cuts)
        for cut in cuts[1:-1]:
            assert cut in (0, len(data)) or data[cut - 1 : cut] == b"\n"
        places = list(itertools.pairwise(cuts))
        whole, *each = asyncio.run(read_all(path, [None, *places]))
        index = 0
        for (start, _), lines in zip(places, each, strict=True):
            for local, raw in enumerate(lines):
                same = whole[index]
                assert (raw.index, raw.offset + start) == (local, same.offset)
                assert (raw.data, raw.digest, raw.too_long) == (same.data, same.digest, same.too_long)
                index += 1
        assert index == len(whole)


def test_parts_are_about_as_large(tmp_path: Path) -> None:
    """A cut moves by one line at the most: work is shared evenly."""
    path, fd = write(str(tmp_path), b'{"a":1234}\n' * 10_000)
    try:
        cuts = cuts_of(fd, os.path.getsize(path), 7)
    finally:
        os.close(fd)
    sizes = [b - a for a, b in itertools.pairwise(cuts)]
    assert max(sizes) - min(sizes) <= 22


def test_a_file_that_became_shorter_is_no_end_of_a_part(tmp_path: Path) -> None:
    """Jobs that are gone must not look as if they never were."""
    path = tmp_path / "jobs"
    path.write_bytes(b"{}\n" * 10)
    with pytest.raises(UsageError, match="became shorter"):
        asyncio.run(read(str(path), (15, 60)))


def test_a_line_put_aside_is_read_again_from_its_part(tmp_path: Path) -> None:
    """Offsets are those of the part; the shelf reads the file."""

    async def through() -> tuple[list[RawLine], list[RawLine]]:
        opened = await open_input(str(path), part=(12, 36))
        lines = [raw async for batch in read_lines(opened.blocks) for raw in batch]
        shelf = Shelf(opened.fd, opened.start)
        for raw in lines:
            shelf.put(raw)
        again = shelf.take(99)
        shelf.close()
        await opened.blocks.close()
        return lines, again

    path = tmp_path / "jobs"
    path.write_bytes(b"".join(b'{"job":%02d}\r\n' % n for n in range(4)))
    lines, again = asyncio.run(through())
    assert [raw.data for raw in again] == [b'{"job":01}', b'{"job":02}']
    assert again == lines
