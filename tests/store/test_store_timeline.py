"""The time line in the checkpoint: kept by a resume and a compaction, and never believed where it is damaged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storekit import IDENTITY, JOBS, Files, put_all, resume, whole

from batchproc.core.timeline import Bucket, ModelPart, TimeLine
from batchproc.store import journal, results, timeline
from batchproc.store.checkpoint import Header, header_records
from batchproc.store.files import AppendFile
from batchproc.store.timeline import KeptTimeLine, read_timeline, time_record, timeline_records

AT = 1_700_000_000


def second(k: int, sent: int = 1) -> Bucket:
    """A second in which so many requests were sent."""
    return Bucket(AT + k, seconds=1.0, models={"m": ModelPart(sent=sent)}, limits={"m": {"requests per minute": 60.0}})


def read(path: Path, *, start: int = 0) -> TimeLine:
    """The time line in a file."""
    found = TimeLine()
    with path.open("rb") as f:
        read_timeline(f.fileno(), found, start)
    return found


def sent(found: TimeLine) -> int:
    """The requests in it."""
    return sum(part.sent for bucket in found.ordered() for part in bucket.models.values())


@pytest.mark.parametrize("block", [1 << 20, 50, 333])
def test_it_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Among other records, over the borders of blocks, in several widths; also as the records of a compaction."""
    monkeypatch.setattr(timeline, "_BLOCK", block)
    path = tmp_path / "c"
    filler = header_records(Header(dict(IDENTITY))) + b'{"kind":"time"}\n' + b"x" * 700 + b"\n"
    path.write_bytes(filler.join([time_record(1, [second(k), second(k + 1)]) for k in (0, 2, 4)]) + filler)
    found = read(path)
    assert (found.width, [b.at for b in found.ordered()], sent(found)) == (1, [AT + k for k in range(6)], 6)
    with path.open("ab") as f:
        f.write(time_record(4, [second(100, 5)]) + time_record(3, [second(200)]))
    found = read(path)
    assert (found.width, sent(found)) == (4, 11), "a width that no batchproc writes is passed over"
    again = tmp_path / "again"
    again.write_bytes(timeline_records(found))
    assert read(again).buckets == found.buckets


def test_damage_at_every_byte(tmp_path: Path) -> None:
    """A record that is torn or altered is left out; the others count."""
    data = b"".join(time_record(1, [second(k)]) for k in range(3))
    path = tmp_path / "c"
    for at in range(len(data)):
        path.write_bytes(data[:at])
        assert sent(read(path)) == data[:at].count(b"\n")
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert sent(read(path)) in (1, 2), "a newline that is hit costs two"


def test_what_a_newer_batchproc_writes(tmp_path: Path) -> None:
    """Fields that are not known are passed over, and so are records that cannot be read."""
    path = tmp_path / "c"
    path.write_bytes(
        timeline.seal(b'"kind":"time","width":1,"buckets":[{"at":5,"seconds":1,"novel":[1]}]')
        + timeline.seal(b'"kind":"time","width":"wide"')
    )
    assert read(path).whole().seconds == 1


@pytest.mark.usefixtures("hasty")
async def test_a_compaction_keeps_it(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several runs, with the checkpoint rewritten as often as can be, no second is lost or counted twice."""
    monkeypatch.setattr(results, "SYNC_S", 0)
    monkeypatch.setattr(journal, "COMPACT_BYTES", 100)
    opened = await files.open()
    opened.store.notes.add(time_record(1, [second(k) for k in range(5)]))
    await put_all(opened, [2, 1, 0, 4], done=False)
    opened = await files.open()
    for k in range(5, 10):
        opened.store.notes.add(time_record(1, [second(k)]))
    await put_all(opened, [7, 3, 5, 6], done=False)
    assert [b.at for b in read(files.checkpoint).ordered()] == [AT + k for k in range(10)]
    assert sent(read(files.checkpoint)) == 10
    await resume(files)
    assert files.output.read_bytes() == whole(JOBS)
    assert sent(read(files.checkpoint)) == 10


async def test_what_a_compaction_keeps_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is: else a compacted checkpoint would be worth compacting again at once, for ever."""
    path = tmp_path / "c"
    path.write_bytes(b"".join(time_record(1, [second(k)]) for k in range(400)))
    whole_size = path.stat().st_size
    with ThreadPoolExecutor(1) as executor:
        file = await AppendFile.open(str(path), executor)
        kept = await KeptTimeLine.of(file)
        monkeypatch.setattr(timeline, "_KEPT", whole_size // 10)
        records = kept.rest()
        await file.close()
    assert len(records) <= whole_size // 10
    path.write_bytes(records)
    assert sent(read(path)) == 400
