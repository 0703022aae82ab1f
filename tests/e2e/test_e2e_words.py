"""What a run says: JSON that parses and adds up, plain text off a terminal, and little when asked to be quiet."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program, chats, check_chats, environment, results
from servers import Simulator

FAULTS = ("500=10%", "400=10%")


def test_progress_json(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """--progress json is one event object a line on stderr, with nothing in between, ending with the summary."""
    server = simulator(latency="0.02-0.1", faults=FAULTS)
    chats(folder / "jobs.jsonl", 80)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--progress", "json", "-vv")
    assert done.code == 3, done.err
    events = [json.loads(line) for line in done.err.splitlines()]
    assert all(isinstance(event, dict) and event["event"] for event in events)
    names = {event["event"] for event in events}
    assert {"progress", "summary", "job_ended", "job_requeued", "request_sent", "request_ended"} <= names
    assert events[-1]["event"] == "summary"
    last = [event for event in events if event["event"] == "progress"][-1]
    assert last["done"] == last["total"] == 80
    assert sum(event["event"] == "request_sent" for event in events) == len(server.ledger())
    assert "\x1b" not in done.err


@pytest.mark.parametrize("case", ["usage", "refused", "max-wait"])
def test_progress_json_with_an_error(
    program: Program, folder: Path, simulator: Callable[..., Simulator], case: str
) -> None:
    """Where a begun run ends with an error, --progress json still gives nothing but JSON, and its `summary`."""
    server = simulator(key="right" if case == "refused" else None)
    chats(folder / "jobs.jsonl", 10)
    url = "http://127.0.0.1:1/v1" if case == "max-wait" else server.url
    command = ["run", "jobs.jsonl", "--base-url", url, "--progress", "json", "--max-wait", "1"]
    done = program.run(*command, *(["--rpm", "0"] if case == "usage" else []))
    assert done.code == {"usage": 2, "refused": 4, "max-wait": 5}[case], done.err
    if case != "usage":
        events = [json.loads(line) for line in done.err.splitlines()]
        assert events[-1]["event"] == "summary"
        assert events[-1]["error"]


def test_json_summary(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """--json is one document on stdout whose figures agree with the output and the server."""
    server = simulator(latency="0-0.05", faults=FAULTS)
    chats(folder / "jobs.jsonl", 100)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--json", "--progress", "none")
    assert done.code == 3, done.err
    summary = done.summary()
    lines = results(folder / "jobs.results.jsonl")
    failed = [line for line in lines if line["error"]]
    assert summary["total"] == summary["succeeded"] + summary["failed"] + summary["not_run"] == 100
    assert summary["failed"] == len(failed) == sum(group["count"] for group in summary["errors"])
    assert summary["requests"] == len(server.ledger()) == sum(line["attempts"] for line in lines)
    usages = [line["response"]["body"]["usage"] for line in lines if not line["error"]]
    assert summary["input_tokens"] == sum(usage["prompt_tokens"] for usage in usages)
    assert summary["output_tokens"] == sum(usage["completion_tokens"] for usage in usages)
    assert summary["exit_code"] == 3
    assert Path(folder / summary["output"]).samefile(folder / "jobs.results.jsonl")


def test_plain_words_off_a_terminal(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """Into a file there are no escape codes or carriage returns, even when colour is asked for by TERM."""
    server = simulator(faults=FAULTS)
    chats(folder / "jobs.jsonl", 40)
    env = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "-vv", env=env)
    assert done.code == 3
    assert "\x1b" not in done.err + done.out
    assert "\r" not in done.err
    assert done.out == ""
    assert "40 jobs = " in done.err


def test_quiet(program: Program, folder: Path, simulator: Callable[..., Simulator]) -> None:
    """-q says nothing where all is well, and one verdict where it is not."""
    server = simulator()
    chats(folder / "jobs.jsonl", 10)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    failing = simulator(faults=("400=1",))
    done = program.run("run", "jobs.jsonl", "-o", "o.jsonl", "--base-url", failing.url, "-q")
    assert done.code == 3
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("env", "colour"),
    [({"TERM": "xterm-256color"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "no-color", "dumb"],
)
def test_on_a_terminal(
    program: Program, folder: Path, simulator: Callable[..., Simulator], env: dict[str, str], colour: bool
) -> None:
    """A terminal gets a display that is put away at the end; NO_COLOR and TERM=dumb take the colour out of it."""
    pty = pytest.importorskip("pty")
    server = simulator(latency="0.2")
    chats(folder / "jobs.jsonl", 30)
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "--base-url", server.url]
    child = subprocess.Popen(
        command, cwd=folder, env=environment(folder) | env, stdin=end, stdout=subprocess.DEVNULL, stderr=end
    )
    os.close(end)
    said = b""
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    said += os.read(terminal, 65_536)
                except OSError:
                    break  # the other end is closed
            elif child.poll() is not None:
                break
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
        os.close(terminal)
    check_chats(folder / "jobs.results.jsonl", 30)
    assert b"30 jobs = 30 succeeded" in said
    colours = any(code in said for code in (b"\x1b[3", b"\x1b[1m", b"\x1b[2m", b"\x1b[9"))
    assert colours == colour, said
    if env["TERM"] == "dumb":
        assert b"\x1b" not in said
    assert said.count(b"\x1b[?25l") == said.count(b"\x1b[?25h"), "the cursor stays hidden"


def test_version_help_and_completion(program: Program) -> None:
    """The small commands answer on stdout and exit 0; nonsense is exit 2 on stderr."""
    assert program.run("--version").out.startswith("batchproc ")
    assert "--rpm" in program.run("run", "--help").out
    for shell in ("bash", "zsh", "fish"):
        done = program.run("completion", shell)
        assert done.code == 0, done.err
        assert "batchproc" in done.out.lower()
    wrong = program.run("rum")
    assert wrong.code == 2
    assert "Traceback" not in wrong.err
    assert program.run().code == 2


def test_a_reader_that_goes_away(program: Program, folder: Path) -> None:
    """`batchproc run … -o - | head -1` ends without a traceback."""
    chats(folder / "jobs.jsonl", 200)
    command = [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "-o", "-", "--simulate", "-q"]
    child = subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert json.loads(child.stdout.readline())["index"] == 0
    child.stdout.close()
    err = child.stderr.read().decode()
    child.stderr.close()
    assert child.wait(60) == 7, err
    assert "Traceback" not in err
