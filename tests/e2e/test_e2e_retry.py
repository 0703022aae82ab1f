"""`batchproc retry`: failed lines are sent again, good ones never; whatever happens meanwhile, nothing is lost."""

from __future__ import annotations

import gzip
import json
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program, chat, chats, results, wait_until, write_jobs
from servers import Reply, Request, Scripted, Simulator, chat_answer, error_answer, sha_of

OUTPUT = "jobs.results.jsonl"
JOBS = 60


@pytest.fixture
def moody(scripted: Callable[[Reply], Scripted]) -> Any:
    """A server whose mood a test sets: `bad`, `slow`."""
    import asyncio

    class Mood:
        bad: frozenset[int] = frozenset()
        slow: frozenset[int] = frozenset()
        code = "content_policy"
        url = ""
        requests: list[Request]

    mood = Mood()

    async def reply(request: Request) -> bytes:
        number = int(request.text.split()[-1])
        if number in mood.slow:
            await asyncio.sleep(600)
        if number in mood.bad:
            return error_answer(400, "no", mood.code)
        return chat_answer(f"to {request.text}")

    server = scripted(reply)
    mood.url, mood.requests = server.url, server.requests
    return mood


def sent(server: Any, since: int) -> list[str]:
    """The texts of the requests since some time."""
    return [request.text for request in server.requests[since:]]


def failed_run(program: Program, server: Any, *options: str, source: str = "jobs.jsonl") -> list[bytes]:
    """A finished run in which jobs 3, 20 and 59 failed; returns the lines of its output."""
    chats(program.folder / "jobs.jsonl", JOBS)
    if source.endswith(".gz"):
        (program.folder / source).write_bytes(gzip.compress((program.folder / "jobs.jsonl").read_bytes()))
    server.bad = frozenset({3, 20, 59})
    done = program.run("run", source, "--base-url", server.url, *options)
    assert done.code == 3, done.err
    return (program.folder / OUTPUT).read_bytes().splitlines(keepends=True)


def check(folder: Path, before: list[bytes], answered: set[int], still: set[int]) -> None:
    """The new output: good lines byte for byte, the others sent once more."""
    after = (folder / OUTPUT).read_bytes().splitlines(keepends=True)
    assert len(after) == len(before)
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        if k not in answered | still:
            assert old == new
    lines = results(folder / OUTPUT)
    assert {k for k, line in enumerate(lines) if line["error"]} == still
    for k in answered | still:
        assert lines[k]["attempts"] == json.loads(before[k])["attempts"] + 1


