"""Group commit: what is put is in the file soon, whatever the disk does; a failing disk loses as little as can be."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time

import pytest
from storekit import FAILED, JOBS, Files, InlineFile, answer, put_all, readable, resume, until, whole

from batchproc.errors import DiskFailed
from batchproc.store import journal, results
from batchproc.store.files import AppendFile

SAVED_S = 0.05


async def test_saved_while_an_fsync_hangs(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every fsync stuck, results still reach the files, in order and early ones alike, within 50 ms."""
    opened = await files.open()
    stuck, go_on = threading.Event(), threading.Event()

    def hang(fd: int) -> None:
        stuck.set()
        assert go_on.wait(30)

    monkeypatch.setattr(results, "SYNC_S", 0)
    monkeypatch.setattr(os, "fsync", hang)
    running = asyncio.create_task(opened.store.run())
    opened.store.put(answer(0))
    await until(stuck.is_set)
    took: list[float] = []
    for index in (1, 2, 5, 3, 7):
        began = time.monotonic()
        opened.store.put(answer(index))
        path = files.output if index < 4 else files.checkpoint
        await until(lambda path=path, index=index: answer(index).line[:-1] in path.read_bytes())
        took.append(time.monotonic() - began)
    go_on.set()
    opened.store.close()
    await running
    assert min(took) < SAVED_S
    assert files.output.read_bytes() == whole(4)


@pytest.mark.parametrize("kept", [0, 1 << 23], ids=["read back from the disk", "kept in memory"])
async def test_saved_while_many_are_drained(files: Files, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Thousands of waiting results move to the output in helpings; one that comes meanwhile does not wait for all."""
    from batchproc.store import waiting

    monkeypatch.setattr(waiting, "_KEPT_BYTES", kept)
    jobs = 6000
    opened = await files.open()
    store = opened.store
    running = asyncio.create_task(store.run())
    for index in range(1, jobs):
        store.put(answer(index))
    await until(lambda: store.order.waiting == jobs - 1)
    store.put(answer(0))
    store.put(answer(jobs + 5))
    await until(lambda: store.has(jobs + 5))
    assert store.order.next_index < jobs
    await until(lambda: store.order.next_index == jobs)
    store.close()
    await running
    assert files.output.read_bytes() == whole(jobs)
    assert store.order.waiting == 1


class Failing:
    """Makes writes to one file fail after so many bytes; the byte that fails may be in the middle of a line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, room: int, code: int) -> None:
        write = os.write
        self.room = room

        def limited(fd: int, data: memoryview) -> int:
            if os.path.basename(os.readlink(f"/proc/self/fd/{fd}")) != name:
                return write(fd, data)
            if self.room <= 0:
                raise OSError(code, os.strerror(code))
            n = write(fd, data[: self.room])
            self.room -= n
            return n

        monkeypatch.setattr(os, "write", limited)


