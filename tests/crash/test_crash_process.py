"""The process is treated badly: suspended, restarted within the minute, short of descriptors and threads, without
standard streams or a folder; nobody listens."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import Program, chats, check_chats, environment, noted, results, wait_until
from servers import Simulator


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


FEWTHREADS = str(Path(__file__).with_name("fewthreads.py"))


@pytest.mark.parametrize("server", [{"latency": "0.02"}], indirect=True)
@pytest.mark.parametrize("most", [0, 1, 3, 5])
def test_few_threads(program: Program, server: Simulator, most: int) -> None:
    """Five threads do for a run. With one it says so before anything is sent; with three it may lack one later on."""
    chats(program.folder / "jobs.jsonl", 40)
    words = [
        sys.executable,
        FEWTHREADS,
        str(most),
        "run",
        "jobs.jsonl",
        "--base-url",
        server.url,
        "--progress",
        "plain",
    ]
    done = subprocess.run(
        words,
        cwd=program.folder,
        env=environment(program.folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    if most < 2:
        assert done.returncode == 2, done.stderr
        assert "threads" in done.stderr
        assert "ulimit -u" in done.stderr
        assert not server.ledger()
        return
    if most < 5 and done.returncode == 2:
        assert "ulimit -u" in done.stderr
        assert program.run(*words[3:]).code == 0
    else:
        assert done.returncode == 0, done.stderr
    check_chats(program.folder / "jobs.results.jsonl", 40)


@pytest.mark.parametrize("server", [{"latency": "0.02"}], indirect=True)
def test_hardly_any_descriptors(program: Program, server: Simulator) -> None:
    """Fewer open files than one connection needs: said before anything is sent."""
    chats(program.folder / "jobs.jsonl", 3)
    words = ["run", "jobs.jsonl", "--base-url", server.url]
    done = program.run(*words, before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12)))
    assert done.code == 2, done.err
    assert "only 12 open files" in done.err
    assert "Traceback" not in done.err
    assert not server.ledger()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are those of Linux")
@pytest.mark.parametrize("server", [{"latency": "0.02"}], indirect=True)
def test_hardly_any_memory(program: Program, server: Simulator) -> None:
    """Where it lacks memory it says so or ends well, without a traceback; with more, the same command goes on."""
    chats(program.folder / "jobs.jsonl", 20)
    words = ["run", "jobs.jsonl", "--base-url", server.url]
    size = 60 << 20
    done = program.run(*words, before=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
    assert done.code == 2, done.err
    assert "ulimit" in done.err
    assert "Traceback" not in done.err
    assert program.run(*words).code == 0
    assert len(server.ledger()) == 20


def closing(*numbers: int) -> Callable[[], None]:
    """Closes these of the child's streams."""
    return lambda: [os.close(n) for n in numbers] and None


@pytest.mark.parametrize("server", [{"latency": "0.02"}], indirect=True)
@pytest.mark.parametrize(
    ("closed", "words", "code", "said"),
    [
        ((0, 1, 2), [], 0, ""),  # no connection, and no file, may get their numbers
        ((0,), [], 0, ""),
        ((1,), ["--json"], 7, "standard output is closed"),
        ((1,), ["-o", "-"], 7, "standard output is closed"),
    ],
)
def test_closed_streams(
    program: Program, server: Simulator, closed: tuple[int, ...], words: list[str], code: int, said: str
) -> None:
    """Standard streams that are closed: only what needs them fails, in words."""
    chats(program.folder / "jobs.jsonl", 20)
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, *words, before=closing(*closed))
    assert done.code == code, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    if "-o" not in words:
        check_chats(program.folder / "jobs.results.jsonl", 20)


def test_no_standard_input(program: Program) -> None:
    """Jobs from a standard input that is closed: exit 2."""
    done = program.run("run", "-", "-o", "out.jsonl", "--simulate", before=closing(0))
    assert done.code == 2, done.err
    assert "standard input is closed" in done.err


@pytest.mark.parametrize("server", [{"latency": "0.05"}], indirect=True)
def test_the_current_folder_is_removed(program: Program, server: Simulator) -> None:
    """Before or during a run: files that are named in full are all it needs."""
    jobs = chats(program.folder / "jobs.jsonl", 60)
    for when in ("before", "during"):
        gone = program.folder / "gone"
        gone.mkdir()
        output = program.folder / f"{when}.jsonl"
        script = 'cd "$0" && exec "$@"' if when == "during" else 'cd "$0" && rmdir "$0" && exec "$@"'
        words = ["run", str(jobs), "-o", str(output), "--base-url", server.url, "--concurrency", "4"]
        with subprocess.Popen(
            ["sh", "-c", script, str(gone), sys.executable, "-m", "batchproc", *words],
            env=environment(program.folder),
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            if when == "during":
                server.received(70)
                gone.rmdir()
            assert child.stderr is not None
            err = child.stderr.read()
            assert child.wait(60) == 0, err
        assert "Traceback" not in err
        check_chats(output, 60)


@pytest.mark.parametrize("server", [{"latency": "0.02"}], indirect=True)
@pytest.mark.parametrize("words", [["nohup"], ["setsid", "--wait"], ["env", "-u", "HOME"]])
def test_unusual_surroundings(program: Program, server: Simulator, words: list[str]) -> None:
    """Without a terminal, in a session of its own, without a home."""
    chats(program.folder / "jobs.jsonl", 10)
    done = subprocess.run(
        [*words, sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "--base-url", server.url],
        cwd=program.folder,
        env=environment(program.folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_chats(program.folder / "jobs.results.jsonl", 10)