def test_failed_lines_alone_are_sent(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """The server's ledger shows the failed jobs and no other; the words say what became of them."""
    server = simulator(faults=("400=30%",))
    bodies = [chat(f"job {k}") for k in range(JOBS)]
    write_jobs(folder / "jobs.jsonl", bodies)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert done.code == 3, done.err
    before = (folder / OUTPUT).read_bytes().splitlines(keepends=True)
    failed = {k for k, line in enumerate(results(folder / OUTPUT)) if line["error"]}
    assert 5 < len(failed) < 40
    server.kill()
    server.start_again(seed=5)
    again = program.run("retry", OUTPUT, "--base-url", server.url, "--json", "--rpm", "9k")
    still = {k for k, line in enumerate(results(folder / OUTPUT)) if line["error"]}
    assert again.code == (3 if still else 0)
    assert {entry["sha"] for entry in server.ledger()[JOBS:]} == {sha_of(bodies[k]) for k in failed}
    assert len(server.ledger()) == JOBS + len(failed)
    check(folder, before, failed - still, still)
    assert f"{len(failed - still)} of {len(failed)} failed lines are answered now, {len(still)} still fail" in again.err
    seen = program.run("status", OUTPUT, "--json").summary()
    assert (seen["totals"]["succeeded"], seen["totals"]["failed"]) == (JOBS - len(still), len(still))
    same = program.run("run", "jobs.jsonl", "--base-url", server.url)
    assert "nothing to do" in same.err
    assert len(server.ledger()) == JOBS + len(failed)


def test_the_command_that_is_told(program: Program, folder: Path, moody: Any) -> None:
    """The last words of the run, and `status`, tell the whole command with its options; it works as it is."""
    before = failed_run(program, moody, "--concurrency", "5", "-o", OUTPUT)
    words = program.run("status", OUTPUT).out.splitlines()
    (told,) = [line.split(":", 1)[1].strip() for line in words if line.startswith("next:")]
    assert told in program.said_so_far()
    assert "jobs.jsonl " not in told
    assert "--concurrency 5" in told
    moody.bad = frozenset()
    command = shlex.split(told)
    assert program.run(*command[command.index("retry") :]).code == 0
    check(folder, before, {3, 20, 59}, set())
    nothing = program.run("retry", OUTPUT, "--base-url", moody.url)
    assert nothing.code == 0
    assert "nothing to do" in nothing.err


def test_only_some(program: Program, folder: Path, moody: Any) -> None:
    """--only chooses by code; lines of other codes are left as they are, and the exit code says that they are there."""
    before = failed_run(program, moody)
    moody.bad, moody.code = frozenset({20, 59}), "other"
    assert program.run("retry", OUTPUT, "--base-url", moody.url).code == 3
    count = len(moody.requests)
    moody.bad = frozenset()
    none = program.run("retry", OUTPUT, "--base-url", moody.url, "--only", "content_policy")
    assert none.code == 3, none.err
    assert "nothing to do" in none.err
    assert len(moody.requests) == count
    some = program.run("retry", OUTPUT, "--base-url", moody.url, "--only", "x", "--only", "other")
    assert some.code == 0, some.err
    assert sorted(sent(moody, count)) == ["job 20", "job 59"]
    lines = results(folder / OUTPUT)
    assert [lines[k]["attempts"] for k in (3, 20, 59)] == [2, 3, 3]
    assert [line for k, line in enumerate((folder / OUTPUT).read_bytes().splitlines(True)) if k not in (3, 20, 59)] == [
        line for k, line in enumerate(before) if k not in (3, 20, 59)
    ]


@pytest.mark.parametrize("source", ["jobs.jsonl", "jobs.jsonl.gz", "-"])
def test_corrected_jobs(program: Program, folder: Path, moody: Any, source: str) -> None:
    """A failed job may be corrected, an answered one not: that ends with 6, naming the line, and nothing is sent."""
    before = failed_run(program, moody)
    count = len(moody.requests)
    jobs = [chat(f"job {k}") for k in range(JOBS)]

    def give(lines: list[Any]) -> dict[str, Any]:
        write_jobs(folder / "new.jsonl", lines)
        if source == "jobs.jsonl":
            (folder / "new.jsonl").replace(folder / source)
            return {}
        if source == "-":
            return {"stdin": subprocess.PIPE}
        (folder / source).write_bytes(gzip.compress((folder / "new.jsonl").read_bytes()))
        return {}

    def run(lines: list[Any]) -> Any:
        options = give(lines)
        given = () if source == "jobs.jsonl" else ("--jobs", source)
        running = program.start("retry", OUTPUT, "--base-url", moody.url, *given, **options)
        if running.child.stdin is not None:
            running.child.stdin.write((folder / "new.jsonl").read_bytes())
            running.child.stdin.close()
        return running.wait()

    wrong = run([*jobs[:3], chat("corrected 3"), *jobs[4:30], chat("changed 30"), *jobs[31:]])
    assert wrong.code == 6, wrong.err
    assert "line 31 " in wrong.err
    assert len(moody.requests) == count
    assert run(jobs[:50]).code == 6
    assert len(moody.requests) == count
    moody.bad = frozenset()
    done = run([*jobs[:3], "", chat("corrected 3"), *jobs[4:]])
    assert done.code == 0, done.err
    assert sorted(sent(moody, count)) == ["corrected 3", "job 20", "job 59"]
    check(folder, before, {3, 20, 59}, set())
    if source == "jobs.jsonl":
        assert "nothing to do" in program.run("run", source, "--base-url", moody.url).err


def test_jobs_added_since(program: Program, folder: Path, moody: Any) -> None:
    """Jobs appended to the input are not the retry's; `run` processes them afterwards."""
    before = failed_run(program, moody)
    count = len(moody.requests)
    chats(folder / "jobs.jsonl", JOBS + 5)
    moody.bad = frozenset({20})
    done = program.run("retry", OUTPUT, "--base-url", moody.url)
    assert done.code == 3, done.err
    check(folder, before, {3, 59}, {20})
    assert len(moody.requests) == count + 3
    assert program.run("run", "jobs.jsonl", "--base-url", moody.url).code == 3
    assert sent(moody, count + 3) == [f"job {k}" for k in range(JOBS, JOBS + 5)]
    assert len(results(folder / OUTPUT)) == JOBS + 5


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_interrupted(program: Program, folder: Path, moody: Any, signum: int) -> None:
    """The same command goes on: what was answered is not asked again; `run` and `finish` wait for it meanwhile (6)."""
    before = failed_run(program, moody)
    count = len(moody.requests)
    moody.bad, moody.slow = frozenset(), frozenset({20})
    command = ("retry", OUTPUT, "--base-url", moody.url, "--drain", "0.2")
    running = program.start(*command)
    checkpoint = folder / f"{OUTPUT}.ckpt"
    wait_until("two answers", lambda: checkpoint.read_bytes().rpartition(b'"retry"')[2].count(b'"kind":"result"') == 2)
    second = program.run(*command)
    assert second.code == 6
    assert str(running.child.pid) in second.err
    running.kill(signum)
    assert running.wait().code == (130 if signum == signal.SIGINT else -signum)
    assert (folder / OUTPUT).read_bytes() == b"".join(before)
    seen = program.run("status", OUTPUT, "--json")
    assert seen.code == 5
    assert seen.summary()["retrying"] is True
    assert f"retry {OUTPUT}" in seen.summary()["command"]
    for other in (("run", "jobs.jsonl", "--base-url", moody.url), ("finish", OUTPUT, "--yes")):
        refused = program.run(*other)
        assert refused.code == 6, refused.err
        assert "batchproc retry" in refused.err
    moody.slow = frozenset()
    done = program.run(*command)
    assert done.code == 0, done.err
    assert sorted(sent(moody, count)) == ["job 20", "job 20", "job 3", "job 59"]
    lines = results(folder / OUTPUT)
    assert [lines[k]["attempts"] for k in (3, 20, 59)] == [2, 3, 2]
    assert "3 of 3 failed lines are answered now" in done.err


_DIE = """
import os, sys
from batchproc.cli.main import main
name, nth = {name!r}, {nth}
real, calls = getattr(os, name), 0
def dying(*args, **kwargs):
    global calls
    calls += 1
    if calls == nth and {before}: os._exit(9)
    result = real(*args, **kwargs)
    if calls == nth: os._exit(9)
    return result
setattr(os, name, dying)
main()
"""


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("name", "nth"), [("replace", 1), ("fsync", 1), ("fsync", -3), ("fsync", -2), ("fsync", -1)])
def test_killed_at_the_end(program: Program, folder: Path, moody: Any, name: str, nth: int, before: bool) -> None:
    """Dead before or after the copy, its rename or the last record: the same command ends it and asks nothing again."""
    old = failed_run(program, moody)
    moody.bad = frozenset({20})
    command = ["retry", OUTPUT, "--base-url", moody.url]
    if nth < 0:  # counted from the end: the copy, the folder, the checkpoint
        counting = "import os, atexit; n = [0]; real = os.fsync\n"
        counting += "def count(fd): n[0] += 1; return real(fd)\n"
        counting += "os.fsync = count; atexit.register(lambda: open('count', 'w').write(str(n[0])))\n"
        counting += "from batchproc.cli.main import main\nmain()"
        files = {p.name: p.read_bytes() for p in folder.iterdir()}
        assert _python(program, counting, command) == 3
        nth += int((folder / "count").read_text()) + 1
        for path in folder.iterdir():
            path.unlink()
        for file, data in files.items():
            (folder / file).write_bytes(data)
    count = len(moody.requests)
    assert _python(program, _DIE.format(name=name, nth=nth, before=before), command) == 9
    done = program.run(*command, "--only", "content_policy")
    assert done.code == 3, done.err
    again = sorted(sent(moody, count))
    assert again in (["job 20", "job 3", "job 59"], ["job 20", "job 20", "job 3", "job 59"]), again
    lines = results(folder / OUTPUT)
    assert {k for k, line in enumerate(lines) if line["error"]} == {20}
    assert [line for k, line in enumerate((folder / OUTPUT).read_bytes().splitlines(True)) if k not in (3, 20, 59)] == [
        line for k, line in enumerate(old) if k not in (3, 20, 59)
    ]
    assert program.run("status", OUTPUT).code == 3
    assert "nothing to do" in program.run("run", "jobs.jsonl", "--base-url", moody.url).err


