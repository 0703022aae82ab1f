"""A retry of a finished output: killed or cut off at any step, it ends right, and asks nothing twice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from storekit import IDENTITY, INPUT, Files, InlineFile, digest, put_all, until
from watched import Disk, Snapshot

from batchproc.core.chosen import CHOSEN, Attempts
from batchproc.errors import FilesDoNotFit, ForeignOutput, InputChanged
from batchproc.model import NO_USAGE, Position, Result, Usage
from batchproc.resultline import request_id
from batchproc.store import results, retrying
from batchproc.store.checkpoint import parse_result
from batchproc.store.look import look, looked
from batchproc.store.retrying import OpenedRetry, open_retry
from batchproc.store.rewrite import rewrite
from batchproc.store.totals import Spent

JOBS = 12
FAILED = (0, 4, 5, 11)  # in the run
AGAIN = (4,)  # still, in the retry


def line(index: int, failing: bool, attempts: int) -> Result:
    """The result of a job."""
    key = digest(index)
    head = f'{{"id": "{request_id(index, key)}", "custom_id": "c{index}", "index": {index}, "response": '
    tail = f', "attempts": {attempts}}}\n'
    if failing:
        code = "slow" if index == 5 else "no"
        text = head + f'null, "error": {{"code": "{code}", "message": "never"}}' + tail
        return Result(index, key, text.encode(), code, index + 1, "never", NO_USAGE)
    body = f'{{"usage":{{"prompt_tokens":3,"completion_tokens":{index}}},"n":{attempts}}}'
    text = head + f'{{"status_code": 200, "request_id": null, "body": {body}}}, "error": null' + tail
    return Result(index, key, text.encode(), None, index + 1, "", Usage(3, index), "m")


def before(index: int) -> Result:
    """What the run had."""
    return line(index, index in FAILED, 1)


def after(index: int) -> Result:
    """What the output has after the retry."""
    return line(index, index in AGAIN, 2) if index in FAILED else before(index)


EXPECTED = b"".join(after(k).line for k in range(JOBS))


async def finished(files: Files, *, done: bool = True) -> None:
    """A run of twelve jobs, of which four failed; some finished early."""
    opened = await files.open()
    running = asyncio.create_task(opened.store.run())
    for index in (2, 1, 0, 4, 3, 11, 5, 6, 7, 8, 9, 10)[: JOBS if done else 6]:
        opened.store.sent("m", index, 10)
        opened.store.put(before(index))
        await until(lambda: not opened.store._pending or running.done())
    opened.store.close(done=done)
    await running


async def begin(files: Files, **more: object) -> OpenedRetry | None:
    """Open a retry."""
    given = {"identity": IDENTITY, "input_identity": INPUT} | more
    return await open_retry(str(files.output), str(files.checkpoint), **given)  # type: ignore[arg-type]


async def retry(files: Files, only: tuple[str, ...] = (), *, most: int = JOBS, end: bool = True) -> list[int]:
    """Retry to the end, or send `most` jobs and stop; returns which jobs were sent."""
    opened = await begin(files, only=only)
    if opened is None:
        return []
    store, chosen = opened.opened.store, opened.chosen
    attempts = Attempts(chosen, store.unanswered)
    asked: list[int] = []
    running = asyncio.create_task(store.run())
    for index in range(JOBS):
        if chosen.state[index] == CHOSEN and len(asked) < most:
            assert attempts.get(index, 0) >= 1
            store.sent("m", index, 10)
            store.put(after(index))
            asked.append(index)
            await until(lambda: not store._pending or running.done())
    store.close()
    await running
    if end:
        rewrite(
            str(files.output),
            str(files.checkpoint),
            store.order,
            chosen,
            before=opened.store.mark(),
            identity=INPUT,
            position=Position(0, 1, 0),
            longer=False,
        )
    return asked


def settled(checkpoint: bytes) -> set[int]:
    """The jobs with a result of the retry in a checkpoint."""
    records = [parse_result(record) for record in checkpoint.split(b"\n")]
    return {r.index for r in records if r is not None and r.line == after(r.index).line and r.index in FAILED}


async def check(snapshot: Snapshot, folder: Path) -> None:
    """From a snapshot: `run` touches nothing, the retry ends right, and everything works on the file afterwards."""
    folder.mkdir(exist_ok=True)
    files = Files(folder)
    files.write(snapshot.get("o"), snapshot.get("c"))
    for name in snapshot.keys() - {"o", "c"}:
        (folder / name).write_bytes(snapshot[name])
    there = settled(snapshot["c"])
    try:
        opened = await files.open()
        assert opened.finished
        await opened.store.close_files()
    except FilesDoNotFit:
        assert files.output.read_bytes() == snapshot["o"]
        assert look(str(files.output), str(files.checkpoint)).exit_code == 5
    was_through = snapshot["o"] == EXPECTED and b'"what":"retried"' in snapshot["c"].rpartition(b'"what":"retry"')[2]
    if not was_through:
        asked = await retry(files)
        assert not there & set(asked), "asked again although it was saved"
    assert files.output.read_bytes() == EXPECTED
    seen = look(str(files.output), str(files.checkpoint))
    assert (seen.exit_code, seen.answered, seen.totals.failed) == (3, JOBS, 1)
    assert seen.totals.input_tokens == 3 * (JOBS - 1)
    assert seen.totals.output_tokens == sum(k for k in range(JOBS) if k not in AGAIN)
    opened = await files.open()
    assert opened.finished
    assert opened.notes == []
    await opened.store.close_files()
    assert await retry(files) == list(AGAIN)
    assert files.output.read_bytes() == EXPECTED
    assert sorted(n for n in os.listdir(folder) if n not in ("o", "c")) == []


@pytest.fixture
def disk(files: Files, hasty: None, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that is watched; writes are torn into pieces."""
    monkeypatch.setattr(results, "SYNC_S", 0)
    write = InlineFile.write

    async def torn(self: InlineFile, data: memoryview) -> int:
        return await write(self, data[:97])

    monkeypatch.setattr(InlineFile, "write", torn)
    return Disk(files.folder, monkeypatch)


