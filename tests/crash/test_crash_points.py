"""The process dies at each durable step, on purpose: write, fsync, rename, compaction, mend, finish, adopt, retry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from bent import DIED, start
from damage import saved_in
from program import Program, batch, chats, results, write_jobs
from servers import Simulator, sha_of

JOBS = 40
AGAIN = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Answers in any order, and keeps a ledger."""
    made = Simulator(tmp_path_factory.mktemp("server") / "ledger", latency="0-0.06")
    yield made
    made.stop()


class Place:
    """A folder with its files, and runs that die in it."""

    def __init__(self, folder: Path, server: Simulator) -> None:
        self.folder, self.server = folder, server
        (folder / "log").mkdir()
        self.program = Program(folder, folder / "log")
        self.output, self.checkpoint = folder / "out.jsonl", folder / "out.jsonl.ckpt"

    def options(self, marker: str) -> list[str]:
        """Of a command that sends; `marker` is how the ledger knows its requests."""
        mark = f"x-marker={self.folder.name}-{marker}"
        return ["--base-url", self.server.url, "--concurrency", "10", "--header", mark, "--progress", "plain"]

    def dies(self, call: str, file: str, at: int, die: str, *words: str, again: int = 0) -> None:
        """Run a command that must die there. One that did not is tried `again`, in a folder without its files.

        How much is written in one go, and so how often, is a matter of speed.
        """
        done = start(self.program, [{"call": call, "file": file, "at": at, "die": die}], *words).wait()
        if done.code != DIED and again:
            for path in self.folder.glob("out*"):
                path.unlink()
            self.dies(call, file, at, die, *words, again=again - 1)
            return
        assert done.code == DIED, f"{call} {file} was never reached: {done.code} {done.err}"

    def saved(self) -> set[int]:
        """What is readable now."""
        files = (self.output, self.checkpoint)
        return saved_in(*(p.read_bytes() if p.exists() else b"" for p in files))

    def asked(self, marker: str) -> list[str]:
        """The bodies sent under this marker, by their SHA."""
        return [e["sha"] for e in self.server.ledger(f"{self.folder.name}-{marker}")]


@pytest.fixture
def place(tmp_path: Path, server: Simulator) -> Place:
    """An empty folder beside the server."""
    return Place(tmp_path, server)


RUN = [
    ("write", ".ckpt", 0, "before"),  # the header
    ("write", ".ckpt", 0, "half"),
    ("fsync", ".ckpt", 0, "before"),
    ("fsync", ".ckpt", 0, "after"),  # the header is durable, there is no output
    ("write", "out.jsonl", 0, "before"),
    ("write", "out.jsonl", 1, "half"),
    ("write", "out.jsonl", 2, "after"),
    ("write", ".ckpt", 4, "half"),
    ("fsync", "out.jsonl", 1, "before"),
    ("fsync", "out.jsonl", 1, "after"),  # the mark that speaks of it is not written
    ("fsync", ".ckpt", 2, "before"),
    ("write", ".compact", 0, "before"),
    ("write", ".compact", 0, "half"),
    ("fsync", ".compact", 0, "before"),
    ("replace", ".ckpt", 0, "before"),
    ("replace", ".ckpt", 0, "after"),  # the folder is not durable
    ("fsync", "/", 3, "after"),
]


@pytest.mark.parametrize(
    ("call", "file", "at", "die"), RUN, ids=["-".join(map(str, p)).replace("/", "folder") for p in RUN]
)
def test_a_run(place: Place, call: str, file: str, at: int, die: str) -> None:
    """The run is dead at that instant: the same command ends it, and asks nothing again that can be read."""
    chats(place.folder / "jobs.jsonl", JOBS)
    words = ["run", "jobs.jsonl", "-o", "out.jsonl"]
    place.dies(call, file, at, die, *words, *place.options("1"), again=AGAIN)
    saved = place.saved()
    done = place.program.run(*words, *place.options("2"))
    assert done.code == 0, done.err
    assert [line["error"] for line in results(place.output)] == [None] * JOBS
    assert len(place.asked("2")) == JOBS - len(saved)
    assert sorted(p.name for p in place.folder.glob("out*")) == ["out.jsonl", "out.jsonl.ckpt"]


MEND = [
    ("truncate", "out.jsonl", 0, "before"),
    ("truncate", "out.jsonl", 0, "after"),
    ("fsync", ".damaged", 0, "after"),
]


@pytest.mark.parametrize(("call", "file", "at", "die"), MEND, ids=["-".join(map(str, p)) for p in MEND])
def test_mending(place: Place, call: str, file: str, at: int, die: str) -> None:
    """The resume that mends a damaged output dies too: the next one ends it, and only the damaged line is asked,
    unless its answer is still in the checkpoint."""
    chats(place.folder / "jobs.jsonl", JOBS)
    words = ["run", "jobs.jsonl", "-o", "out.jsonl"]
    assert place.program.run(*words, *place.options("1")).code == 0
    lines = place.output.read_bytes().split(b"\n")
    lines[7] = lines[7][:40] + b"#" + lines[7][41:]
    place.output.write_bytes(b"\n".join(lines))
    waited = 7 in saved_in(b"", place.checkpoint.read_bytes())  # its answer came early: the checkpoint still has it
    place.dies(call, file, at, die, *words, *place.options("2"))
    done = place.program.run(*words, *place.options("3"))
    assert done.code == 0, done.err
    assert [line["error"] for line in results(place.output)] == [None] * JOBS
    assert len(place.asked("2") + place.asked("3")) == (0 if waited else 1)


