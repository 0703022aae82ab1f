"""A long run with faults and kills: `python tests/crash/soak.py --jobs 50000 --kill-every 60 --seed 1`.

The real program against the simulated provider, 5% of whose answers are faulty; it is killed with SIGKILL again and
again, and resumed. Prints for each process how far it came, how soon it sent its first request, and its memory; at the
end whether every job has its own answer, and how many were asked twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path[1:1] = [os.path.join(os.path.dirname(sys.path[0]), name) for name in ("e2e", "store")]

from program import chats, environment
from servers import Simulator

# A refusal that nobody expected stops its model for a while: with one in a hundred the run would wait, not work.
FAULTS = ("500=1.45%", "503=1.45%", "429=0.02%", "reset=0.5%", "cut=0.5%", "empty=0.5%", "truncated=0.58%")


def lines_in(path: Path) -> int:
    """Lines of a file that is there, or 0."""
    if not path.exists():
        return 0
    with path.open("rb") as f:
        return sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b""))


def first_request(ledger: Path, before: int, timeout_s: float = 60) -> float | None:
    """When the first request after so many bytes of the ledger came, as Unix time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if ledger.exists() and ledger.stat().st_size > before:
            with ledger.open("rb") as f:
                f.seek(before)
                line = f.readline()
            if line.endswith(b"\n"):
                return float(json.loads(line)["time"])
        time.sleep(0.02)
    return None


def one_process(command: list[str], folder: Path, ledger: Path, kill_after_s: float) -> tuple[int, float | None, int]:
    """Run, and kill it after so long; exit code, seconds to its first request, most memory in MB."""
    before, began = ledger.stat().st_size if ledger.exists() else 0, time.time()
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=log)
    first = first_request(ledger, before)
    memory = 0
    while child.poll() is None and time.time() < began + kill_after_s:
        try:
            status = Path(f"/proc/{child.pid}/status").read_text()
            memory = max(memory, int(status.split("VmHWM:")[1].split()[0]) // 1024)
        except (OSError, IndexError):
            pass  # it just ended
        time.sleep(0.2)
    if child.poll() is None:
        child.send_signal(signal.SIGKILL)
    return child.wait(), first - began if first is not None else None, memory


def judge(output: Path, ledger: Path, jobs: int) -> str:
    """Every job has the answer to its own question, in order; what was asked twice. Raises AssertionError."""
    with output.open("rb") as f:
        count = 0
        for k, raw in enumerate(f):
            line = json.loads(raw)
            assert line["index"] == k
            assert line["error"] is None, line
            content = line["response"]["body"]["choices"][0]["message"]["content"]
            assert content.endswith(f"job {k}"), line
            count += 1
    assert count == jobs, f"{count} lines for {jobs} jobs"
    good: Counter[str] = Counter()
    requests = 0
    with ledger.open("rb") as f:
        for raw in f:
            entry = json.loads(raw)
            requests += 1
            if entry["status"] == 200 and entry["fault"] is None:
                good[entry["sha"]] += 1
    repeats = sum(good.values()) - len(good)
    return f"{count:,} jobs, {requests:,} requests, {repeats:,} good answers asked for twice (in flight at a kill)"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds")
    parser.add_argument("--concurrency", default="200")
    parser.add_argument("--latency", default="0.05-0.4")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger, output = folder / "ledger", folder / "out.jsonl"
        server = Simulator(ledger, latency=options.latency, faults=FAULTS, seed=options.seed)
        chats(folder / "jobs.jsonl", options.jobs)
        words = ["run", "jobs.jsonl", "-o", "out.jsonl", "--base-url", server.url, "--concurrency", options.concurrency]
        command = [sys.executable, "-m", "batchproc", *words, "--progress", "none"]
        began, kills, code = time.monotonic(), 0, -9
        try:
            while code == -9:
                after_s = options.kill_every * rng.uniform(0.5, 1.5)
                code, first_s, memory = one_process(command, folder, ledger, after_s)
                kills += code == -9
                first = f"{first_s:.1f} s" if first_s is not None else "none"
                print(
                    f"process {kills + (code != -9)}: exit {code}, first request after {first}, {memory} MB, "
                    f"{lines_in(output):,} lines written",
                    flush=True,
                )
            assert code == 0, (folder / "log").read_text()[-2000:]
            took = time.monotonic() - began
            print(f"{judge(output, ledger, options.jobs)}; {kills} kills, {took:.0f} s, seed {options.seed}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
