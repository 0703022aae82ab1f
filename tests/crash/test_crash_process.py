"""The process itself is treated badly: suspended, restarted within the minute, short of descriptors, nobody listens."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import Program, chats, check_chats, environment, noted, results, wait_until
from servers import Simulator


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program in a folder of its own."""
    (tmp_path / "work").mkdir()
    (tmp_path / "log").mkdir()
    made = Program(tmp_path / "work", tmp_path / "log")
    yield made
    made.stop_all()


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A simulated provider with these settings."""
    made = Simulator(tmp_path / "ledger", **getattr(request, "param", {"latency": "1"}))
    yield made
    made.stop()


def test_suspended(program: Program, server: Simulator) -> None:
    """Stopped for longer than --timeout with requests in flight: their answers wait in the sockets and are taken."""
    chats(program.folder / "jobs.jsonl", 16)
    words = ["run", "jobs.jsonl", "--base-url", server.url, "--timeout", "5", "--concurrency", "8"]
    running = program.start(*words)
    server.received(8)
    running.kill(signal.SIGSTOP)
    time.sleep(6)
    running.kill(signal.SIGCONT)
    done = running.wait()
    assert done.code == 0, done.err
    lines = check_chats(program.folder / "jobs.results.jsonl", 16)
    assert [line["attempts"] for line in lines] == [1] * 16
    assert len(server.ledger()) == 16


@pytest.mark.parametrize("server", [{"latency": "1", "rpm": 300, "window": "sliding"}], indirect=True)
def test_restarted_within_the_minute(program: Program, server: Simulator) -> None:
    """The server still counts what the first process sent: the second one sends only what is left of the minute.

    A request is noted a few hundredths of a second after it went out, on an idle machine; the kill waits for that.
    """
    chats(program.folder / "jobs.jsonl", 600)
    words = ["run", "jobs.jsonl", "--base-url", server.url, "--rpm", "300", "--concurrency", "100"]
    first = program.start(*words, "--header", "x-marker=1", "--limit", "90")
    wait_until("90 requests noted", lambda: noted(program.folder / "jobs.results.jsonl.ckpt") == 90)
    first.kill()
    first.wait()
    again = program.run(*words, "--header", "x-marker=2", "--stop-after", "5", "--drain", "1")
    assert again.code == 5, again.err
    refused = [e for e in server.ledger() if e["refused"]]
    assert len(refused) <= 1, f"{len(refused)} refusals"


@pytest.mark.parametrize("server", [{"latency": "0.05"}], indirect=True)
def test_few_descriptors(program: Program, server: Simulator) -> None:
    """A limit of open files below the concurrency: said, lowered, and the run ends well."""
    chats(program.folder / "jobs.jsonl", 300)
    words = ["run", "jobs.jsonl", "--base-url", server.url, "--concurrency", "200", "--progress", "plain"]
    done = program.run(*words, before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
    assert done.code == 0, done.err
    assert "ulimit -n" in done.err
    assert {line["attempts"] for line in check_chats(program.folder / "jobs.results.jsonl", 300)} == {1}


@pytest.mark.parametrize("server", [{"latency": "0.3"}], indirect=True)
def test_nobody_reads_the_results(program: Program, server: Simulator) -> None:
    """The reader of `-o -` goes away: exit 7 at once, with the number of answers that are lost, no traceback."""
    chats(program.folder / "jobs.jsonl", 400)
    words = ["run", "jobs.jsonl", "-o", "-", "--base-url", server.url, "--concurrency", "8", "--progress", "none"]
    with subprocess.Popen(
        [sys.executable, "-m", "batchproc", *words],
        cwd=program.folder,
        env=environment(program.folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert json.loads(child.stdout.readline())["index"] == 0
        child.stdout.close()
        err = child.stderr.read().decode()
        assert child.wait() == 7, err
    assert "standard output" in err
    assert "could not be saved" in err
    assert "Traceback" not in err
    assert len(server.ledger()) < 300


@pytest.mark.parametrize("server", [{"latency": "0.02"}], indirect=True)
@pytest.mark.parametrize("how", ["closed", "a pipe nobody reads"])
def test_nobody_listens(program: Program, server: Simulator, how: str) -> None:
    """Stderr is closed, or its reader went away: the run goes on to its end."""
    chats(program.folder / "jobs.jsonl", 60)
    words = [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "--base-url", server.url, "--progress", "plain"]
    read, write = os.pipe()
    os.close(read)
    code = subprocess.call(
        words,
        cwd=program.folder,
        env=environment(program.folder),
        stderr=write,
        stdout=subprocess.DEVNULL,
        preexec_fn=(lambda: os.close(2)) if how == "closed" else None,
    )
    os.close(write)
    assert code == 0
    assert len(results(program.folder / "jobs.results.jsonl")) == 60
