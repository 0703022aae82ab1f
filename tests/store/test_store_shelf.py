"""Lines put aside come back in order, as they were, from the input or from a temporary file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.errors import InputChanged
from batchproc.model import RawLine
from batchproc.store import shelf
from batchproc.store.lines import digest_of
from batchproc.store.shelf import Shelf


def line(n: int, offset: int, text: bytes) -> RawLine:
    return RawLine(n, n + 1, offset, text, digest_of(text))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of three, so that few lines reach the disk."""
    monkeypatch.setattr(shelf, "_GROUP", 3)


@pytest.mark.usefixtures("small")
@given(st.lists(st.integers(min_value=-4, max_value=9), max_size=30))
@settings(deadline=None)
def test_first_in_first_out(moves: list[int]) -> None:
    """However putting and taking alternate (negative: take so many), lines come back in order and complete."""
    kept, put, got = Shelf(None), 0, []
    for move in moves:
        if move < 0:
            got += kept.take(-move)
        for _ in range(max(0, move)):
            kept.put(line(put, 0, b"text %d" % put))
            put += 1
        assert len(kept) == put - len(got)
    got += kept.take(10**6)
    kept.close()
    assert [(r.index, r.data) for r in got] == [(n, b"text %d" % n) for n in range(put)]


@pytest.mark.usefixtures("small")
def test_lines_of_a_plain_file_are_read_again(tmp_path: Path) -> None:
    """White space, a byte-order mark and a missing last line break make no difference."""
    texts = [b"first", b"second \xe2\x80\xa8 line", b"x" * 9000, b"last"]
    data = b"\xef\xbb\xbf" + texts[0] + b"\r\n\n  " + texts[1] + b"  \n" + texts[2] + b"\n" + texts[3]
    path = tmp_path / "jobs"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    kept = Shelf(fd)
    for n, text in enumerate(texts):
        start = data.index(text)
        kept.put(line(n, 0 if n == 0 else data.rfind(b"\n", 0, start) + 1, text))
    assert [r.data for r in kept.take(9)] == texts
    kept.close()
    os.close(fd)


def test_a_line_that_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    """The job that was promised is not quietly replaced by another."""
    path = tmp_path / "jobs"
    path.write_bytes(b"one\ntwo\n")
    fd = os.open(path, os.O_RDONLY)
    kept = Shelf(fd)
    kept.put(line(1, 4, b"two"))
    path.write_bytes(b"one\nTWO\n")
    with pytest.raises(InputChanged, match="line 2"):
        kept.take(1)
    kept.close()
    os.close(fd)
