"""The same question as throttle.py over real HTTP: the program itself against the simulated provider as a process.

3,000 jobs on each of the five kinds of windows, 1,200 requests and 60,000 tokens a minute, all five at a time (they
mostly wait). Prints seconds from the first request to the last one that was admitted, by the server's ledger; the same
of a clairvoyant client whose first request comes at the same instant of the server's windows; and the 429s.

    python benchmarks/throttle_http.py                 about four minutes
    python benchmarks/throttle_http.py --jobs 1300     shorter
    python benchmarks/throttle_http.py --no-headers    a server that says nothing
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import throttle
from throttle import WINDOWS, chat, optimum_s

from batchproc.simulator.settings import SimulatorSettings

RPM, TPM = 1200, 60_000
PHASE_S = 23.0  # of calendar minutes, after the first request


def jobs(n: int) -> list[bytes]:
    """Of 20 to 60 tokens: a minute's tokens are for about 1,450 of them, a little more than its requests."""
    u = random.Random(7)
    return [chat(i, 20 + u.randrange(40)) for i in range(n)]


def one(window: str, bodies: list[bytes], *, headers: bool, learn: bool) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        jobs_file = Path(folder, "jobs.jsonl")
        jobs_file.write_bytes(b"\n".join(bodies) + b"\n")
        ledger = Path(folder, "ledger.jsonl")
        serve = [sys.executable, "-m", "batchproc", "simulate", "--port", "0", "--window", window, "--latency", "0.5"]
        serve += ["--phase", str(PHASE_S), "--ledger", str(ledger)]
        serve += ["--rpm", str(RPM), "--tpm", str(TPM), *([] if headers else ["--no-headers"])]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as simulator:
            try:
                assert simulator.stdout is not None
                url = next(word for line in simulator.stdout for word in line.split() if word.startswith("http"))
                started = time.time()  # its clock began within a few milliseconds
                run = [sys.executable, "-m", "batchproc", "run", str(jobs_file), "--base-url", url, "--json", "-q"]
                run += [] if learn else ["--rpm", str(RPM), "--tpm", str(TPM)]
                done = subprocess.run(run, stdout=subprocess.PIPE, check=True)
            finally:
                simulator.terminate()
        seen = [json.loads(line) for line in ledger.read_bytes().splitlines()]
    first, last = seen[0]["time"], max(entry["time"] for entry in seen if entry["admitted"])
    phase_s = PHASE_S - (first - started)
    server = SimulatorSettings(rpm=RPM, tpm=TPM, window=window, phase_s=phase_s, headers=headers)
    seconds, best = last - first, optimum_s(bodies, server) - throttle.LATENCY_S
    requests, refused = len(seen), sum(entry["status"] == 429 for entry in seen)
    assert json.loads(done.stdout)["rate_limited"] == refused
    ratio = f"{seconds / best:.3f}" if best > 0 else "-"  # all may go at once
    return f"{window:<12}{seconds:>8.1f} s{best:>10.1f} s{ratio:>8}{refused:>8} of {requests}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--no-headers", action="store_true")
    parser.add_argument("--learn", action="store_true", help="do not tell the client the limits")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    bodies = jobs(given.jobs)
    print(f"{given.jobs} jobs, {RPM} requests and {TPM:,} tokens a minute")
    print(f"{'window':<12}{'seconds':>10}{'optimum':>12}{'ratio':>8}{'429s':>8}")
    wanted = [w for w in WINDOWS if given.only in w]
    with ThreadPoolExecutor(len(wanted)) as threads:
        rows = [threads.submit(one, w, bodies, headers=not given.no_headers, learn=given.learn) for w in wanted]
        for row in rows:
            print(row.result(), flush=True)


if __name__ == "__main__":
    main()
