"""The table of contents in a checkpoint: with it a resume reads the same as without, whatever was damaged."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from storekit import FAILED, Files, put_all, readable, resume, whole

from batchproc.store import count as counting
from batchproc.store import index, journal, results, scan
from batchproc.store.count import count
from batchproc.store.recover import recover
from batchproc.store.scan import read_marks

JOBS = 40
ARRIVALS = [k for k in range(JOBS - 4) if k not in (9, 25)]
LONG = os.environ.get("BATCHPROC_LONG") == "1"
pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index with each mark, marks as often as can be."""
    monkeypatch.setattr(index, "_FEW", 2)
    monkeypatch.setattr(results, "SYNC_S", 0)


def seen(files: Files) -> dict[str, Any]:
    """Everything that a resume, and `status`, take from the files."""
    had = recover(str(files.output), str(files.checkpoint))
    marks = read_marks(str(files.checkpoint), sums=True)
    counted = count(str(files.output), str(files.checkpoint), marks)
    return {
        "order": (had.order.next_index, had.order.waiting, had.order.items()),
        "totals": had.totals,
        "sizes": (had.output_size, had.checkpoint_size),
        "unanswered": had.unanswered,
        "recent": had.recent.groups(0),
        "digests": [had.digests.pop(i) for i in range(JOBS)],
        "salvaged": had.salvaged,
        "notes": had.notes,
        "marks": (marks.last, marks.sums.text(JOBS), marks.told),
        "counted": counted,
    }


def without_index(files: Files, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The same, every record read by itself."""
    with monkeypatch.context() as patch:
        for module in (scan, counting):
            patch.setattr(module, "read_indices", lambda path: ([], -1))
        return seen(files)


async def run_twice(files: Files) -> tuple[bytes, bytes]:
    """The files of two runs that were stopped, with results that wait behind the jobs 9 and 25."""
    rng = random.Random(5)
    arrivals = rng.sample(ARRIVALS, len(ARRIVALS))
    await put_all(await files.open(), arrivals[:20], done=False)
    await put_all(await files.open(), arrivals[20:], done=False)
    output, checkpoint = files.read()
    assert output is not None
    assert checkpoint is not None
    return output, checkpoint


async def test_the_same_with_and_without(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undamaged, the indices cover both runs, and say what the records say."""
    await run_twice(files)
    indices, last = index.read_indices(str(files.checkpoint))
    assert len(indices) > 2
    assert last > 0
    assert sum(i.totals.succeeded + i.totals.failed for i in indices) > 10
    had = seen(files)
    assert had["order"][1] > 5
    assert FAILED < 9
    assert had == without_index(files, monkeypatch)


async def test_damage_is_seen_all_the_same(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit anywhere in the checkpoint: no record is believed that reading it by itself would not believe."""
    output, checkpoint = await run_twice(files)
    for at in range(0, len(checkpoint), 7 if LONG else 127):
        if checkpoint[at] == ord("\n"):
            continue  # the record behind it is whole: an index finds it all the same
        hit = checkpoint[:at] + bytes([checkpoint[at] ^ 1]) + checkpoint[at + 1 :]
        files.write(output, hit)
        with_it, by_itself = seen(files), without_index(files, monkeypatch)
        with_it.pop("counted")  # status only looks
        by_itself.pop("counted")
        assert with_it == by_itself, at


async def test_a_resume_from_it(files: Files) -> None:
    """The run that resumes by an index writes the same output as one that was never stopped."""
    output, checkpoint = await run_twice(files)
    there = readable(output, checkpoint, JOBS)
    asked, _ = await resume(files, jobs=JOBS)
    assert not there & set(asked)
    assert files.output.read_bytes() == whole(JOBS)


async def test_torn_and_forged(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torn index at the end, or an answer that looks like one, is passed over: the one before counts."""
    output, checkpoint = await run_twice(files)
    _, last = index.read_indices(str(files.checkpoint))
    line = checkpoint[last:].split(b"\n")[0]
    for tail in (line[: len(line) // 2], line + b"}\n", b'{"crc":"00000000","kind":"index",}\n'):
        files.write(output, checkpoint + tail)
        assert index.read_indices(str(files.checkpoint))[1] == last
        assert seen(files) == without_index(files, monkeypatch)


async def test_an_empty_checkpoint_is_not_compacted_early(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that wait are alive from the first one on: a checkpoint of nothing else is never rewritten."""
    monkeypatch.setattr(journal, "COMPACT_BYTES", 100)
    compacted: list[int] = []
    monkeypatch.setattr(results.ResultStore, "_compact", lambda self: compacted.append(1))
    await put_all(await files.open(), range(1, JOBS), done=False, size=500)
    assert not compacted


async def test_one_that_was_copied_elsewhere(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction copies what was appended meanwhile, an index perhaps: what it says of places holds no longer."""
    output, checkpoint = await run_twice(files)
    lines = checkpoint.split(b"\n")
    for moved in (b"\n".join(lines[:2] + lines), b"\n".join(lines[:3] + lines[4:])):
        files.write(output, moved)
        assert index.read_indices(str(files.checkpoint)) == ([], -1)
        assert seen(files) == without_index(files, monkeypatch)
