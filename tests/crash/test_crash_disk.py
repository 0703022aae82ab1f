"""The disk misbehaves while answers are in flight: nothing new is sent, what comes is saved where there is room."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bent import start
from damage import durable_output, saved_in
from program import Finished, Program, Running, chats, results, wait_until
from servers import Simulator

from batchproc.errors import UsageError
from batchproc.store.input import open_input
from batchproc.store.lines import read_lines

JOBS = 60
IN_FLIGHT = 8
LATENCY_S = 0.2
SLOW_S = 3.0


class Place:
    """A folder with jobs, a server whose answers take a while, and runs on a bent disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        (folder / "log").mkdir()
        self.program = Program(self.folder, folder / "log")
        self.server = Simulator(folder / "ledger", latency=str(LATENCY_S))
        self.output, self.checkpoint = self.folder / "out.jsonl", self.folder / "out.jsonl.ckpt"
        self.jobs = chats(self.folder / "jobs.jsonl", JOBS)

    def words(self, marker: str, in_flight: int = IN_FLIGHT) -> list[str]:
        """A run's command line."""
        options = ["--concurrency", str(in_flight), "--header", f"x-marker={marker}", "--progress", "plain"]
        return ["run", "jobs.jsonl", "-o", "out.jsonl", "--base-url", self.server.url, *options]

    def start(self, *faults: dict[str, Any]) -> Running:
        """Start a run on a disk with these faults; its checkpoint is not compacted."""
        return start(self.program, [{**f, "at_speed": True} for f in faults], *self.words("1"))

    def bent(self, *faults: dict[str, Any]) -> Finished:
        """Run on a disk with these faults, to its end."""
        return self.start(*faults).wait()

    def saved(self) -> set[int]:
        """What is readable now."""
        return saved_in(*(p.read_bytes() if p.exists() else b"" for p in (self.output, self.checkpoint)))

    def ends(self, saved: set[int]) -> None:
        """The disk is mended: the same command ends the run, and sends only what was not saved."""
        done = self.program.run(*self.words("2"))
        assert done.code == 0, done.err
        assert [line["error"] for line in results(self.output)] == [None] * JOBS
        assert len(self.server.ledger("2")) == JOBS - len(saved)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty folder and a server."""
    made = Place(tmp_path)
    yield made
    made.program.stop_all()
    made.server.stop()


def check_said(done: Finished, *words: str) -> None:
    """Exit 7, what and where, without a traceback."""
    assert done.code == 7, done.err
    for word in ("error:", "hint:", *words):
        assert word in done.err, done.err
    assert "Traceback" not in done.err


FULL = [(errno.ENOSPC, 0), (errno.ENOSPC, 300), (errno.EDQUOT, 0), (errno.EIO, 0), (errno.EROFS, 0)]


@pytest.mark.parametrize(("code", "room"), FULL, ids=[f"{errno.errorcode[code]}-{room}" for code, room in FULL])
def test_the_output_takes_nothing(place: Place, code: int, room: int) -> None:
    """The checkpoint still can be written: every answer in flight is awaited and saved there, nothing new is sent."""
    done = place.bent({"call": "write", "file": "out.jsonl", "at": 1, "errno": code, "room": room})
    check_said(done, "out.jsonl", os.strerror(code))
    saved = place.saved()
    assert len(saved) == len(place.server.ledger("1")), "an answer that was paid for is gone"
    assert len(saved) < JOBS, "it went on sending"
    assert "could not be saved" not in done.err
    place.ends(saved)


def test_the_checkpoint_takes_nothing(place: Place) -> None:
    """The output still can be written: answers whose turn it is go there; the others are counted as lost."""
    done = place.bent({"call": "write", "file": ".ckpt", "at": 3, "errno": errno.ENOSPC})
    check_said(done, ".ckpt")
    saved = place.saved()
    lost = len(place.server.ledger("1")) - len(saved)
    assert saved == set(range(len(saved)))
    assert (f"{lost} answer" in done.err) == (lost > 0), done.err
    place.ends(saved)


def test_nothing_takes_anything(place: Place) -> None:
    """What was paid for and could be put nowhere is said, with its number; then the run goes on where it was."""
    faults = [{"call": "write", "file": name, "at": 3, "errno": errno.ENOSPC} for name in ("out.jsonl", ".ckpt")]
    done = place.bent(*faults)
    check_said(done, "No space left")
    saved = place.saved()
    lost = len(place.server.ledger("1")) - len(saved)
    assert lost > 0
    assert f"{lost} answers that had come could not be saved" in done.err
    assert f"{len(saved)} succeeded" in done.err
    place.ends(saved)


def test_room_again_while_it_waits(place: Place) -> None:
    """Somebody makes room while the last answers are awaited: they are saved after all."""
    flag = place.folder / "room"
    fault = {"at": 3, "errno": errno.ENOSPC, "call": "write", "until": str(flag)}
    running = place.start({**fault, "file": "out.jsonl"}, {**fault, "file": ".ckpt"})
    running.said("No space left")
    flag.touch()
    done = running.wait()
    assert done.code == 7, done.err
    saved = place.saved()
    assert len(saved) == len(place.server.ledger("1")), done.err
    place.ends(saved)


@pytest.mark.parametrize("name", ["out.jsonl", ".ckpt"])
def test_a_failing_fsync(place: Place, name: str) -> None:
    """EIO on fsync ends the run as well; what was in flight is saved."""
    done = place.bent({"call": "fsync", "file": name, "at": 1, "errno": errno.EIO})
    check_said(done, name, "syncing")
    saved = place.saved()
    assert len(saved) == len(place.server.ledger("1"))
    place.ends(saved)


@pytest.mark.parametrize("heals", [False, True], ids=["for good", "once"])
def test_what_a_failed_fsync_may_have_lost(place: Place, heals: bool) -> None:
    """The system forgets what it could not write, and the next fsync says that all is well. So the lines since the
    last mark go to the checkpoint, and are cut off the output once they are durable there."""
    flag = place.folder / "well again"
    fault = {"call": "fsync", "file": "out.jsonl", "at": 1, "errno": errno.EIO, "until": str(flag) if heals else ""}
    running = place.start(fault)
    if heals:
        running.said("syncing")
        flag.touch()
    done = running.wait()
    assert done.code == 7, done.err
    durable = durable_output(place.checkpoint)
    assert durable > 0
    assert place.output.stat().st_size == durable, "the output has lines that no fsync has written"
    saved = place.saved()
    assert len(saved) == len(place.server.ledger("1"))
    place.ends(saved)


def test_both_fail_to_sync(place: Place) -> None:
    """Where the checkpoint cannot be made durable either, nothing is cut off: each answer is at least in one file."""
    faults = [{"call": "fsync", "file": f, "at": n, "errno": errno.EIO} for f, n in (("out.jsonl", 1), (".ckpt", 2))]
    done = place.bent(*faults)
    check_said(done, "syncing")
    assert place.output.stat().st_size > durable_output(place.checkpoint)
    saved = place.saved()
    assert len(saved) == len(place.server.ledger("1"))
    place.ends(saved)


def test_a_slow_fsync(place: Place) -> None:
    """An fsync of seconds holds nothing up: the run ends well, and requests went out all the time."""
    done = place.bent({"call": "fsync", "file": "out.jsonl", "slow_s": SLOW_S})
    assert done.code == 0, done.err
    sent = [entry["time"] for entry in place.server.ledger()]
    assert max(b - a for a, b in pairwise(sent)) < SLOW_S, "nothing was sent during an fsync"
    assert place.saved() == set(range(JOBS))


def _when_begun(place: Place, change: Any) -> None:
    wait_until("the first lines", lambda: place.output.exists() and place.output.stat().st_size > 0)
    change()


def test_the_output_is_removed(place: Place) -> None:
    """Somebody removes the output of a run: it stops, puts the file back, and loses nothing."""
    running = place.program.start(*place.words("1", in_flight=2))
    _when_begun(place, place.output.unlink)
    done = running.wait()
    check_said(done, "out.jsonl", "removed")
    saved = place.saved()
    assert len(saved) == len(place.server.ledger("1"))
    place.ends(saved)


def test_the_folder_is_removed(tmp_path: Path) -> None:
    """The whole folder of the output is removed: the run stops, and says that the answers are gone with it."""
    place = Place(tmp_path)
    try:
        inner = place.folder / "inner"
        inner.mkdir()
        words = place.words("1", in_flight=2)
        words[words.index("out.jsonl")] = "inner/out.jsonl"
        running = place.program.start(*words)
        wait_until("the first lines", lambda: (inner / "out.jsonl").exists() and (inner / "out.jsonl").stat().st_size)
        shutil.rmtree(inner)
        done = running.wait()
        check_said(done, "inner/out.jsonl", "removed")
        assert len(place.server.ledger("1")) < JOBS
    finally:
        place.program.stop_all()
        place.server.stop()


# --- the input ---------------------------------------------------------------------------------------------------


def test_the_input_is_deleted(place: Place) -> None:
    """Who has it open reads on."""
    running = place.program.start(*place.words("1", in_flight=2))
    _when_begun(place, place.jobs.unlink)
    assert running.wait().code == 0
    assert place.saved() == set(range(JOBS))


async def test_the_input_is_cut(tmp_path: Path) -> None:
    """It becomes shorter than it was: half a line is not taken for a job."""
    jobs = chats(tmp_path / "jobs.jsonl", 40_000)
    opened = await open_input(str(jobs))
    try:
        lines = read_lines(opened.blocks)
        assert await anext(lines)
        os.truncate(jobs, jobs.stat().st_size - 10)
        with pytest.raises(UsageError, match="shorter"):
            async for _ in lines:
                pass
    finally:
        await opened.blocks.close()


@pytest.mark.parametrize(("more", "whole"), [(b'{"a":1}\n', True), (b'{"a":1}\n{"a', False)])
async def test_the_input_grows(tmp_path: Path, more: bytes, whole: bool) -> None:
    """Whole lines that are added meanwhile are read; half a line at the end is not taken for a job."""
    jobs = chats(tmp_path / "jobs.jsonl", 40_000)
    opened = await open_input(str(jobs))
    count = 0
    try:
        lines = read_lines(opened.blocks)
        count += len(await anext(lines))
        with jobs.open("ab") as f:
            f.write(more)
        with nullcontext() if whole else pytest.raises(UsageError, match="grows"):
            async for batch in lines:
                count += len(batch)
    finally:
        await opened.blocks.close()
    assert count >= 40_000 + whole
