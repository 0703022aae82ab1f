"""`--engine ray`: the output of one process, whatever is killed. One local Ray serves all runs of this file."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from program import Program, Running, chat, chats, check_chats, environment, wait_until, write_jobs
from servers import Simulator

pytestmark = pytest.mark.xdist_group("ray")
MakeSimulator = Callable[..., Simulator]
KEY = "sk-of-the-driver-only"
AUTH = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # of the Ray that these tests start
RAY = importlib.util.find_spec("ray") is not None
PID = re.compile(r"process (\d+)")


@pytest.fixture(scope="module")
def ray() -> Iterator[str]:
    """The address of a Ray on this machine: what a developer may lack, `.ci/run` may not."""
    if not RAY:
        text = "ray is not installed: pip install -e '.[ray]'"
        if os.environ.get("BATCHPROC_CI"):  # not CI alone: the README's test command installs no Ray
            pytest.fail(text)
        pytest.skip(text)
    program = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
    with tempfile.TemporaryDirectory(prefix="bpray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        options = ["--head", "--block", "--num-cpus=4", "--include-dashboard=false", "--object-store-memory=80000000"]
        command = [*program, "start", *options, f"--temp-dir={folder}", "--port=0"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        with open(f"{folder}/said", "wb") as said:
            head = subprocess.Popen(
                command, stdout=said, stderr=said, env=environment(Path(folder)) | AUTH, start_new_session=True
            )
        try:
            yield wait_until("an address", lambda: _address(Path(folder), head), 120)
            files = [p for p in Path(folder).rglob("*") if p.is_file() and not p.is_symlink()]
            assert any(p.suffix == ".log" for p in files)
            assert not [p for p in files if KEY.encode() in p.read_bytes()], "the key is in what Ray keeps"
        finally:
            os.killpg(head.pid, signal.SIGKILL)  # its workers end with it
            head.wait()


def _address(folder: Path, head: subprocess.Popen[bytes]) -> str:
    said = (folder / "said").read_text(errors="replace")
    assert head.poll() is None, said
    found = re.search(r"--address='([\d.]+:\d+)'", said)
    return found[1] if found and "Ray runtime started" in said else ""


class Cluster:
    """Runs in the cluster, always by the same command."""

    def __init__(self, program: Program, address: str, jobs: Path, url: str) -> None:
        self.program = program
        self.output = program.folder / "out.jsonl"
        self.words: list[Any] = ["run", jobs, "-o", "out.jsonl", "--base-url", url]
        self.words += ["--engine", "ray", "--ray-address", address, "--workers", "2"]

    def start(self, *options: str) -> Running:
        return self.program.start(*self.words, *options, env=AUTH | {"OPENAI_API_KEY": KEY})

    def workers(self) -> set[int]:
        """The processes at work on shards, by what `status` says."""
        seen = self.program.run("status", "out.jsonl", "--json")
        shards = json.loads(seen.out)["shards"] if seen.out else []
        return {s["running"]["pid"] for s in shards if s["running"] is not None}


@pytest.fixture
def cluster(program: Program, ray: str) -> Callable[[Path, str], Cluster]:
    return lambda jobs, url: Cluster(program, ray, jobs, url)


def test_a_worker_and_then_the_driver_are_killed(
    cluster: Callable[[Path, str], Cluster], program: Program, folder: Path, simulator: MakeSimulator
) -> None:
    """Nothing is lost; paid twice is at most what was in flight; the output is that of one process."""
    jobs = chats(folder / "jobs.jsonl", 300)
    jobs.write_bytes(jobs.read_bytes() + b"not json\n" + json.dumps(chat("last", custom_id="request-3")).encode())
    server = simulator(latency="0.15")
    ours = cluster(jobs, server.url)
    at_once = 6
    options = ("--concurrency", str(at_once), "--shards", "4", "--progress", "json")
    first = ours.start(*options)
    wait_until("answers", lambda: len(server.ledger()) >= 60)
    pids = wait_until("two workers", lambda: len(p := ours.workers()) == 2 and p)
    os.kill(min(pids), signal.SIGKILL)
    first.said("was lost")
    wait_until("two workers again", lambda: len(p := ours.workers()) == 2 and min(pids) not in p)
    seen = [json.loads(line) for line in first.err().splitlines() if '"progress"' in line][-1]
    assert 0 < seen["done"] <= 302
    assert KEY not in first.err()
    first.kill()
    first.wait()
    again = ours.start(*options, "--json").wait()
    assert again.code == 3, again.err
    summary = again.summary()
    assert (summary["total"], summary["succeeded"], summary["failed"]) == (302, 301, 1)
    assert summary["resumed"] >= 60
    server.at_rest()
    answered = Counter(e["sha"] for e in server.ledger() if e["status"] == 200)
    assert len(answered) == 301
    # Two kills; a worker has `at_once` in flight, twice that where one shard ends and the next begins.
    assert answered.total() - len(answered) <= at_once * 2 + at_once * 2 * 2
    assert program.run("run", jobs, "-o", "plain.jsonl", "--base-url", simulator().url).code == 3
    without = re.compile(rb'"attempts": \d+')  # what was in flight at the kills was sent twice
    ours_is, plain = ((folder / name).read_bytes() for name in ("out.jsonl", "plain.jsonl"))
    assert without.sub(b"", ours_is) == without.sub(b"", plain)
    asked = len(server.ledger())
    assert "nothing to do" in ours.start(*options[:2]).wait().err
    assert len(server.ledger()) == asked


def test_the_limit_is_that_of_all_workers_and_ctrl_c_stops_all(
    cluster: Callable[[Path, str], Cluster], folder: Path, simulator: MakeSimulator
) -> None:
    """A server that enforces the limit refuses next to nothing; an interrupted run says what to type, and goes on."""
    rpm = 3000
    jobs = chats(folder / "jobs.jsonl", 300)
    server = simulator(latency="0.05", rpm=rpm)
    ours = cluster(jobs, server.url)
    options = ("--rpm", str(rpm), "--drain", "5", "--progress", "plain")
    first = ours.start(*options)
    wait_until("answers of both workers", lambda: len(server.ledger()) >= 80)
    first.kill(signal.SIGINT)
    stopped = first.wait()
    assert stopped.code == 130, stopped.err
    assert "--engine ray" in stopped.err.rpartition("next:")[2]
    assert not (folder / "out.jsonl").exists()
    server.at_rest()
    before = server.ledger()
    done = ours.start(*options).wait()
    assert done.code == 0, done.err
    check_chats(folder / "out.jsonl", 300)
    answered = Counter(e["sha"] for e in server.ledger() if e["status"] == 200)
    assert answered.total() == len(answered) == 300, "what was in flight was awaited"
    admitted = sorted(e["time"] for e in before if e["admitted"])
    spent_s = admitted[-1] - admitted[0]
    assert len(admitted) <= rpm / 60 * (spent_s + 1.5), "two workers that each took the limit would send twice as much"
    refused = [e for e in server.ledger() if e["status"] == 429]
    assert len(refused) <= 10


def test_a_provider_that_refuses_stops_all(
    cluster: Callable[[Path, str], Cluster], folder: Path, simulator: MakeSimulator
) -> None:
    """Exit code 4, no job failed; and a guard over all shards together: exit code 5."""
    jobs = chats(folder / "jobs.jsonl", 64)
    refusing = simulator(faults=("401=100%",))
    began = time.monotonic()
    refused = cluster(jobs, refusing.url).start("--json").wait()
    assert refused.code == 4, refused.err
    assert refused.summary()["failed"] == 0
    assert "next:" in refused.err
    assert time.monotonic() - began < 60
    failing = write_jobs(folder / "bad.jsonl", [{"messages": []} if k % 2 else chat(f"{k}") for k in range(200)])
    ours = cluster(failing, simulator(latency="0.1").url)
    ours.words[3] = "other.jsonl"
    guarded = ours.start("--fail-over", "10%", "--concurrency", "2", "--json").wait()
    assert guarded.code == 5, guarded.err
    assert "--fail-over allows" in guarded.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--workers", "2"], 2, "`--workers` is for `--engine ray`"),
        (["--engine", "ray", "--shard", "0/2"], 2, "contradict each other"),
        (["--engine", "ray", "--limit", "5"], 2, "-o trial.jsonl"),
        (["--engine", "ray", "--max-cost", "5"], 2, "cannot be kept over many workers"),
        (["--engine", "ray", "--max-total-tokens", "5"], 2, "cannot be kept over many workers"),
        (["--engine", "ray", "--fresh", "--yes"], 2, "`--fresh` makes no sense with `--engine ray`"),
        (["--engine", "ray", "-o", "-"], 2, "shards need files"),
        (["--engine", "ray", "--ray-address", "auto"], 2, "add `--workers N`"),
        (["--engine", "ray", "--ray-address", "ray://head:10001", "--workers", "2"], 2, "ray job submit"),
        (["--engine", "ray", "--ray-address", "auto", "--workers", "2"], 2, "`batchproc simulate`"),
    ],
)
def test_what_makes_no_sense_is_said(program: Program, folder: Path, options: list[str], code: int, said: str) -> None:
    """Before Ray is started or anything written; also where Ray is missing."""
    jobs = write_jobs(folder / "jobs.jsonl", [chat("a")])
    done = program.run("run", jobs, "-o", "out.jsonl", "--simulate", *options)
    assert done.code == code
    assert said in done.err
    assert [p.name for p in folder.iterdir()] == ["jobs.jsonl"]


def test_without_the_package_it_says_what_to_type(program: Program, folder: Path) -> None:
    """Not a traceback; the shards that were cut are no harm."""
    jobs = write_jobs(folder / "jobs.jsonl", [chat("a")])
    (folder / "none").mkdir()
    (folder / "none" / "ray.py").write_text("raise ImportError('not here')\n")
    words = ["run", jobs, "-o", "out.jsonl", "--simulate", "--engine", "ray"]
    done = program.run(*words, env={"PYTHONPATH": str(folder / "none")})
    assert done.code == 2
    assert "pip install 'batchproc[ray]'" in done.err
