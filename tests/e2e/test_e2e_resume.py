"""The same command again: it goes on where it stopped, and a finished run has nothing to do."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, Running, chat, chats, check_chats, results, write_jobs
from servers import Simulator


def interrupted(program: Program, server: Simulator, *command: str, after: int = 12) -> Running:
    """Start a run and interrupt it after some requests; it must not have finished."""
    running = program.start(*command, "--concurrency", "4")
    server.received(after)
    running.kill(signal.SIGINT)
    assert running.wait().code == 130, running.err()
    return running


def shas(server: Simulator) -> list[str]:
    """The bodies received, one for each request."""
    return [entry["sha"] for entry in server.ledger()]


@pytest.mark.parametrize(("faults", "code"), [((), 0), (("400=20%",), 3)], ids=["good", "failures"])
def test_a_finished_run_does_nothing(
    program: Program, folder: Path, simulator: Callable[..., Simulator], faults: tuple[str, ...], code: int
) -> None:
    """Run again it says so, sends nothing, changes nothing, and exits as before."""
    server = simulator(faults=faults)
    chats(folder / "jobs.jsonl", 30)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    assert program.run(*command).code == code
    before = (folder / "jobs.results.jsonl").read_bytes()
    again = program.run(*command, "--json")
    assert again.code == code, again.err
    assert "nothing to do" in again.err
    assert again.summary()["requests"] == 0
    assert again.summary()["total"] == 30
    assert len(server.ledger()) == 30
    assert (folder / "jobs.results.jsonl").read_bytes() == before
    assert not (folder / "jobs.results.jsonl.lock").exists()


def test_after_ctrl_c(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Interrupted twice and run again, every job is sent exactly once."""
    server = simulator(latency="0.05-0.15")
    chats(folder / "jobs.jsonl", 60)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    interrupted(program, server, *command)
    interrupted(program, server, *command, after=30)
    done = program.run(*command)
    assert done.code == 0, done.err
    assert "answered by earlier runs" in done.err
    check_chats(folder / "jobs.results.jsonl", 60)
    assert len(set(shas(server))) == len(shas(server)) == 60


def test_lines_appended(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Jobs appended to the input, also after a missing last newline, are processed; the others are not repeated."""
    server = simulator()
    jobs = chats(folder / "jobs.jsonl", 30)
    jobs.write_bytes(jobs.read_bytes().rstrip(b"\n"))
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    assert program.run(*command).code == 0
    before = (folder / "jobs.results.jsonl").read_bytes()
    with jobs.open("a") as f:
        f.writelines("\n" + json.dumps(chat(f"job {k}")) for k in range(30, 50))
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 50)
    assert (folder / "jobs.results.jsonl").read_bytes().startswith(before)
    assert len(server.ledger()) == 50


def test_a_trial_then_all(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """`--limit 10` sends ten; the same without it goes on with the rest, a smaller limit has nothing to do."""
    server = simulator()
    chats(folder / "jobs.jsonl", 40)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    trial = program.run(*command, "--limit", "10", "--json")
    assert trial.code == 0, trial.err
    check_chats(folder / "jobs.results.jsonl", 10)
    assert len(server.ledger()) == 10
    assert program.run(*command, "--limit", "5").code == 0
    assert len(server.ledger()) == 10
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 40)
    assert len(server.ledger()) == 40


def test_through_a_pipe_and_a_gz(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A pipe or a compressed file is given again: answered lines are read, checked and skipped."""
    server = simulator(latency="0.05")
    lines = chats(folder / "jobs.jsonl", 60).read_bytes()
    (folder / "same.jsonl.gz").write_bytes(gzip.compress(lines))
    options = ("-o", "out.jsonl", "--base-url", server.url)
    interrupted(program, server, "run", "same.jsonl.gz", *options)
    before = len(server.ledger())
    running = program.start("run", "-", *options, "--limit", "40", stdin=subprocess.PIPE)
    assert running.child.stdin is not None
    running.child.stdin.write(lines)
    running.child.stdin.close()
    assert running.wait().code == 0, running.err()
    assert len(server.ledger()) == 40 > before
    done = program.run("run", "same.jsonl.gz", *options)
    assert done.code == 0, done.err
    check_chats(folder / "out.jsonl", 60)
    assert len(server.ledger()) == 60


def test_fresh_renames(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """--fresh asks for --yes off a terminal, then keeps the old files under other names and starts over."""
    server = simulator()
    chats(folder / "jobs.jsonl", 10)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    assert program.run(*command).code == 0
    before = {name: (folder / name).read_bytes() for name in ("jobs.results.jsonl", "jobs.results.jsonl.ckpt")}
    refused = program.run(*command, "--fresh")
    assert refused.code == 2, refused.err
    assert "--yes" in refused.err
    assert len(server.ledger()) == 10
    done = program.run(*command, "--fresh", "--yes")
    assert done.code == 0, done.err
    assert len(server.ledger()) == 20
    check_chats(folder / "jobs.results.jsonl", 10)
    for name, data in before.items():
        (kept,) = folder.glob(f"{name}.2*.old")
        assert kept.read_bytes() == data


def test_a_torn_output_is_mended(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Torn tails of output and checkpoint are cut, damage is said, and what it cost is asked again."""
    server = simulator()
    chats(folder / "jobs.jsonl", 30)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    assert program.run(*command).code == 0
    output, checkpoint = folder / "jobs.results.jsonl", folder / "jobs.results.jsonl.ckpt"
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2])
    with checkpoint.open("ab") as f:
        f.write(b'{"crc":"00000000","kind":"result","index":29,"job":"0123')
    (folder / "jobs.jsonl").touch()
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(output, 30)
    once_more = whole.replace(b'"attempts": 1', b'"attempts": 2')
    ways = zip(*(data.split(b"\n") for data in (output.read_bytes(), whole, once_more)), strict=True)
    assert all(line in (once, twice) for line, once, twice in ways)
    assert "lost" in done.err


def test_an_empty_output_of_a_run_that_never_began(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """A checkpoint header that never reached the disk, beside an empty output, is a fresh start."""
    server = simulator()
    chats(folder / "jobs.jsonl", 5)
    (folder / "jobs.results.jsonl").write_bytes(b"")
    (folder / "jobs.results.jsonl.ckpt").write_bytes(b"")
    done = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 5)


def test_metadata_and_failures_survive_a_resume(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """Bad lines and metadata are in the file once, wherever the run was interrupted."""
    server = simulator(latency="0.05")
    jobs = [f"not a job {k}" if k % 3 == 0 else chat(f"job {k}", metadata={"k": k}) for k in range(45)]
    write_jobs(folder / "jobs.jsonl", jobs)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    interrupted(program, server, *command)
    done = program.run(*command, "--json")
    assert done.code == 3, done.err
    lines = results(folder / "jobs.results.jsonl")
    assert [bool(line["error"]) for line in lines] == [k % 3 == 0 for k in range(45)]
    assert [line.get("metadata") for line in lines] == [None if k % 3 == 0 else {"k": k} for k in range(45)]
    assert (done.summary()["succeeded"], done.summary()["failed"]) == (30, 15)
    assert len(server.ledger()) == 30