FINISH = [
    ("write", "out.jsonl", 0, "half"),
    ("write", ".ckpt", 0, "after"),
    ("fsync", "out.jsonl", 0, "before"),
    ("fsync", ".ckpt", 0, "after"),
]


@pytest.mark.parametrize(("call", "file", "at", "die"), FINISH, ids=["-".join(map(str, p)) for p in FINISH])
def test_finish(place: Place, call: str, file: str, at: int, die: str) -> None:
    """`finish` dies: the same command closes the run, and every answer that was there is in the file."""
    chats(place.folder / "jobs.jsonl", JOBS)
    words = ["run", "jobs.jsonl", "-o", "out.jsonl"]
    place.dies("write", "out.jsonl", 2, "half", *words, *place.options("1"), again=AGAIN)
    saved = place.saved()
    assert len(saved) < JOBS
    place.dies(call, file, at, die, "finish", "out.jsonl", "--yes")
    closed = place.program.run("finish", "out.jsonl", "--yes")
    assert closed.code == 3, closed.err
    lines = results(place.output)
    assert len(lines) == JOBS
    assert {k for k, line in enumerate(lines) if line["error"] is None} == saved


ADOPT = [("fsync", ".adopt", 0, "before"), ("replace", ".ckpt", 0, "before"), ("replace", ".ckpt", 0, "after")]


@pytest.mark.parametrize(("call", "file", "at", "die"), ADOPT, ids=["-".join(map(str, p)) for p in ADOPT])
def test_adopt(place: Place, call: str, file: str, at: int, die: str) -> None:
    """Adopting dies: the checkpoint is there whole or not at all; the same command ends it, and asks nothing again."""
    chats(place.folder / "jobs.jsonl", JOBS)
    words = ["run", "jobs.jsonl", "-o", "out.jsonl"]
    assert place.program.run(*words, *place.options("1"), "--limit", "25").code == 0
    place.checkpoint.unlink()
    place.dies(call, file, at, die, *words, *place.options("2"), "--adopt")
    assert place.checkpoint.exists() == (die == "after")
    done = place.program.run(*words, *place.options("3"), "--adopt")
    assert done.code == 0, done.err
    assert [line["error"] for line in results(place.output)] == [None] * JOBS
    assert len(place.asked("2") + place.asked("3")) == JOBS - 25


RETRY = [
    ("write", ".ckpt", 0, "half"),  # the note that a retry begins
    ("write", ".ckpt", 3, "half"),
    ("write", ".retry", 0, "half"),
    ("fsync", ".retry", 0, "before"),
    ("replace", "out.jsonl", 0, "before"),
    ("replace", "out.jsonl", 0, "after"),
    ("fsync", "/", 0, "after"),
]


def _missing(custom_id: str, there: bool) -> dict[str, object]:
    model = "gpt-4o-mini" if there else "no-such-model"
    job = batch(custom_id, custom_id)
    job["body"]["model"] = model
    return job


@pytest.mark.parametrize(
    ("call", "file", "at", "die"), RETRY, ids=["-".join(map(str, p)).replace("/", "folder") for p in RETRY]
)
def test_retry(tmp_path: Path, call: str, file: str, at: int, die: str) -> None:
    """A retry dies anywhere: the same command ends it; good lines stay as they are, new answers are not asked twice."""
    made = Simulator(tmp_path / "ledger", latency="0-0.03", models=("gpt-4o-mini",))
    try:
        (tmp_path / "p").mkdir()
        place = Place(tmp_path / "p", made)
        jobs = place.folder / "jobs.jsonl"
        write_jobs(jobs, (_missing(f"c{k}", k % 3 > 0) for k in range(JOBS)))
        assert place.program.run("run", "jobs.jsonl", "-o", "out.jsonl", *place.options("1")).code == 3
        before = place.output.read_bytes().split(b"\n")
        write_jobs(jobs, (_missing(f"c{k}", True) for k in range(JOBS)))  # corrected
        place.dies(call, file, at, die, "retry", "out.jsonl", *place.options("2"))
        done = place.program.run("retry", "out.jsonl", *place.options("3"))
        assert done.code == 0, done.err
        after = place.output.read_bytes().split(b"\n")
        for k, (old, new) in enumerate(zip(before[:-1], after[:-1], strict=True)):
            if k % 3:
                assert new == old
            else:
                assert re.search(rb'"error": null', new)
        again = set(place.asked("2")) & set(place.asked("3"))
        assert len(again) <= 10, "more than was in flight"
        if file in (".retry", "out.jsonl", "/"):  # everything was answered by then
            assert not place.asked("3")
        bodies = {sha_of(_missing(f"c{k}", True)["body"]) for k in range(0, JOBS, 3)}  # type: ignore[arg-type]
        assert set(place.asked("2")) | set(place.asked("3")) == bodies
    finally:
        made.stop()
