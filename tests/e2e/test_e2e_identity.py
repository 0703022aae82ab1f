"""Exit code 6: the files do not fit, are in use, or belong to somebody else; nothing is sent and nothing changed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, chat, chats, check_chats, wait_until, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def finished(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> Simulator:
    """Thirty jobs, of which the first twenty are answered."""
    server = simulator()
    chats(folder / "jobs.jsonl", 30)
    assert program.run("run", "jobs.jsonl", "--base-url", server.url, "--limit", "20").code == 0
    return server


class Gate:
    """Answers of a scripted server that come when it is opened."""

    def __init__(self) -> None:
        self.open = False

    async def reply(self, request: Request) -> bytes:
        """The answer, in the end."""
        while not self.open:  # noqa: ASYNC110 - another thread opens it
            await asyncio.sleep(0.01)
        return chat_answer(f"Simulated answer to: {request.text}")


def test_a_second_process_is_turned_away(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """The second run on one output stops at once and names the first's host and process; the first is not disturbed."""
    gate = Gate()
    server = scripted(gate.reply)
    chats(folder / "jobs.jsonl", 40)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4")
    first = program.start(*command)
    wait_until("4 requests", lambda: len(server.requests) == 4)
    second = program.run(*command, "--header", "x-marker=second")
    assert second.code == 6, second.err
    assert str(first.child.pid) in second.err
    assert socket.gethostname() in second.err
    gate.open = True
    done = first.wait()
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 40)
    assert len(server.requests) == 40
    assert not any("x-marker" in request.headers for request in server.requests)


def test_the_lock_of_a_killed_process_holds_nobody(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """After kill -9 the lock's file is left, and the next run takes it over."""
    server = simulator(latency="0.2")
    chats(folder / "jobs.jsonl", 20)
    command = ("run", "jobs.jsonl", "--base-url", server.url)
    first = program.start(*command)
    server.received(4)
    first.kill(signal.SIGKILL)
    first.wait()
    assert (folder / "jobs.results.jsonl.lock").exists()
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 20)


@pytest.mark.parametrize("text", [b"my own notes\n", b'{"id": "batch_req_1", "custom_id": "a"}\n', b"x"])
def test_a_foreign_output(program: Program, folder: Path, simulator: Callable[..., Simulator], text: bytes) -> None:
    """An output that this run did not make is refused and left alone."""
    server = simulator()
    chats(folder / "jobs.jsonl", 5)
    (folder / "jobs.results.jsonl").write_bytes(text)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert done.code == 6, done.err
    assert "hint:" in done.err
    assert contents(folder).keys() == {"jobs.jsonl", "jobs.results.jsonl"}
    assert (folder / "jobs.results.jsonl").read_bytes() == text
    assert server.ledger() == []


def test_a_deleted_checkpoint(program: Program, folder: Path, finished: Simulator) -> None:
    """An output whose checkpoint is gone is refused; --fresh --yes is the way on."""
    os.unlink(folder / "jobs.results.jsonl.ckpt")
    before = contents(folder)
    command = ("run", "jobs.jsonl", "--base-url", finished.url)
    done = program.run(*command)
    assert done.code == 6, done.err
    assert "--fresh" in done.err
    assert contents(folder) == before
    assert program.run(*command, "--fresh", "--yes").code == 0
    check_chats(folder / "jobs.results.jsonl", 30)


@pytest.mark.parametrize("touched", [5, 0, 19])
def test_a_changed_line(program: Program, folder: Path, finished: Simulator, touched: int) -> None:
    """A change to an answered line stops the run, naming the line, with nothing sent."""
    jobs = [chat(f"job {k}") for k in range(30)]
    jobs[touched] = chat("something else")
    write_jobs(folder / "jobs.jsonl", jobs)
    output = (folder / "jobs.results.jsonl").read_bytes()
    done = program.run("run", "jobs.jsonl", "--base-url", finished.url)
    assert done.code == 6, done.err
    assert f"line {touched + 1} " in done.err
    assert "hint:" in done.err
    assert len(finished.ledger()) == 20, "requests went out before the change was seen"
    assert (folder / "jobs.results.jsonl").read_bytes() == output


def test_a_shorter_input(program: Program, folder: Path, finished: Simulator) -> None:
    """An input that has lost answered lines is refused."""
    chats(folder / "jobs.jsonl", 10)
    done = program.run("run", "jobs.jsonl", "--base-url", finished.url)
    assert done.code == 6, done.err
    assert len(finished.ledger()) == 20


def test_a_line_not_yet_answered_may_change(program: Program, folder: Path, finished: Simulator) -> None:
    """Only what is answered is fixed: later lines may be corrected before they are sent."""
    jobs = [chat(f"job {k}") for k in range(30)]
    write_jobs(folder / "jobs.jsonl", [*jobs[:20], *(chat(f"new {k}") for k in range(20, 30))])
    done = program.run("run", "jobs.jsonl", "--base-url", finished.url)
    assert done.code == 0, done.err
    last = json.loads((folder / "jobs.results.jsonl").read_bytes().splitlines()[-1])
    assert "new 29" in json.dumps(last)
    assert len(finished.ledger()) == 30


@pytest.mark.parametrize(
    ("option", "value"),
    [("--model", "gpt-4o"), ("--endpoint", "/v1/responses"), ("--base-url", "http://127.0.0.1:1/v1")],
)
def test_a_changed_setting(program: Program, folder: Path, finished: Simulator, option: str, value: str) -> None:
    """A setting that changes requests stops the run, naming it and both values; --accept-changes is the way on."""
    before = contents(folder)
    given = {"--base-url": finished.url} | {option: value}
    command = ["run", "jobs.jsonl", *(word for pair in given.items() for word in pair)]
    done = program.run(*command)
    assert done.code == 6, done.err
    assert option in done.err
    assert value in done.err
    assert "--accept-changes" in done.err
    assert contents(folder) == before
    assert len(finished.ledger()) == 20
    if option == "--model":
        assert program.run(*command, "--accept-changes").code == 0
        check_chats(folder / "jobs.results.jsonl", 30)
        assert len(finished.ledger()) == 30


def test_the_embedded_provider_is_another_one(program: Program, folder: Path, finished: Simulator) -> None:
    """Going on with --simulate after a real server, or the other way round, is a change."""
    done = program.run("run", "jobs.jsonl", "--simulate")
    assert done.code == 6, done.err
    assert "simulated" in done.err


def test_limits_may_change(program: Program, folder: Path, finished: Simulator) -> None:
    """Limits, concurrency and time-outs are no part of a run's identity."""
    options = ["--rpm", "9k", "--tpm", "9m", "--concurrency", "3", "--timeout", "30", "--max-attempts", "2"]
    done = program.run("run", "jobs.jsonl", "--base-url", finished.url, *options)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 30)


def test_an_output_in_use_is_not_renamed(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """--fresh --yes does not pull the files away from under a run."""
    gate = Gate()
    server = scripted(gate.reply)
    chats(folder / "jobs.jsonl", 24)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4")
    first = program.start(*command)
    wait_until("4 requests", lambda: len(server.requests) == 4)
    wait_until("the output", (folder / "jobs.results.jsonl").exists)
    assert program.run(*command, "--fresh", "--yes").code == 6
    gate.open = True
    assert first.wait().code == 0
    check_chats(folder / "jobs.results.jsonl", 24)