CODES = [errno.ENOSPC, errno.EROFS, errno.EIO]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["o", "c"])
async def test_disk_fails_at_any_byte(files: Files, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Wherever the disk is full: DiskFailed with a hint, and the same command goes on once it is mended."""
    arrivals = [1, 0, 2, 5, 3, 4, 9]
    for room in range(0, 2200, 31):
        files.write(None, None)
        with monkeypatch.context() as patch:
            Failing(patch, name, room, code)
            failure: DiskFailed | None = None
            try:
                await put_all(await files.open(), arrivals, done=False)
            except DiskFailed as e:
                failure = e
        if failure is None:
            break
        assert failure.hint
        assert failure.exit_code == 7
        output, checkpoint = files.read()
        there = readable(output or b"", checkpoint or b"")
        assert (output or b"").endswith((b"\n", b"")), room
        assert whole().startswith(output or b"")
        asked, _ = await resume(files)
        assert files.output.read_bytes() == whole()
        assert not there & set(asked)
    else:
        pytest.fail("it never had room enough")


@pytest.mark.usefixtures("hasty")
async def test_a_full_disk_for_the_output_loses_no_answer(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint may have room elsewhere: the answers of the group that did not fit go there."""
    opened = await files.open()
    Failing(monkeypatch, "o", len(answer(0).line) + 10, errno.ENOSPC)
    for index in (0, 1, 2, FAILED):
        opened.store.put(answer(index))
    running = asyncio.create_task(opened.store.run())
    with pytest.raises(DiskFailed, match="No space left"):
        await running
    monkeypatch.undo()
    assert files.output.read_bytes() == whole(1)
    asked, _ = await resume(files)
    assert asked == [i for i in range(JOBS) if i not in (0, 1, 2, FAILED)]


@pytest.mark.usefixtures("hasty")
async def test_a_failing_fsync_ends_the_run_after_saving(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the output cannot be synced any more, what was collected meanwhile still goes to the checkpoint."""
    opened = await files.open()
    store = opened.store
    sync = AppendFile.sync

    async def failing(self: AppendFile) -> None:
        if self.path.endswith("o"):
            store.put(answer(7))
            raise DiskFailed("syncing failed", "mend it")
        await sync(self)

    monkeypatch.setattr(results, "SYNC_S", 0)
    monkeypatch.setattr(AppendFile, "sync", failing)
    running = asyncio.create_task(store.run())
    store.put(answer(0))
    with pytest.raises(DiskFailed):
        await running
    monkeypatch.undo()
    output, checkpoint = files.read()
    assert readable(output or b"", checkpoint or b"") == {0, 7}


@pytest.mark.usefixtures("hasty")
async def test_a_compaction_that_fails_stops_nothing(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be no room for the copy: the run goes on with the checkpoint it has, and leaves no half copy."""
    monkeypatch.setattr(results, "SYNC_S", 0)
    monkeypatch.setattr(journal, "COMPACT_BYTES", 100)
    Failing(monkeypatch, "c.compact", 150, errno.ENOSPC)
    await put_all(await files.open(), [2, 1, 0, 4, 3, *range(5, JOBS)], done=True)
    assert files.output.read_bytes() == whole()
    assert sorted(os.listdir(files.folder)) == ["c", "o"]


@pytest.mark.parametrize("turns", range(12))
def test_the_loop_ends_with_the_program(files: Files, turns: int) -> None:
    """`asyncio.run` cancels every task at once, and task groups their own again: what was collected is saved."""

    async def main() -> None:
        opened = await files.open()
        store = opened.store
        kept.append(store)

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(store.run())
                try:
                    await asyncio.Event().wait()
                finally:
                    for _ in range(3):  # the tasks of a group within
                        await asyncio.sleep(0)

        kept.append(asyncio.create_task(group()))
        for _ in range(3):
            await asyncio.sleep(0)
        for index in (0, 1, 2, 3, 5, 7):
            store.put(answer(index))
        for _ in range(turns):  # also in the middle of writing
            await asyncio.sleep(results.GROUP_S / 6)

    kept: list[object] = []
    asyncio.run(main())
    assert len(kept) == 2
    assert readable(*(data or b"" for data in files.read())) == {0, 1, 2, 3, 5, 7}

    async def again() -> set[int]:
        opened = await files.open()
        await opened.store.close_files()
        return {index for index in range(JOBS) if opened.store.has(index)}

    assert asyncio.run(again()) == {0, 1, 2, 3, 5, 7}


@pytest.mark.usefixtures("hasty")
async def test_cancelled(files: Files) -> None:
    """A run that is torn down saves what it was given."""
    opened = await files.open()
    running = asyncio.create_task(opened.store.run())
    await asyncio.sleep(0)
    for index in (0, 1, 8):
        opened.store.put(answer(index))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    output, checkpoint = files.read()
    assert readable(output or b"", checkpoint or b"") == {0, 1, 8}


@pytest.mark.usefixtures("hasty")
async def test_attempts_are_counted_over_restarts(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often an open job was sent survives a restart and a compaction, once each; undone sends do not count."""
    monkeypatch.setattr(results, "SYNC_S", 0)
    monkeypatch.setattr(journal, "COMPACT_BYTES", 100)
    opened = await files.open()
    for index in (3, 3, 5, 7):
        opened.store.sent("m", index, 10)
    opened.store.not_sent(7)
    await put_all(opened, [0, 1, 2], done=False)
    again = await files.open()
    assert again.store.unanswered == {3: 2, 5: 1}
    assert sum(s.requests for s in again.sent) == 7
    assert {s.model for s in again.sent} == {"m"}
    await again.store.close_files()


async def test_a_pipe_that_is_full(files: Files, tmp_path: object) -> None:
    """A write that brings nothing because the pipe is full is tried again."""

    class Full(InlineFile):
        calls = 0

        async def write(self, data: memoryview) -> int:
            self.calls += 1
            return None if self.calls % 2 else os.write(self.fileno(), data[:3])  # type: ignore[return-value]

    file = AppendFile("o", Full(str(files.output)), 0, None, durable=False)  # type: ignore[arg-type]
    await file.append(b"abcdefg\n")
    await file.close()
    assert files.output.read_bytes() == b"abcdefg\n"
