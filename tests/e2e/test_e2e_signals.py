"""Interruptions: exit codes 130, 143 and 129, the drain, the second Ctrl-C, and SIGUSR1."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from program import PATIENCE_S, Program, chats, check_chats, results, saved_on_disk, wait_until
from servers import Reply, Request, Scripted, Simulator, chat_answer


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_drains_and_the_same_command_goes_on(
    program: Program, folder: Path, simulator: Callable[..., Simulator], signum: int, code: int
) -> None:
    """The first signal stops the sending, saves what is in flight, and says what to type; nothing is sent twice."""
    server = simulator(latency="0.3")
    chats(folder / "jobs.jsonl", 40)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "8")
    running = program.start(*command, "--json")
    server.received(16)
    running.kill(signum)
    stopped = running.wait()
    assert stopped.code == code, stopped.err
    before = len(server.ledger())
    saved = saved_on_disk(folder / "jobs.results.jsonl", folder / "jobs.results.jsonl.ckpt")
    assert len(saved) == before < 40, "what was in flight was not saved"
    summary = stopped.summary()
    assert summary["exit_code"] == code
    assert summary["succeeded"] == before
    assert "run jobs.jsonl --base-url" in stopped.err
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 40)
    assert len(server.ledger()) == 40


def test_a_second_sigint_leaves_at_once(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """A second Ctrl-C does not wait for what hangs, and everything saved is still there for the resume."""
    hanging = True

    async def reply(request: Request) -> bytes:
        if hanging and request.number >= 10:
            await asyncio.sleep(600)
        return chat_answer(f"Simulated answer to: {request.text}")

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 30)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4", "--drain", "600")
    running = program.start(*command)
    wait_until("the first hanging requests", lambda: len(server.requests) >= 14)
    running.kill(signal.SIGINT)
    running.said("stopping: interrupted")
    assert running.child.poll() is None, "the first Ctrl-C did not wait"
    running.kill(signal.SIGINT)
    stopped = running.wait()
    assert stopped.code == 130, stopped.err
    assert len(results(folder / "jobs.results.jsonl")) == 10
    hanging = False
    assert program.run(*command).code == 0
    check_chats(folder / "jobs.results.jsonl", 30)
    assert len(server.requests) == 14 + 20


@pytest.mark.parametrize("concurrency", ["auto", "4"])
def test_the_drain_ends(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted], concurrency: str
) -> None:
    """--drain bounds how long a stop waits for what is in flight, also where no worker is free."""

    async def reply(request: Request) -> bytes:
        await asyncio.sleep(600)
        return b""

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 10)
    running = program.start(
        "run", "jobs.jsonl", "--base-url", server.url, "--drain", "0.5s", "--concurrency", concurrency
    )
    wait_until("requests in flight", lambda: len(server.requests) >= 4)
    running.kill(signal.SIGTERM)
    started = time.monotonic()
    stopped = running.wait()
    assert stopped.code == 143, stopped.err
    assert time.monotonic() - started > 0.3
    assert results(folder / "jobs.results.jsonl") == []


@pytest.mark.parametrize(("fault", "code"), [((), 0), (("400=1",), 3)], ids=["all-good", "all-failed"])
def test_interrupted_with_nothing_left(
    program: Program, folder: Path, simulator: Callable[..., Simulator], fault: tuple[str, ...], code: int
) -> None:
    """A Ctrl-C while the last answers are on their way changes nothing: 0, or 3 if some failed."""
    server = simulator(latency="1.5", faults=fault)
    chats(folder / "jobs.jsonl", 4)
    running = program.start("run", "jobs.jsonl", "--base-url", server.url, "--json")
    server.received(4)
    running.kill(signal.SIGINT)
    done = running.wait()
    assert done.code == code, done.err
    assert done.summary()["exit_code"] == code
    assert done.summary()["not_run"] == 0
    assert len(results(folder / "jobs.results.jsonl")) == 4
    again = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert again.code == code
    assert len(server.ledger()) == 4


def test_sigint_while_it_waits(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A run that waits for a limit, nothing in flight, leaves at once on Ctrl-C."""
    server = simulator()
    chats(folder / "jobs.jsonl", 10)
    running = program.start("run", "jobs.jsonl", "--base-url", server.url, "--rpm", "1", "--drain", "600")
    server.received(1)
    wait_until("the answer on disk", lambda: (folder / "jobs.results.jsonl").read_bytes().endswith(b"\n"))
    running.kill(signal.SIGINT)
    assert running.wait().code == 130


def test_sigint_before_anything_is_read(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Ctrl-C while standard input is silent ends the run."""
    server = simulator()
    command = ("run", "-", "-o", "out.jsonl", "--base-url", server.url)
    running = program.start(*command, stdin=-1)
    assert running.child.stdin is not None
    wait_until("the lock, which is taken just before", (folder / "out.jsonl.lock").exists)
    running.kill(signal.SIGINT)
    stopped = running.wait(8)
    assert stopped.code == 130, stopped.err
    assert "Traceback" not in stopped.err


def test_sigusr1_prints_a_status_line(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """SIGUSR1 prints one line that says how far the run is, and stops nothing."""
    server = simulator(latency="0.2")
    chats(folder / "jobs.jsonl", 60)
    running = program.start("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4")
    server.received(12)
    before = running.err().count("\n")
    running.kill(signal.SIGUSR1)
    wait_until("a status line", lambda: running.err().count("\n") > before, PATIENCE_S)
    (line,) = running.err().splitlines()[before:]
    assert "done" in line
    assert "in flight" in line
    done = running.wait()
    assert done.code == 0, done.err
    assert len(server.ledger()) == 60
