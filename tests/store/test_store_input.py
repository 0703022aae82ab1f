"""The input as it comes: plain, compressed, through a pipe, misnamed, cut short."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zstandard

from batchproc.errors import UsageError
from batchproc.store.input import identity_of, open_input
from batchproc.store.lines import read_lines

LINES = [b'{"n":%d,"text":"%s"}' % (n, b"ab" * (n % 7)) for n in range(200)]
TEXT = b"\n".join(LINES) + b"\n"
HALF = len(TEXT) // 2


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
SHAPES = {
    "plain": TEXT,
    "gzip": gzip.compress(TEXT),
    "gzip of two members": gzip.compress(TEXT[:HALF]) + gzip.compress(TEXT[HALF:]),
    "zstd": zst(TEXT),
    "zstd of two frames": zst(TEXT[:HALF]) + zst(TEXT[HALF:]),
    "zstd behind a skippable frame": SKIPPABLE + zst(TEXT),
}
NAMES = ["jobs.jsonl", "jobs.jsonl.gz", "jobs.jsonl.zst"]


async def read_all(name: str, offset: int = 0) -> list[bytes]:
    """The lines of an input."""
    opened = await open_input(name, offset)
    try:
        return [raw.data async for batch in read_lines(opened.blocks) for raw in batch]
    finally:
        await opened.blocks.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_shapes(tmp_path: Path, shape: str, name: str) -> None:
    """What a file is, is seen from its first bytes: a wrong name does not matter."""
    path = tmp_path / name
    path.write_bytes(SHAPES[shape])
    assert await read_all(str(path)) == LINES


@pytest.mark.parametrize("shape", [s for s in SHAPES if s != "plain"])
async def test_cut_short(tmp_path: Path, shape: str) -> None:
    """A compressed file that ends early is an error, wherever it ends: its missing jobs must not go unnoticed."""
    data = SHAPES[shape]
    path = tmp_path / "jobs"
    whole = 0
    for cut in range(4, len(data), 5):
        path.write_bytes(data[:cut])
        try:
            lines = await read_all(str(path))
        except UsageError as e:
            assert "cut short" in e.message  # noqa: PT017 - most cuts fail, one between two members may not
        else:
            whole += 1
            assert lines == LINES[: len(lines)] or lines[:-1] == LINES[: len(lines) - 1]
    assert whole <= 1


@pytest.mark.parametrize("shape", ["gzip", "zstd"])
async def test_damaged(tmp_path: Path, shape: str) -> None:
    """A damaged compressed file is a UsageError, not a traceback."""
    data = bytearray(SHAPES[shape])
    data[len(data) // 2 : len(data) // 2 + 20] = bytes(20)
    path = tmp_path / "jobs"
    path.write_bytes(bytes(data))
    with pytest.raises(UsageError):
        await read_all(str(path))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [1, 1000], ids=["byte by byte", "in pieces"])
async def test_fifo(tmp_path: Path, shape: str, step: int) -> None:
    """A named pipe, also one that brings its first bytes one at a time."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = SHAPES[shape]

    def write() -> None:
        with open(path, "wb", buffering=0) as f:
            for at in range(0, 8, min(8, step)):
                f.write(data[at : min(8, at + step)])
            f.write(data[8:])

    writer = threading.Thread(target=write)
    writer.start()
    opened = await open_input(str(path))
    assert (opened.identity, opened.size) == (None, None)
    assert [raw.data async for batch in read_lines(opened.blocks) for raw in batch] == LINES
    await opened.blocks.close()
    writer.join()


STDIN = """
import asyncio
from batchproc.store.input import open_input
from batchproc.store.lines import read_lines
async def main():
    opened = await open_input("-")
    async for batch in read_lines(opened.blocks):
        for raw in batch:
            print(raw.data.decode())
    await opened.blocks.close()
asyncio.run(main())
"""


@pytest.mark.parametrize("shape", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("how", ["pipe", "file"])
def test_standard_input(tmp_path: Path, shape: str, how: str) -> None:
    """Standard input may be a pipe or a file, compressed or not."""
    path = tmp_path / "jobs"
    path.write_bytes(SHAPES[shape])
    command = [sys.executable, "-W", "error", "-c", STDIN]
    if how == "pipe":
        out = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=True).stdout
    else:
        with path.open("rb") as f:
            out = subprocess.run(command, stdin=f, capture_output=True, check=True).stdout
    assert out == TEXT


async def test_a_silent_pipe_holds_nothing_up(tmp_path: Path) -> None:
    """A pipe that nobody writes to is opened at once, and waiting for it can be cancelled."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    opened = await open_input(str(path))
    reading = asyncio.ensure_future(opened.blocks.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    path.open("wb").close()  # the thread sees the end of the pipe
    await opened.blocks.close()


async def test_entered_in_the_middle(tmp_path: Path) -> None:
    """A plain file is entered at an offset; its identity says whether that still makes sense."""
    path = tmp_path / "jobs"
    path.write_bytes(TEXT)
    at = TEXT.index(LINES[150])
    assert await read_all(str(path), at) == LINES[150:]
    before = identity_of(str(path))
    path.write_bytes(TEXT + b"{}\n")
    assert identity_of(str(path)) != before
    assert identity_of("-") is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda p: None, "no file", id="missing"),
        pytest.param(lambda p: p.mkdir(), "directory", id="a directory"),
    ],
)
async def test_no_input(tmp_path: Path, make: object, says: str) -> None:
    """What is no file is said, with a hint."""
    path = tmp_path / "jobs"
    make(path)  # type: ignore[operator]
    with pytest.raises(UsageError, match=says) as caught:
        await open_input(str(path))
    assert caught.value.hint
