"""Exit code 5: --stop-after, --fail-over, --max-wait; and an outage that ends in time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from program import Program, chats, check_chats, results, wait_until
from servers import Reply, Request, Scripted, Simulator, chat_answer, error_answer, free_port

LONG = os.environ.get("BATCHPROC_LONG") == "1"


def test_stop_after(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A time box ends the run with exit 5, what was in flight saved, and the same command goes on."""
    server = simulator(latency="0.1")
    chats(folder / "jobs.jsonl", 80)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4")
    stopped = program.run(*command, "--stop-after", "1s")
    assert stopped.code == 5, stopped.err
    assert "--stop-after" in stopped.err
    before = len(server.ledger())
    assert 0 < before < 80
    lines = results(folder / "jobs.results.jsonl")
    assert len(lines) == before, "what was in flight is awaited and saved"
    assert "run jobs.jsonl" in stopped.err, "the next command to type is not said"
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 80)
    assert len(server.ledger()) == 80


def test_fail_over(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Too large a share of failures, after twenty jobs, stops the run early with exit 5."""
    server = simulator(faults=("400=1",))
    chats(folder / "jobs.jsonl", 300)
    stopped = program.run("run", "jobs.jsonl", "--base-url", server.url, "--fail-over", "5%", "--concurrency", "2")
    assert stopped.code == 5, stopped.err
    assert 20 <= len(server.ledger()) <= 20 + 8
    assert "--fail-over" in stopped.err
    assert all(line["error"] for line in results(folder / "jobs.results.jsonl"))


def test_max_wait_in_an_outage(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A server that stays away longer than --max-wait ends the run with exit 5; no job has failed."""
    server = simulator(latency="0.05", port=free_port())
    chats(folder / "jobs.jsonl", 200)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4", "--max-wait", "2s")
    running = program.start(*command, "--json")
    server.received(20)
    server.kill()
    stopped = running.wait()
    assert stopped.code == 5, stopped.err
    assert stopped.summary()["failed"] == 0
    assert "--max-wait" in stopped.err
    assert not [line for line in results(folder / "jobs.results.jsonl") if line["error"]]
    server.start_again()
    done = program.run(*command)
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 200)


def test_no_server_at_all(program: Program, folder: Path) -> None:
    """A wrong address is an outage from the start: exit 5 after --max-wait, saying that nobody answers there."""
    chats(folder / "jobs.jsonl", 5)
    port = free_port()
    stopped = program.run("run", "jobs.jsonl", "--base-url", f"http://127.0.0.1:{port}/v1", "--max-wait", "1s")
    assert stopped.code == 5, stopped.err
    assert f"127.0.0.1:{port}" in stopped.err
    assert results(folder / "jobs.results.jsonl") == []


def test_a_long_retry_after_stops_at_once(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """A wait that is known to exceed --max-wait is not begun: what is in flight is saved, then exit 5."""

    async def reply(request: Request) -> bytes:
        if request.number < 5:
            await asyncio.sleep(0.3)
            return chat_answer(f"Simulated answer to: {request.text}")
        return error_answer(429, "Rate limit reached.", "rate_limit_exceeded", retry_after="3000")

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 50)
    stopped = program.run("run", "jobs.jsonl", "--base-url", server.url, "--max-wait", "10m", "--json")
    assert stopped.code == 5, stopped.err
    assert stopped.summary()["failed"] == 0
    assert stopped.summary()["succeeded"] == 5
    assert len(server.requests) <= 24


def test_a_short_retry_after_is_kept(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """A stated wait holds the whole model: nobody asks again before it is over, and no attempt is counted up."""
    times: list[float] = []

    async def reply(request: Request) -> bytes:
        times.append(time.monotonic())
        if request.number == 0:
            return error_answer(429, "Rate limit reached.", "rate_limit_exceeded", retry_after_ms="1500")
        return chat_answer(f"Simulated answer to: {request.text}")

    server = scripted(reply)
    chats(folder / "jobs.jsonl", 10)
    done = program.run(
        "run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "1", "--rpm", "6000", "--max-attempts", "1"
    )
    assert done.code == 0, done.err
    check_chats(folder / "jobs.results.jsonl", 10)
    assert times[1] - times[0] >= 1.49


def test_five_timeouts_in_a_row_stop_the_run(
    program: Program, folder: Path, simulator: Callable[..., Simulator]
) -> None:
    """When the first jobs all run into --timeout, the run stops with exit 5 and says to raise it."""
    server = simulator(faults=("hang=1",))
    chats(folder / "jobs.jsonl", 60)
    stopped = program.run("run", "jobs.jsonl", "--base-url", server.url, "--timeout", "0.5s", "--drain", "1")
    assert stopped.code == 5, stopped.err
    assert "--timeout" in stopped.err
    assert len(server.ledger()) < 60


def test_an_outage_costs_no_job(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """The server is killed for some seconds in the middle and comes back: no failed line, exit 0."""
    away_s = 20.0 if LONG else 4.0
    server = simulator(latency="0.05-0.1", port=free_port())
    chats(folder / "jobs.jsonl", 200)
    running = program.start("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "8", "--json")
    server.received(40)
    server.kill()
    gone = time.monotonic()
    wait_until("the outage to last", lambda: time.monotonic() - gone > away_s)
    assert running.child.poll() is None, running.err()
    running.said("outage")
    server.start_again()
    done = running.wait()
    assert done.code == 0, done.err
    lines = check_chats(folder / "jobs.results.jsonl", 200)
    assert max(line["attempts"] for line in lines) <= 3, "failed connections were counted as attempts"
    asked = [entry["sha"] for entry in server.ledger()]
    assert len(asked) <= 200 + 16
