"""`batchproc finish`: every paid answer is in the file, what was not answered says so, and nothing is sent."""

from __future__ import annotations

import gzip
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, Running, chat, chats, results, wait_until, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer

OUTPUT = "jobs.results.jsonl"
FINISH = ("finish", OUTPUT, "--yes")


def with_gaps(program: Program, scripted: Callable[[Reply], Scripted], source: str = "jobs.jsonl") -> Scripted:
    """A run of 20 jobs, killed when jobs 3 and 11 alone were unanswered; job 7 failed, job 15 is no job."""
    import asyncio

    from servers import error_answer

    async def reply(request: Request) -> bytes:
        if request.text in ("job 3", "job 11"):
            await asyncio.sleep(600)
        return error_answer(400, "no", "bad") if request.text == "job 7" else chat_answer(f"to {request.text}")

    server = scripted(reply)
    jobs = [chat(f"job {k}", metadata={"k": k}, custom_id=f"c{k}") for k in range(20)]
    write_jobs(program.folder / "jobs.jsonl", [*jobs[:15], "no job", *jobs[16:]])
    if source == "-":
        with (program.folder / "jobs.jsonl").open("rb") as pipe:
            running = program.start("run", "-", "-o", OUTPUT, "--base-url", server.url, stdin=pipe)
    else:
        if source.endswith(".gz"):
            (program.folder / source).write_bytes(gzip.compress((program.folder / "jobs.jsonl").read_bytes()))
        running = program.start("run", source, "--base-url", server.url)
    stop_when_saved(program, running, 18)
    return server


def stop_when_saved(program: Program, running: Running, count: int) -> None:
    """Kill a run once so many results are on disk."""
    from program import saved_on_disk

    output = program.folder / OUTPUT
    wait_until("results", lambda: len(saved_on_disk(output, output.with_name(OUTPUT + ".ckpt"))) >= count)
    running.kill(signal.SIGKILL)
    running.wait()


def check_closed(folder: Path) -> None:
    """The run of `with_gaps`, closed."""
    lines = results(folder / OUTPUT)
    assert len(lines) == 20
    codes = {k: line["error"]["code"] for k, line in enumerate(lines) if line["error"]}
    assert codes == {3: "not_run", 7: "bad", 11: "not_run", 15: "invalid_json"}
    assert [line["attempts"] for line in lines] == [1] * 15 + [0] + [1] * 4
    assert [line["custom_id"] for line in lines if line["index"] != 15] == [f"c{k}" for k in range(20) if k != 15]
    assert lines[3]["metadata"] == {"k": 3}
    assert lines[3]["response"] is None


@pytest.mark.parametrize("source", ["jobs.jsonl", "jobs.jsonl.gz", "-"])
def test_closing(program: Program, folder: Path, scripted: Callable[[Reply], Scripted], source: str) -> None:
    """What waited for an earlier job is written, the rest is `not_run`; done twice, it does nothing."""
    server = with_gaps(program, scripted, source)
    sent = len(server.requests)
    if source == "-":
        refused = program.run(*FINISH)
        assert refused.code == 2, refused.err
        assert "--jobs" in refused.err
        with (folder / "jobs.jsonl").open("rb") as jobs:
            done = program.run(*FINISH, "--jobs", "-", "--json", stdin=jobs)
    else:
        done = program.run(*FINISH, "--json")
    assert done.code == 3, done.err
    check_closed(folder)
    assert (done.summary()["succeeded"], done.summary()["failed"]) == (16, 4)
    assert "closed: 16 of 20 jobs are answered, 2 were not run, 2 failed" in done.err
    before = (folder / OUTPUT).read_bytes()
    again = program.run(*FINISH)
    assert again.code == 3, again.err
    assert "nothing to do" in again.err
    assert (folder / OUTPUT).read_bytes() == before
    assert program.run("status", OUTPUT).code == 3
    if source == "jobs.jsonl":
        same = program.run("run", source, "--base-url", server.url)
        assert same.code == 3
        assert "nothing to do" in same.err
    assert len(server.requests) == sent


def test_asks_first(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """Off a terminal it needs --yes, and changes nothing without it."""
    with_gaps(program, scripted)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    done = program.run("finish", OUTPUT)
    assert done.code == 2
    assert "--yes" in done.err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_while_it_runs(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A run that goes on is not closed (6), and not disturbed."""
    server = simulator(latency="1")
    chats(folder / "jobs.jsonl", 16)
    running = program.start("run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "4")
    server.received(4)
    done = program.run(*FINISH)
    assert done.code == 6, done.err
    assert str(running.child.pid) in done.err
    assert running.wait().code == 0


def test_the_input_is_gone(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """It says which file it needs and how to name another; with that, it closes the run."""
    with_gaps(program, scripted)
    (folder / "jobs.jsonl").rename(folder / "moved.jsonl")
    done = program.run(*FINISH)
    assert done.code == 2, done.err
    assert "jobs.jsonl" in done.err
    assert "--jobs FILE" in done.err
    assert program.run(*FINISH, "--jobs", "moved.jsonl").code == 3
    check_closed(folder)


def test_another_input(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """A job file whose answered lines read differently is refused (6)."""
    with_gaps(program, scripted)
    chats(folder / "other.jsonl", 20)
    output = (folder / OUTPUT).read_bytes()
    done = program.run(*FINISH, "--jobs", "other.jsonl")
    assert done.code == 6, done.err
    assert "line 1 " in done.err
    assert (folder / OUTPUT).read_bytes() == output


def test_after_accepted_changes(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """A run that went on at another address is closed as it is now, not refused as one with other settings."""
    first, second = simulator(), simulator(latency="0.05")
    chats(folder / "jobs.jsonl", 40)
    assert program.run("run", "jobs.jsonl", "--base-url", first.url, "--limit", "5").code == 0
    going = program.start("run", "jobs.jsonl", "--base-url", second.url, "--concurrency", "2", "--accept-changes")
    stop_when_saved(program, going, 10)
    done = program.run(*FINISH)
    assert done.code == 3, done.err
    assert {line["error"]["code"] for line in results(folder / OUTPUT) if line["error"]} == {"not_run"}


def test_no_run(program: Program, folder: Path) -> None:
    """2 for a file that is not there, 6 for one that no run made."""
    assert program.run(*FINISH).code == 2
    (folder / OUTPUT).write_bytes(b"my notes\n")
    assert program.run(*FINISH).code == 6
    assert (folder / OUTPUT).read_bytes() == b"my notes\n"


def test_killed_while_closing(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Killed with more and more of the lines written, the same command goes on, and no answer is lost."""
    server = simulator()
    chats(folder / "jobs.jsonl", 6_000)
    assert program.run("run", "jobs.jsonl", "--base-url", server.url, "--limit", "50").code == 0
    head = (folder / OUTPUT).read_bytes()
    for more in (1, 200_000, 500_000):
        running = program.start(*FINISH)
        while running.child.poll() is None and (folder / OUTPUT).stat().st_size < len(head) + more:
            time.sleep(0.001)
        running.kill()
        running.wait()
    done = program.run(*FINISH)
    assert done.code == 3, done.err
    data = (folder / OUTPUT).read_bytes()
    assert data.startswith(head)
    lines = results(folder / OUTPUT)
    assert len(lines) == 6_000
    assert {line["error"]["code"] for line in lines[50:]} == {"not_run"}
    assert json.loads(data.splitlines()[-1])["custom_id"] == "request-5999"
    assert len(server.ledger()) == 50
