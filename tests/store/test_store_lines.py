"""Lines: split on `\\n` only, the same wherever the blocks happen to end, and entered in the middle at will."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.model import RawLine
from batchproc.store import lines as lines_module
from batchproc.store.lines import digest_of, read_lines


class Pieces:
    """A source that brings the data in pieces of these sizes, the last one repeated."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = data
        self._sizes = sizes or [1]
        self._n = 0

    async def read(self) -> bytes:
        size = self._sizes[min(self._n, len(self._sizes) - 1)]
        self._n += 1
        block, self._data = self._data[:size], self._data[size:]
        return block

    async def close(self) -> None:
        pass


async def lines_in(data: bytes, sizes: list[int], *, index: int = 0, line: int = 1, offset: int = 0) -> list[RawLine]:
    """All lines of some data."""
    return [
        raw async for batch in read_lines(Pieces(data, sizes), index=index, line=line, offset=offset) for raw in batch
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n\n", [], id="blank lines only"),
        pytest.param(b"a\nb\n", [(1, 0, b"a"), (2, 2, b"b")], id="plain"),
        pytest.param(b"a\nb", [(1, 0, b"a"), (2, 2, b"b")], id="no final newline"),
        pytest.param(b"a\r\nb\r\n", [(1, 0, b"a"), (2, 3, b"b")], id="carriage returns are white space"),
        pytest.param(b"a\rb\n", [(1, 0, b"a\rb")], id="a lone carriage return ends nothing"),
        pytest.param(b"a\n \t\r\n\nb\n", [(1, 0, b"a"), (4, 7, b"b")], id="blank lines count as lines, not as jobs"),
        pytest.param("\ufeffa\n".encode(), [(1, 0, b"a")], id="a byte-order mark at the start"),
        pytest.param("\ufeff\na\n".encode(), [(2, 4, b"a")], id="a byte-order mark on a blank line"),
        pytest.param("a\n\ufeffb\n".encode(), [(1, 0, b"a"), (2, 2, "\ufeffb".encode())], id="not at the start"),
        pytest.param(
            "a\u2028b\u0085c\n".encode(), [(1, 0, "a\u2028b\u0085c".encode())], id="other separators are text"
        ),
        pytest.param(b"a\x0bb\x0cc\x1cd\x1ee\n", [(1, 0, b"a\x0bb\x0cc\x1cd\x1ee")], id="control characters are text"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_lines(data: bytes, expected: list[tuple[int, int, bytes]], size: int) -> None:
    """Line numbers from 1, offsets in bytes, indices without blank lines."""
    found = await lines_in(data, [size])
    assert [(r.line, r.offset, r.data) for r in found] == expected
    assert [r.index for r in found] == list(range(len(expected)))
    assert all(r.digest == digest_of(r.data) for r in found)


ALPHABET = st.sampled_from(
    [b"a", b"bc", b" ", b"\r", b"\n", b"\n\n", "\u2028".encode(), "\ufeff".encode(), b"long" * 3]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(ALPHABET, max_size=20).map(b"".join), st.lists(st.integers(1, 5), min_size=1, max_size=6))
async def test_blocks_do_not_matter(data: bytes, sizes: list[int]) -> None:
    """Lines, offsets, digests, and what counts as too long are the same however the data is cut into blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "MAX_LINE", 7)
        whole = await lines_in(data, [1000])
        assert await lines_in(data, sizes) == whole
        for raw in whole:
            rest = await lines_in(data[raw.offset :], sizes, index=raw.index, line=raw.line, offset=raw.offset)
            assert rest == whole[raw.index :]
    for raw in whole:
        line = data[raw.offset :].split(b"\n")[0]
        assert data.count(b"\n", 0, raw.offset) + 1 == raw.line
        assert raw.too_long == (len(line) > 7)
        assert raw.too_long or raw.data in line


async def test_a_long_line_costs_no_memory_and_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line over the limit is reported with its digest alone; two that differ have different digests."""
    monkeypatch.setattr(lines_module, "MAX_LINE", 10)
    first, second, third = await lines_in(b"x" * 50 + b"\n" + b"x" * 49 + b"y\nok", [7])
    assert (first.too_long, first.data, first.line) == (True, b"", 1)
    assert first.digest != second.digest
    assert third.data == b"ok"
