"""Peak memory of the program at few and at many jobs: it should not grow with the number of jobs.

python memory.py            10,000 and 300,000 jobs: about half an hour
python memory.py --quick    10,000 and 40,000
python memory.py --full     also 1,000,000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fastserver import serving
from machine import machine
from overhead import LIMITS, line

WAYS = ("plain", "first job answers last", "answers of 8 kB", "resumed half-way")


def write_jobs(path: Path, n: int) -> str:
    """A job file whose first job is the one that a server may hold back."""
    with path.open("w") as file:
        file.write(line(0).replace("Order 0", "held-back") + "\n")
        for i in range(1, n):
            file.write(line(i) + "\n")
    return str(path)


def peak_mb(typed: list[str]) -> float:
    """Peak resident memory of a command, in MB."""
    process = subprocess.Popen(typed, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{typed} ended with exit code {process.returncode}")
    return used.ru_maxrss / (1 << 10 if sys.platform != "darwin" else 1 << 20)


def one(way: str, n: int) -> float:
    """The peak of one way at so many jobs."""
    with tempfile.TemporaryDirectory() as folder:
        jobs, out = write_jobs(Path(folder, "jobs.jsonl"), n), f"{folder}/results.jsonl"
        kind = {"chars": 8000 if way == WAYS[2] else 120, "held_for": n - 1 if way == WAYS[1] else 0}
        with serving(**kind) as (url, _):
            run = [sys.executable, "-m", "batchproc", "run", jobs, "-o", out, "--base-url", url, "-q", *LIMITS]
            run += ["--concurrency", "200", "--timeout", "1h"]
            if way == WAYS[3]:
                peak_mb([*run, "--limit", str(n // 2)])
            return peak_mb(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--jobs", type=int, nargs="+")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    counts = given.jobs or [10_000, 40_000 if given.quick else 300_000] + [1_000_000] * given.full
    print(f"{machine()}; peak resident memory, MB, 200 in flight, tokens counted")
    print(f"{'':<24}{''.join(f'{n:>12,}' for n in counts)}{'difference':>12}")
    for way in WAYS:
        if given.only in way:
            peaks = [one(way, n) for n in counts]
            print(f"{way:<24}{''.join(f'{p:>12.0f}' for p in peaks)}{max(peaks) - min(peaks):>12.0f}", flush=True)


if __name__ == "__main__":
    main()