def _python(program: Program, code: str, args: list[str]) -> int:
    """Run the program inside some code."""
    script = program.folder.parent / "code.py"
    script.write_text(code)
    return program.run(*args, script=script).code


def test_what_is_refused(program: Program, folder: Path, moody: Any) -> None:
    """2 for what is not there, 6 for an unfinished run, for another setting, and for another provider."""
    assert program.run("retry", OUTPUT, "--base-url", moody.url).code == 2
    chats(folder / "jobs.jsonl", 10)
    moody.bad = frozenset({3})
    assert program.run("run", "jobs.jsonl", "--base-url", moody.url, "--limit", "5").code == 3
    unfinished = program.run("retry", OUTPUT, "--base-url", moody.url)
    assert unfinished.code == 6
    assert "unfinished" in unfinished.err
    assert program.run("run", "jobs.jsonl", "--base-url", moody.url).code == 3
    count = len(moody.requests)
    for options in (("--model", "gpt-4o"), ("--simulate",), ("--base-url", "http://127.0.0.1:1/v1")):
        given = options if "--model" not in options else (*options, "--base-url", moody.url)
        other = program.run("retry", OUTPUT, *given)
        assert other.code == 6, other.err
        assert "--accept-changes" in other.err
    assert len(moody.requests) == count


