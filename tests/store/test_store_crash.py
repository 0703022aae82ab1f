"""The process, or the power, is gone at any step of a run that compacts its checkpoint: a resume ends it right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from storekit import JOBS, Files, InlineFile, put_all, readable, resume, whole
from watched import Disk, Snapshot

from batchproc.store import index, journal, results

ARRIVALS = [3, 1, 0, 2, 5, 9, 8, 7, 11, 10, 4, 6]


@pytest.fixture
def disk(files: Files, hasty: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk that is watched; writes are torn into pieces, and the checkpoint is compacted as often as can be."""
    monkeypatch.setattr(results, "SYNC_S", 0)
    monkeypatch.setattr(journal, "COMPACT_BYTES", 300)
    monkeypatch.setattr(index, "_FEW", 1)
    write = InlineFile.write

    async def torn(self: InlineFile, data: memoryview) -> int:
        return await write(self, data[:211])

    monkeypatch.setattr(InlineFile, "write", torn)
    with monkeypatch.context() as patch:
        yield Disk(files.folder, patch)


async def check(snapshot: Snapshot, folder: Path) -> None:
    """Resume from a snapshot in a folder of its own."""
    folder.mkdir(exist_ok=True)
    files = Files(folder)
    files.write(snapshot.get("o"), snapshot.get("c"))
    for name in snapshot.keys() - {"o", "c"}:
        (folder / name).write_bytes(snapshot[name])
    there = readable(snapshot.get("o", b""), snapshot.get("c", b""))
    asked, _ = await resume(files)
    assert files.output.read_bytes() == whole()
    assert not there & set(asked)
    assert sorted(n for n in os.listdir(folder) if not n.endswith(".damaged")) == ["c", "o"]


async def test_killed_at_every_step(files: Files, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two changes of a file the process may die: nothing that was written is lost or asked again."""
    await put_all(await files.open(), ARRIVALS, done=True)
    snapshots = list(disk.killed)
    monkeypatch.undo()
    assert any(name == "replace" for name, _ in disk.calls), "the compaction is among the steps"
    assert len(snapshots) > 50
    for snapshot in snapshots:
        await check(snapshot, files.folder / "resumed")


async def test_power_lost_at_every_step(files: Files, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What once was on the disk stays there: no record goes before the output that holds it is durable."""
    await put_all(await files.open(), ARRIVALS, done=True)
    snapshots = list(disk.cut_off)
    monkeypatch.undo()
    safe: set[int] = set()
    for snapshot in snapshots:
        there = readable(snapshot.get("o", b""), snapshot.get("c", b""))
        assert safe <= there
        safe = there
        await check(snapshot, files.folder / "resumed")
    assert safe == set(range(JOBS))


async def test_order_of_fsyncs(files: Files, disk: Disk) -> None:
    """The output is durable before the mark that speaks of it is written, and the mark durable after."""
    await put_all(await files.open(), [0, 1, 2], done=True)
    synced = len(disk.calls) - 1 - disk.calls[::-1].index(("fsync", "o"))
    last = disk.calls[synced + 1 :]
    assert set(last[:-1]) == {("write", "c")}
    assert last[-1] == ("fsync", "c")


async def test_a_new_name_is_made_durable(files: Files, disk: Disk) -> None:
    """A rename is preceded by an fsync of the file and followed by one of the folder."""
    await put_all(await files.open(), ARRIVALS, done=True)
    at = [n for n, call in enumerate(disk.calls) if call[0] == "replace"]
    assert at
    for before, n in zip([0, *at], at, strict=False):
        assert ("fsync", "c.compact") in disk.calls[before:n]
        assert ("fsync", files.folder.name) in disk.calls[n:]


async def test_killed_while_mending(files: Files, hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resume that mends a damaged output may be killed as well: what it cuts off is safe elsewhere before."""
    await put_all(await files.open(), ARRIVALS, done=True)
    output, checkpoint = files.read()
    assert output is not None
    assert checkpoint is not None
    lines = output.splitlines(keepends=True)
    lines[3] = b"rubbish\n"
    files.write(b"".join(lines), checkpoint)
    with monkeypatch.context() as patch:
        disk = Disk(files.folder, patch)
        asked, _ = await resume(files)
    assert asked == [] or asked == [3]
    for snapshot in disk.killed:
        kept = {name: data for name, data in snapshot.items() if name in ("o", "c")}
        await check(kept, files.folder / "resumed")
