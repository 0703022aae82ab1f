"""`batchproc status`: what it says of a run that goes on, was killed, was stopped, or is done."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program, chat, chats, wait_until, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer

OUTPUT = "jobs.results.jsonl"


def status(program: Program, *more: str, code: int) -> dict[str, Any]:
    """The document of `status --json`, after checking the exit code, and that nothing was written."""
    before = {p.name: p.read_bytes() for p in program.folder.iterdir() if not p.name.endswith((".lock", ".compact"))}
    done = program.run("status", OUTPUT, "--json", *more)
    assert done.code == code, done.err + done.out
    assert all((program.folder / name).read_bytes().startswith(data) for name, data in before.items())
    assert {p.name for p in program.folder.iterdir()} >= before.keys()
    return done.summary()


def slow_first(program: Program, scripted: Callable[[Reply], Scripted], count: int) -> tuple[Scripted, Any]:
    """A server that never answers job 0, and a run of `count` jobs of which all others are answered."""
    import asyncio

    async def reply(request: Request) -> bytes:
        if request.text == "job 0":
            await asyncio.sleep(600)
        return chat_answer("yes")

    server = scripted(reply)
    chats(program.folder / "jobs.jsonl", count)
    running = program.start("run", "jobs.jsonl", "--base-url", server.url)
    ckpt = program.folder / f"{OUTPUT}.ckpt"
    wait_until(
        "a mark of all answers", lambda: ckpt.exists() and f'"waiting":{count - 1}'.encode() in ckpt.read_bytes()
    )
    return server, running


def test_while_it_runs(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """From another terminal: answered, what waits behind which job, and which process is at work."""
    _, running = slow_first(program, scripted, 30)
    seen = status(program, code=5)
    assert seen["state"] == "running"
    assert seen["running"]["pid"] == running.child.pid
    assert (seen["answered"], seen["written"], seen["totals"]["succeeded"]) == (29, 0, 29)
    assert (seen["waits_for"]["index"], seen["waits_for"]["waiting"], seen["waits_for"]["tries"]) == (0, 29, 1)
    words = program.run("status", OUTPUT).out
    assert f"process {running.child.pid}" in words
    assert "29 wait behind job 0 (sent 1 time so far)" in words
    assert running.child.poll() is None


def test_after_a_kill(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """The lock's file that is left behind deceives nobody; the command that resumes is told, and works as typed."""
    server, running = slow_first(program, scripted, 30)
    running.kill(signal.SIGKILL)
    running.wait()
    with (folder / f"{OUTPUT}.ckpt").open("ab") as f:
        f.write(b'{"crc":"00000000","kind":"result","index":0,"jo')  # torn, as a writer leaves it
    seen = status(program, code=5)
    assert (seen["state"], seen["running"], seen["stopped_at"]) == ("unfinished", None, None)
    assert (seen["answered"], seen["waits_for"]["waiting"], seen["waits_for"]["tries"]) == (29, 29, 1)
    assert seen["command"].endswith(f"batchproc run jobs.jsonl --base-url {server.url}")
    words = program.run("status", OUTPUT).out
    assert "killed" in words
    assert seen["command"] in words


@pytest.mark.parametrize(("faults", "code"), [((), 0), (("400=20%",), 3)], ids=["good", "failures"])
def test_when_it_is_done(
    program: Program, folder: Path, simulator: Callable[..., Simulator], faults: tuple[str, ...], code: int
) -> None:
    """Exit 0 or 3 as the run had; failures are grouped by code, with the first line."""
    server = simulator(faults=faults)
    chats(folder / "jobs.jsonl", 40)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--json")
    assert done.code == code
    seen, last = status(program, code=code), done.summary()
    assert seen["state"] == "finished"
    assert seen["waits_for"] is None
    assert (seen["total"], seen["answered"], seen["written"]) == (40, 40, 40)
    assert seen["errors"] == last["errors"]
    for name in ("succeeded", "failed", "input_tokens", "output_tokens"):
        assert seen["totals"][name] == last[name]