async def test_killed_at_every_step(files: Files, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two changes of a file the process may die: nothing that was saved is lost or asked again."""
    await finished(files)
    disk.killed.clear()
    assert await retry(files) == list(FAILED)
    snapshots = list(disk.killed)
    monkeypatch.undo()
    assert len(snapshots) > 20
    for snapshot in snapshots:
        await check(snapshot, files.folder / "again")


async def test_power_lost_at_every_step(files: Files, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is surely on the disk is enough, whether the rename reached it or not."""
    await finished(files)
    disk.cut_off.clear()
    assert await retry(files) == list(FAILED)
    snapshots = list(disk.cut_off)
    monkeypatch.undo()
    assert any(s["o"] == EXPECTED for s in snapshots)
    assert any(s["o"] != EXPECTED for s in snapshots)
    for snapshot in snapshots:
        await check(snapshot, files.folder / "again")


async def test_order_of_steps(files: Files, disk: Disk) -> None:
    """The copy is durable before it takes the old one's name, the folder after, and the checkpoint last."""
    await finished(files)
    disk.calls.clear()
    await retry(files)
    at = disk.calls.index(("replace", "o.retry"))
    assert disk.calls[at - 1] == ("fsync", "o.retry")
    assert disk.calls[at + 1] == ("fsync", files.folder.name)
    assert disk.calls[at + 2 :] == [("write", "c"), ("fsync", "c")]
    assert ("fsync", "c") in disk.calls[:at]


async def test_in_pieces(files: Files, hasty: None) -> None:
    """Stopped after each answer, the same retry goes on; the output is untouched until the end."""
    await finished(files)
    old = files.output.read_bytes()
    asked: list[int] = []
    for _ in FAILED:
        asked += await retry(files, most=1, end=False)
        assert files.output.read_bytes() == old
        with pytest.raises(FilesDoNotFit):
            await files.open()
    assert asked == list(FAILED)
    assert await retry(files) == []
    assert files.output.read_bytes() == EXPECTED


async def test_only_some_codes(files: Files, hasty: None) -> None:
    """Lines with other codes are not sent, and stay; where no line is meant nothing is written."""
    await finished(files)
    assert await retry(files, ("slow",)) == [5]
    expected = [after(k) if k == 5 else before(k) for k in range(JOBS)]
    assert files.output.read_bytes() == b"".join(r.line for r in expected)
    state = files.read()
    assert await retry(files, ("slow",)) == []
    assert files.read() == state
    assert look(str(files.output), str(files.checkpoint)).totals.failed == 3


async def test_what_is_refused(files: Files, hasty: None) -> None:
    """An unfinished run, another setting, and a file that no run made; nothing is changed."""
    await finished(files, done=False)
    state = files.read()
    with pytest.raises(FilesDoNotFit, match="unfinished"):
        await begin(files)
    assert files.read() == state
    await put_all(await files.open(), [], done=False)
    files.write(None, None)
    await finished(files)
    state = files.read()
    with pytest.raises(InputChanged, match="model"):
        await begin(files, identity={"model": "other"})
    assert files.read() == state
    files.checkpoint.unlink()
    with pytest.raises(ForeignOutput):
        await begin(files)


async def test_damage_during_a_retry(files: Files, hasty: None) -> None:
    """A line that a disk loses while a retry is under way is asked again with the failed ones; nobody is stuck."""
    await finished(files)
    await retry(files, most=1, end=False)
    lines = files.output.read_bytes().splitlines(keepends=True)
    lines[7] = b"rubbish\n"
    files.output.write_bytes(b"".join(lines))
    opened = await begin(files)
    assert opened is not None
    assert [k for k in range(JOBS) if opened.chosen.state[k] == CHOSEN] == [4, 5, 7]
    await opened.opened.store.close_files()


async def test_damage_after_a_retry(files: Files, hasty: None) -> None:
    """What the checkpoint still has of a lost line is the newest: the retry's answer, not the failure before it."""
    await finished(files)
    await retry(files)
    files.output.write_bytes(b"".join(files.output.read_bytes().splitlines(keepends=True)[:3]))
    opened = await files.open()
    assert not opened.finished
    found = {k for k in range(3, JOBS) if k in opened.store.order}
    assert {4, 5, 11} <= found
    totals = opened.store.totals
    assert totals.errors["no"].count == totals.failed == len(AGAIN)
    running = asyncio.create_task(opened.store.run())
    for index in sorted(set(range(3, JOBS)) - found):
        opened.store.put(after(index))
    opened.store.close(done=True)
    await running
    assert files.output.read_bytes() == EXPECTED


async def test_a_mark_of_an_old_version_is_not_trusted(files: Files, hasty: None) -> None:
    """After the new output is in place, damage in it is found by the new checksums."""
    await finished(files)
    await retry(files)
    data = files.output.read_bytes()
    files.output.write_bytes(data.replace(b'"n":2', b'"n":3', 1))
    opened = await files.open()
    assert not opened.finished
    assert any("damaged at line 1" in note for note in opened.notes)
    await opened.store.close_files()
    assert retrying.CHOSEN == CHOSEN


async def test_what_run_and_retry_spent_is_known_together(files: Files, hasty: None) -> None:
    """By model: the run's answers and losses; the retry's, also of one that stopped; in status and after."""
    await finished(files)
    run = sum(k for k in range(JOBS) if k not in FAILED)

    def spent() -> Spent:
        return looked(str(files.output), str(files.checkpoint)).totals.models.get("m", Spent())

    assert spent() == Spent(answers=8, input_tokens=24, output_tokens=run)
    first = await begin(files)
    assert first is not None
    assert first.opened.before is not None
    assert first.opened.before.models["m"] == spent(), "a budget counts what the run spent"
    running = asyncio.create_task(first.store.run())
    first.store.sent("m", 0, 10)
    first.store.put(after(0))
    first.store.lost("m", 100, 50)
    await until(lambda: not first.store._pending)
    first.store.close()
    await running
    assert spent() == Spent(9, 27, 0, run, 1, 100, 50)
    second = await begin(files)
    assert second is not None
    assert not second.opened.killed
    assert second.opened.before is not None
    both = second.opened.before.copy()
    both.merge_spent(second.store.totals)
    assert both.models["m"] == Spent(9, 27, 0, run, 1, 100, 50)
    await second.store.close_files()
    await retry(files)
    assert spent() == Spent(11, 33, 0, run + 0 + 5 + 11, 1, 100, 50), "the end loses nothing"


async def test_a_killed_retry_says_what_was_in_flight(files: Files, hasty: None) -> None:
    """Only the jobs that it sent itself: those that failed in the run were sent, and answered."""
    await finished(files)
    opened = await begin(files)
    assert opened is not None
    assert not opened.opened.killed
    running = asyncio.create_task(opened.store.run())
    opened.store.sent("m", 5, 10)
    await until(lambda: not opened.store._pending)
    killed = files.read()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    files.write(*killed)
    again = await begin(files)
    assert again is not None
    assert again.opened.killed
    assert set(again.store.unanswered) == {5}
    await again.store.close_files()
