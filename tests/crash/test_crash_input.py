"""The input fails while the run reads it: what, where, what is safe; and the same command goes on once it is mended."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from program import Finished, Program, chats, check_chats, environment
from servers import Simulator

JOBS = 15_000  # more than one block of a megabyte
FAILING = """
import sys
import aiofiles.threadpool.binary as b
from batchproc.cli.main import main
real, left = b.AsyncFileIO.read, [int(sys.argv[1])]
async def read(self, *a):
    left[0] -= 1
    if left[0] < 0:
        raise OSError(5, "Input/output error")
    return await real(self, *a)
b.AsyncFileIO.read = read
sys.argv = ["batchproc", *sys.argv[2:]]
main()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Simulator]:
    """A simulated provider."""
    made = Simulator(tmp_path / "ledger")
    yield made
    made.stop()


def check_said(done: Finished, *words: str) -> None:
    """Exit 2, in words, without a traceback."""
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    for word in (*words, "error:", "hint:", "what is answered is saved: run the same command again"):
        assert word in done.err, done.err


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_disk_error(program: Program, server: Simulator, blocks: int) -> None:
    """EIO on the first block, or in the middle of the file: the place is named."""
    chats(program.folder / "jobs.jsonl", JOBS)
    words = ["run", "jobs.jsonl", "--base-url", server.url, "--limit", str(JOBS)]
    child = subprocess.run(
        [sys.executable, "-c", FAILING, str(blocks), *words],
        cwd=program.folder,
        env=environment(program.folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    place = ["after line 1", "job 1"] if blocks else []
    check_said(Finished(child.returncode, "", child.stderr), "cannot be read: Input/output error", *place)


def test_a_torn_file(program: Program, server: Simulator) -> None:
    """Half of a .gz: what was sent is saved; the whole file, in its place, goes on."""
    text = chats(program.folder / "plain", 400).read_bytes()
    packed = gzip.compress(text, 1)
    jobs = program.folder / "jobs.jsonl.gz"
    words = ["run", "jobs.jsonl.gz", "--base-url", server.url]
    jobs.write_bytes(packed[: len(packed) - 40])
    check_said(program.run(*words), "damaged or cut short", "put a whole copy")
    sent = len(server.ledger())
    jobs.write_bytes(packed)
    done = program.run(*words)
    assert done.code == 0, done.err
    check_chats(program.folder / "jobs.results.jsonl", 400)
    assert len(server.ledger()) == 400 >= sent


@pytest.mark.parametrize("kind", ["gz garbage", "zst torn", "zst garbage"])
def test_other_damage(program: Program, server: Simulator, kind: str) -> None:
    """Something that is no data behind the data, or a frame without its end."""
    text = chats(program.folder / "plain", 400).read_bytes()
    packed = gzip.compress(text) if kind.startswith("gz") else zstandard.ZstdCompressor().compress(text)
    packed = packed + b"garbage" if kind.endswith("garbage") else packed[:-30]
    (program.folder / "jobs").write_bytes(packed)
    check_said(program.run("run", "jobs", "-o", "out", "--base-url", server.url), "damaged or cut short")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_file_that_cannot_be_read(program: Program, server: Simulator) -> None:
    """A file that opens and fails at the first byte."""
    check_said(program.run("run", "/proc/self/mem", "-o", "out", "--base-url", server.url), "cannot be read")
