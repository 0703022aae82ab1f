"""What batchproc itself costs: the whole program against bare aiohttp loops, same server, same jobs, interleaved.

The program counts tokens, keeps both trackers (limits far above what is reached), writes the answers in order and keeps
its checkpoint. The bare loops do nothing but send and read (`bareclients.py`).

Every figure is a difference: a run of N jobs less a run of a few jobs, so that what starting costs is not in it
(`start.py` measures that). The best of several rounds counts. CPU is user and system time of the client's process.

    python overhead.py            20,000 jobs, 5 rounds: about ten minutes
    python overhead.py --quick    5,000 jobs, 2 rounds: about a minute
    python overhead.py --stages   what the program's parts cost a job, each alone

The tuned loop needs orjson, which batchproc itself does not.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fastserver import serving
from machine import machine

FEW = 200
HERE = Path(__file__).parent
LIMITS = ["--rpm", "60m", "--tpm", "60g"]  # never reached


def line(i: int) -> str:
    """A job of about 500 bytes."""
    return (
        f'{{"custom_id": "job-{i}", "method": "POST", "url": "/v1/chat/completions", "body": {{"model": "gpt-4o-mini", '
        '"messages": [{"role": "system", "content": "You sort customers\' messages. Answer with one word: billing, '
        'delivery, returns or other."}, {"role": "user", "content": '
        f'"Order {i * 7919 % 100000} was promised for the {i % 28 + 1}th and is still not here. The tracking page has '
        'not changed in four days. Could you please find out where it is, and tell me when it will come?"}], '
        '"max_tokens": 30, "temperature": 0}}'
    )


def write_jobs(path: Path, n: int) -> str:
    """A job file."""
    path.write_text("".join(line(i) + "\n" for i in range(n)))
    return str(path)


def command(who: str, jobs: str, url: str, in_flight: int, folder: str) -> list[str]:
    """What to type for a contender."""
    if who != "batchproc":
        return [sys.executable, str(HERE / "bareclients.py"), who, jobs, url, str(in_flight)]
    out = f"{folder}/results.jsonl"
    run = [sys.executable, "-m", "batchproc", "run", jobs, "-o", out, "--base-url", url, "-q", "--fresh", "--yes"]
    return [*run, "--concurrency", str(in_flight), *LIMITS]


def measure(typed: list[str], folder: str) -> tuple[float, float]:
    """Seconds on the wall and of CPU that a command takes."""
    for old in Path(folder).glob("results.jsonl*"):
        old.unlink()
    began = time.perf_counter()
    process = subprocess.Popen(typed, cwd=HERE, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{typed} ended with exit code {process.returncode}")
    return wall, used.ru_utime + used.ru_stime


def compare(whos: list[str], levels: list[int], jobs: int, rounds: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, serving() as (url, server):
        many, few = write_jobs(Path(folder, "many.jsonl"), jobs), write_jobs(Path(folder, "few.jsonl"), FEW)
        print(f"{machine()}; server: {server}; {jobs:,} jobs, best of {rounds}")
        ratios = "".join(f"{'rate ÷ ' + who:>15}{'CPU ÷ ' + who:>15}" for who in whos[1:])
        print(f"{'in flight':>9}  {'client':<12}{'per s':>8}{'CPU µs':>8}{ratios}")
        for level in levels:
            walls: dict[str, list[float]] = {who: [] for who in whos}
            cpus: dict[str, list[float]] = {who: [] for who in whos}
            small: dict[str, list[tuple[float, float]]] = {who: [] for who in whos}
            for _ in range(rounds):
                for who in whos:
                    small[who].append(measure(command(who, few, url, level, folder), folder))
                    wall, cpu = measure(command(who, many, url, level, folder), folder)
                    walls[who].append(wall)
                    cpus[who].append(cpu)
            each = {}
            for who in whos:
                start_s, start_cpu = min(s[0] for s in small[who]), min(s[1] for s in small[who])
                each[who] = (min(walls[who]) - start_s) / (jobs - FEW), (min(cpus[who]) - start_cpu) / (jobs - FEW)
            for who in whos:
                wall_s, cpu_s = each[who]
                row = f"{level:>9}  {who:<12}{1 / wall_s:>8.0f}{cpu_s * 1e6:>8.0f}"
                for other in whos[1:]:
                    row += f"{each[other][0] / wall_s:>15.2f}{cpu_s / each[other][1]:>15.2f}"
                print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--levels", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--stages", action="store_true")
    given = parser.parse_args()
    if given.stages:
        from stages import stages

        stages()
        return
    whos = ["batchproc", "stock"]
    if importlib.util.find_spec("orjson"):
        whos.append("tuned")
    else:
        print("orjson is not installed: without the tuned loop")
    compare(
        whos, given.levels, given.jobs or (5000 if given.quick else 20_000), given.rounds or (2 if given.quick else 5)
    )


if __name__ == "__main__":
    main()
