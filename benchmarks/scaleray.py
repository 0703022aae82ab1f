"""`--engine ray` against plain processes: the same shards, server and jobs. The Ray part of `scale.py`.

    python benchmarks/scaleray.py [--jobs 60000] [--rounds 3] [--shards 8]

Two workers of a Ray of their own, and two processes `--shard 0/2` and `1/2`, by turns, each with 100 requests in flight
on a server that answers at once. Requests a second are counted from when the first shard has its checkpoint to when the
output is whole (Ray: merged; plain: not merged yet). What starts and ends it is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fastserver import serving
from machine import machine

_AT_ONCE = 100


def write_jobs(path: Path, count: int) -> None:
    """Jobs of some 400 bytes."""
    with path.open("w") as f:
        for k in range(count):
            message = {"role": "user", "content": f"job {k} " + "word " * 60}
            f.write(json.dumps({"model": "gpt-4o-mini", "messages": [message]}) + "\n")


class Timed:
    """One way of running, from nothing. `jobs_a_second` without, `whole_s` with what starts and ends it."""

    def __init__(self, folder: Path, count: int, url: str, commands: list[list[str]]) -> None:
        output = folder / "out.jsonl"
        shutil.rmtree(f"{output}.parts", ignore_errors=True)
        for name in (output, Path(f"{output}.ckpt"), Path(f"{output}.lock")):
            name.unlink(missing_ok=True)
        common = [sys.executable, "-m", "batchproc", "run", "jobs.jsonl", "-o", "out.jsonl", "--base-url", url, "-q"]
        common += ["--concurrency", str(_AT_ONCE)]
        began = time.time()
        children = [subprocess.Popen([*common, *words], cwd=folder) for words in commands]
        parts = Path(f"{output}.parts")
        while not any(parts.glob("*.ckpt")):
            time.sleep(0.005)
            assert all(child.poll() in (None, 0) for child in children), "a run has failed"
        first = time.time()
        codes = [child.wait() for child in children]
        assert codes == [0] * len(codes), codes
        ended = time.time()
        whole = os.stat(output).st_ctime if output.exists() else ended  # of its rename
        self.jobs_a_second = count / (whole - first)
        self.start_s, self.end_s, self.whole_s = first - began, ended - whole, ended - began


def compare(jobs: int, rounds: int, shards: int) -> tuple[list[Timed], list[Timed]]:
    """Plain and Ray, by turns."""
    plain, ray = [], []
    with tempfile.TemporaryDirectory() as name, serving() as (url, server):
        folder = Path(name)
        write_jobs(folder / "jobs.jsonl", jobs)
        print(f"{machine()}; server: {server}; {jobs:,} jobs, {rounds} rounds\n", flush=True)
        base = url.removesuffix("/chat/completions")
        for _ in range(rounds):
            plain.append(Timed(folder, jobs, base, [["--shard", f"{i}/2"] for i in range(2)]))
            ray.append(Timed(folder, jobs, base, [["--engine", "ray", "--workers", "2", "--shards", str(shards)]]))
    return plain, ray


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=8)
    given = parser.parse_args(words)
    plain, ray = compare(given.jobs, given.rounds, given.shards)
    print("| median of | requests/s | start, s | end, s | whole, s |\n|---|---|---|---|---|")
    for name, timed in (("two processes", plain), (f"Ray, 2 workers, {given.shards} shards", ray)):
        middle = [
            statistics.median(getattr(t, f) for t in timed) for f in ("jobs_a_second", "start_s", "end_s", "whole_s")
        ]
        print(f"| {name} | {middle[0]:,.0f} | {middle[1]:.1f} | {middle[2]:.1f} | {middle[3]:.1f} |")
    shares = [r.jobs_a_second / p.jobs_a_second for p, r in zip(plain, ray, strict=True)]
    print(f"\nRay ÷ two processes: {', '.join(f'{s:.1%}' for s in shares)}; median {statistics.median(shares):.1%}")


if __name__ == "__main__":
    main()
