"""`run --adopt`: an output whose checkpoint is gone is taken over if every line answers its job, else refused."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, chat, chats, check_chats, write_jobs
from servers import Simulator

OUTPUT = "jobs.results.jsonl"


@pytest.fixture
def orphan(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> Simulator:
    """Thirty jobs, of which twenty are answered, and no checkpoint."""
    server = simulator()
    chats(folder / "jobs.jsonl", 30)
    assert program.run("run", "jobs.jsonl", "--base-url", server.url, "--limit", "20").code == 0
    os.unlink(folder / f"{OUTPUT}.ckpt")
    return server


@pytest.mark.parametrize("jobs", ["jobs.jsonl", "jobs.jsonl.gz"])
def test_going_on(program: Program, folder: Path, orphan: Simulator, jobs: str) -> None:
    """The lines stay as they are, what is missing is asked; the same command again has nothing to do."""
    if jobs.endswith(".gz"):
        (folder / jobs).write_bytes(gzip.compress((folder / "jobs.jsonl").read_bytes()))
    before = (folder / OUTPUT).read_bytes()
    command = ("run", jobs, "--base-url", orphan.url, "--adopt")
    done = program.run(*command)
    assert done.code == 0, done.err
    assert "20 lines" in done.err
    assert (folder / OUTPUT).read_bytes().startswith(before)
    check_chats(folder / OUTPUT, 30)
    assert len(orphan.ledger()) == 30
    again = program.run(*command)
    assert again.code == 0
    assert "nothing to do" in again.err
    assert program.run("status", OUTPUT).code == 0


def test_a_torn_end(program: Program, folder: Path, orphan: Simulator) -> None:
    """What a killed run leaves at the end is cut and asked again; a last line without its newline is kept."""
    whole = (folder / OUTPUT).read_bytes()
    command = ("run", "jobs.jsonl", "--base-url", orphan.url, "--adopt")
    (folder / OUTPUT).write_bytes(whole[:-30])
    assert program.run(*command, "--limit", "20").code == 0
    assert len(orphan.ledger()) == 21
    os.unlink(folder / f"{OUTPUT}.ckpt")
    (folder / OUTPUT).write_bytes(whole[:-1])
    assert program.run(*command).code == 0
    check_chats(folder / OUTPUT, 30)
    assert len(orphan.ledger()) == 31


def _moved(lines: list[bytes]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def _renamed(lines: list[bytes]) -> None:
    lines[4] = lines[4].replace(b'"custom_id": "request-4"', b'"custom_id": "mine"')


def _foreign(lines: list[bytes]) -> None:
    lines[4] = lines[4].replace(b'"id": "batch_req_', b'"id": "batch_', 1)


def _shapeless(lines: list[bytes]) -> None:
    document = json.loads(lines[4])
    lines[4] = json.dumps(document | {"response": None, "error": None}).encode() + b"\n"


def _rubbish(lines: list[bytes]) -> None:
    lines[4] = b"rubbish\n"


@pytest.mark.parametrize("spoil", [_moved, _renamed, _foreign, _shapeless, _rubbish])
def test_a_line_that_does_not_fit(
    program: Program, folder: Path, orphan: Simulator, spoil: Callable[[list[bytes]], None]
) -> None:
    """Exit 6, naming the first line that does not fit; nothing is written or sent."""
    lines = (folder / OUTPUT).read_bytes().splitlines(keepends=True)
    spoil(lines)
    (folder / OUTPUT).write_bytes(b"".join(lines))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    done = program.run("run", "jobs.jsonl", "--base-url", orphan.url, "--adopt")
    assert done.code == 6, done.err
    assert "line 5 of" in done.err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert len(orphan.ledger()) == 20


def test_other_jobs(program: Program, folder: Path, orphan: Simulator) -> None:
    """A job that reads differently now, and an input that is shorter than the output, are refused."""
    jobs = [chat(f"job {k}") for k in range(30)]
    write_jobs(folder / "jobs.jsonl", [*jobs[:7], chat("other"), *jobs[8:]])
    command = ("run", "jobs.jsonl", "--base-url", orphan.url, "--adopt")
    done = program.run(*command)
    assert done.code == 6, done.err
    assert "line 8 of" in done.err
    write_jobs(folder / "jobs.jsonl", jobs[:12])
    done = program.run(*command)
    assert done.code == 6, done.err
    assert "line 13 of" in done.err
    assert len(orphan.ledger()) == 20


def test_where_there_is_nothing_to_adopt(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Without an output it is an ordinary run: the same command line serves first and last."""
    server = simulator()
    chats(folder / "jobs.jsonl", 5)
    assert program.run("run", "jobs.jsonl", "--base-url", server.url, "--adopt").code == 0
    check_chats(folder / OUTPUT, 5)
    pipe = program.run("run", "-", "-o", OUTPUT, "--base-url", server.url, "--adopt", "--fresh", "--yes")
    assert pipe.code == 2
