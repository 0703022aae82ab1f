"""What the tests of the store share: a small run, its files, and a provider that answers the same every time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from batchproc.errors import InputChanged
from batchproc.model import NO_USAGE, Position, Result, Usage
from batchproc.resultline import read_line, request_id
from batchproc.store.checkpoint import parse_result
from batchproc.store.input import InputIdentity
from batchproc.store.lines import digest_of
from batchproc.store.opening import OpenedStore, open_store
from batchproc.store.recover import answered_digests

JOBS = 12
FAILED = 4  # the job that fails
IDENTITY = {"model": "m"}
INPUT = InputIdentity(100, 200, 300)


def digest(index: int, *, edited: int | None = None) -> bytes:
    """The digest of an input line; one of them may have been edited."""
    return digest_of(b'{"job":%d%s}' % (index, b',"edited":1' if index == edited else b""))


def answer(index: int, size: int = 0) -> Result:
    """The result of a job: always the same, `size` bytes longer than need be."""
    key = digest(index)
    head = f'{{"id": "{request_id(index, key)}", "custom_id": "c{index}", "index": {index}'
    if index == FAILED:
        line = head + ', "response": null, "error": {"code": "no", "message": "never"}, "attempts": 2}\n'
        return Result(index, key, line.encode(), "no", index + 1, "never", NO_USAGE)
    body = f'{{"usage":{{"prompt_tokens":3,"completion_tokens":{index}}},"a":"é{"x" * size}"}}'
    line = head + ', "response": {"status_code": 200, "request_id": null, "body": ' + body + '}, "error": null}\n'
    return Result(index, key, line.encode(), None, index + 1, "", Usage(3, index))


def readable(output: bytes, checkpoint: bytes, jobs: int = JOBS) -> set[int]:
    """The jobs whose result is still there, whole and unaltered, in either file."""
    there = set()
    for line in output.split(b"\n"):
        seen = read_line(line)
        if seen is not None and seen.index < jobs and answer(seen.index).line == line + b"\n":
            there.add(seen.index)
    for record in checkpoint.split(b"\n"):
        r = parse_result(record)
        if r is not None:
            there.add(r.index)
    return there


def whole(jobs: int = JOBS, size: int = 0) -> bytes:
    """The output of an uninterrupted run."""
    return b"".join(answer(i, size).line for i in range(jobs))


class Files:
    """Output and checkpoint in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "o"
        self.checkpoint = folder / "c"

    def read(self) -> tuple[bytes | None, bytes | None]:
        """What both hold; None for one that is not there."""
        return tuple(p.read_bytes() if p.exists() else None for p in (self.output, self.checkpoint))  # type: ignore[return-value]

    def write(self, output: bytes | None, checkpoint: bytes | None) -> None:
        """Put both, and nothing else, into the folder."""
        for name in os.listdir(self.folder):
            os.unlink(self.folder / name)
        for path, data in ((self.output, output), (self.checkpoint, checkpoint)):
            if data is not None:
                path.write_bytes(data)

    async def open(
        self, *, input_identity: InputIdentity | None = INPUT, identity: dict[str, str | None] | None = None
    ) -> OpenedStore:
        """Open the store of these files."""
        return await open_store(
            str(self.output), str(self.checkpoint), identity=identity or IDENTITY, input_identity=input_identity
        )


class InlineFile:
    """What aiofiles gives, without its threads: an unbuffered file opened for appending."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    async def write(self, data: memoryview) -> int:
        """Write some of it."""
        return os.write(self._fd, data)

    async def close(self) -> None:
        """Close it."""
        os.close(self._fd)


async def put_all(opened: OpenedStore, arrivals: Iterable[int], *, done: bool, size: int = 0) -> None:
    """Send these jobs, answer them in this order, each in a group of its own, and end the run."""
    store = opened.store
    running = asyncio.create_task(store.run())
    arrivals = list(arrivals)
    for index in arrivals:
        store.sent("m", index, 10)
    for index in arrivals:
        store.put(answer(index, size))
        await until(lambda: not store._pending or running.done())
    store.close(done=done)
    await running


async def until(true: Callable[[], bool], most_s: float = 60.0) -> None:
    """Let everybody else work until something holds."""
    end = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0)


async def resume(
    files: Files,
    *,
    jobs: int = JOBS,
    size: int = 0,
    edited: int | None = None,
    input_identity: InputIdentity | None = INPUT,
) -> tuple[list[int], OpenedStore]:
    """Run again to the end, as the feed does it: compare what is answered, ask what is missing. Returns what was asked.

    Raises InputChanged where an answered line was edited.
    """
    opened = await files.open(input_identity=input_identity)
    store = opened.store
    asked: list[int] = []
    running = asyncio.create_task(store.run())
    try:
        if not opened.finished:
            written = answered_digests(str(files.output)) if opened.verify else None
            next_index = store.order.next_index
            for index in range(opened.position.index, jobs):
                store.position(Position(index, index + 1, index * 10))
                if index < next_index:
                    known = next(written, None) if written is not None else None
                elif store.has(index):
                    known = opened.digests.pop(index, None)
                else:
                    store.sent("m", index, 10)
                    store.put(answer(index, size))
                    asked.append(index)
                    continue
                if known is not None and known != digest(index, edited=edited):
                    raise InputChanged(f"line {index + 1} reads differently now")
    except InputChanged:
        store.close()
        await running
        raise
    store.close(done=True)
    await running
    return asked, opened