def test_after_a_stop(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Why the last process ended, and with which code, is told until the next one begins."""
    server = simulator(latency="0.3")
    chats(folder / "jobs.jsonl", 60)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4")
    assert program.run(*command, "--stop-after", "1", "--drain", "5").code == 5
    seen = status(program, code=5)
    assert seen["stopped_code"] == 5
    assert "--stop-after" in seen["stopped_why"]
    assert 0 < seen["answered"] < 60
    assert seen["answered"] == seen["written"] == len((folder / OUTPUT).read_bytes().splitlines())
    assert program.run(*command).code == 0
    assert status(program, code=0)["stopped_why"] == ""


def test_after_a_trial(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """The size of the whole input is estimated, and the command that goes on has no --limit."""
    server = simulator()
    chats(folder / "jobs.jsonl", 700)
    command = ("run", "jobs.jsonl", "--base-url", server.url, "--limit", "600", "--concurrency", "50")
    assert program.run(*command).code == 0
    seen = status(program, code=5)
    assert (seen["answered"], seen["written"], seen["total"]) == (600, 600, None)
    assert 650 < seen["total_estimate"] < 750
    assert "--limit" not in seen["command"]
    assert "--concurrency 50" in seen["command"]


def test_a_checkpoint_without_notes(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A run of an earlier version, whose checkpoint has neither notes nor totals in its marks, is counted."""
    server = simulator(faults=("400=20%",))
    chats(folder / "jobs.jsonl", 30)
    assert program.run("run", "jobs.jsonl", "--base-url", server.url, "--limit", "20").code == 3
    checkpoint = folder / f"{OUTPUT}.ckpt"
    kept = [line for line in checkpoint.read_bytes().splitlines(True) if b'"kind":"batchproc"' in line]
    before = status(program, code=5)
    checkpoint.write_bytes(b"".join(kept))
    after = status(program, code=5)
    assert (after["answered"], after["totals"]["failed"]) == (20, before["totals"]["failed"])
    assert after["command"] is None


@pytest.mark.parametrize(("text", "code"), [(None, 2), (b"my notes\n", 6), (b"", 6)])
def test_what_is_no_output(program: Program, folder: Path, text: bytes | None, code: int) -> None:
    """2 for a file that is not there, 6 for one that no run made."""
    if text is not None:
        (folder / OUTPUT).write_bytes(text)
    done = program.run("status", OUTPUT)
    assert done.code == code
    assert "error:" in done.err
    assert os.listdir(folder) == ([OUTPUT] if text is not None else [])


def test_no_secret_is_kept(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """The command that the checkpoint keeps has no header's value, however it was given."""
    server = simulator()
    write_jobs(folder / "jobs.jsonl", [chat("one")])
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--header", "x-a=geheim1", "--header=x-b=geheim2")
    assert done.code == 0, done.err
    checkpoint = (folder / f"{OUTPUT}.ckpt").read_bytes()
    assert b"geheim" not in checkpoint
    assert json.dumps("--header x-a=…")[1:-1].encode() in checkpoint or "x-a=…".encode() in checkpoint


def test_what_it_cost(program: Program, folder: Path) -> None:
    """As the run itself says; with the run's own price list where one is named; never guessed."""
    entry = {"own": {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-3}}
    (folder / "prices.json").write_text(json.dumps(entry))
    write_jobs(folder / "jobs.jsonl", [chat(f"job {k}", model=("own", "gpt-4o-mini")[k % 2]) for k in range(30)])
    done = program.run("run", "jobs.jsonl", "--simulate", "--prices", "prices.json", "--json")
    assert done.code == 0, done.err
    seen = status(program, "--prices", "prices.json", code=0)
    assert seen["cost_usd"] == pytest.approx(done.summary()["cost_usd"])
    assert (seen["cost_lost_usd"], seen["unpriced"]) == (None, [])
    without = status(program, code=0)
    assert 0 < without["cost_usd"] < seen["cost_usd"]
    assert without["unpriced"] == ["own"]
    assert "no price is known for own" in program.run("status", OUTPUT).out
    mark = (folder / f"{OUTPUT}.ckpt").read_bytes()
    lines = [line for line in mark.splitlines(keepends=True) if b'"kind":"mark"' not in line]
    (folder / f"{OUTPUT}.ckpt").write_bytes(b"".join(lines))
    counted = status(program, "--prices", "prices.json", code=5)
    assert counted["cost_usd"] == pytest.approx(seen["cost_usd"]), "without its marks: counted from the results"