def test_a_refused_key(program: Program, folder: Path, moody: Any, simulator: Callable[..., Simulator]) -> None:
    """A retry ends by the guards of a run: exit 4, nothing burnt, and goes on once that is mended."""
    before = failed_run(program, moody)
    locked = simulator(key="sk-right")
    options = ("--base-url", locked.url, "--accept-changes")
    refused = program.run("retry", OUTPUT, *options, env={"OPENAI_API_KEY": "sk-wrong"})
    assert refused.code == 4, refused.err
    assert (folder / OUTPUT).read_bytes() == b"".join(before)
    done = program.run("retry", OUTPUT, *options, env={"OPENAI_API_KEY": "sk-right"})
    assert done.code == 0, done.err
    assert {k for k, line in enumerate(results(folder / OUTPUT)) if line["error"]} == set()


def test_of_a_closed_run(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """What `finish` closed can be sent after all, bad lines included once they are corrected."""
    server = simulator()
    jobs = [chat(f"job {k}") for k in range(30)]
    write_jobs(folder / "jobs.jsonl", [*jobs[:5], "no job", *jobs[6:]])
    assert program.run("run", "jobs.jsonl", "--base-url", server.url, "--limit", "10").code == 3
    assert program.run("finish", OUTPUT, "--yes").code == 3
    write_jobs(folder / "jobs.jsonl", jobs)
    done = program.run("retry", OUTPUT, "--base-url", server.url)
    assert done.code == 0, done.err
    assert [line["attempts"] for line in results(folder / OUTPUT)] == [1] * 30
    assert len(server.ledger()) == 30
