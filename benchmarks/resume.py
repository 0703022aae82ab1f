"""How long a resume takes before it sends its first request, and `status` after a kill, by the lines that are there.

    python benchmarks/resume.py                 a million lines
    python benchmarks/resume.py --lines 100000

Makes the files that a run killed with SIGKILL leaves, of each kind, then runs the real program against the simulated
provider, and prints seconds of wall time; `first request` is counted from the start of the process to the instant the
server saw it. `bytes of an answer` is the size of a body; real ones of chat models have about 500 to 2,000.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batchproc.model import Position, Result, Usage
from batchproc.resultline import request_id
from batchproc.settings import RunSettings
from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings
from batchproc.store.checkpoint import Told, told_record
from batchproc.store.input import identity_of
from batchproc.store.lines import digest_of
from batchproc.store.opening import open_store

MORE = 50  # jobs without an answer, at the end


def job(k: int) -> bytes:
    """Line k of the input."""
    return b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"job %d"}]}' % k


def result(k: int, size: int) -> Result:
    """Its answer, as a run would have put it."""
    key = digest_of(job(k))
    head = f'{{"id":"c-{k}","choices":[{{"index":0,"message":{{"role":"assistant","content":"'
    tail = '"}}],"usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17}}'
    text = head + "x" * max(0, size - len(head) - len(tail)) + tail
    line = (
        f'{{"id": "{request_id(k, key)}", "custom_id": "request-{k}", "index": {k}, "response": {{"status_code": 200, '
        f'"request_id": "req_{k}", "body": {text}}}, "error": null, "attempts": 1}}\n'
    )
    return Result(k, key, line.encode(), None, k + 1, "", Usage(9, 8))


async def make(folder: Path, base_url: str, lines: int, size: int, *, waiting: bool, packed: bool) -> Path:
    """Job file, output and checkpoint of a run of which so many jobs are answered; `waiting`: all but the first."""
    jobs = folder / ("jobs.jsonl.gz" if packed else "jobs.jsonl")
    text = (job(k) + b"\n" for k in range(lines + MORE))
    with gzip.open(jobs, "wb", compresslevel=1) if packed else open(jobs, "wb") as f:
        f.writelines(text)
    output = folder / "out.jsonl"
    settings = RunSettings(
        jobs=str(jobs), output=str(output), checkpoint=f"{output}.ckpt", base_url=base_url, provider="openai"
    )
    identity = settings.identity()
    known = None if packed else identity_of(str(jobs))
    opened = await open_store(str(output), f"{output}.ckpt", identity=identity, input_identity=known)
    store = opened.store
    running = asyncio.create_task(store.run())
    store.tell(Told(time.time(), "run", jobs=str(jobs), folder=str(folder), command="batchproc run"))
    offset = 0
    for k in range(lines + 1):
        if k % 256 == 0:
            store.position(Position(k, k + 1, offset))
        offset += len(job(k)) + 1
        if not (waiting and k == 0) and (waiting or k < lines):
            store.sent("gpt-4o-mini", k, 20)
            store.put(result(k, size))
        if k % 500 == 0:
            await asyncio.sleep(0.001)
        while len(store._results) > 4000:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    store.close()
    await running
    return jobs


def killed(folder: Path) -> None:
    """Let the files look as if the process had been killed a moment later: behind the last mark there is more."""
    with open(folder / "out.jsonl.ckpt", "ab") as f:
        f.write(told_record(Told(time.time(), "run", jobs="", folder="", command="")))


def measure(folder: Path, jobs: Path, url: str, ledger: Path) -> tuple[float, float, float]:
    """Seconds of `status`; to the first request of a resume, by the wall; and of CPU until then."""
    command = [sys.executable, "-m", "batchproc"]
    began = time.perf_counter()
    subprocess.run([*command, "status", "out.jsonl"], cwd=folder, stdout=subprocess.DEVNULL, check=False)
    status_s = time.perf_counter() - began
    before = ledger.stat().st_size if ledger.exists() else 0
    at = time.time()
    words = ["run", jobs.name, "-o", "out.jsonl", "--base-url", url, "--progress", "none"]
    child = subprocess.Popen([*command, *words], cwd=folder, stderr=subprocess.DEVNULL)
    while not ledger.exists() or ledger.stat().st_size == before:
        time.sleep(0.01)
    used = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    child.kill()
    child.wait()
    first = json.loads(ledger.read_bytes()[before:].split(b"\n")[0])["time"]
    return status_s, first - at, (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--answer", type=int, default=500, help="bytes of an answer")
    parser.add_argument("--kinds", default="written,waiting,packed")
    parser.add_argument("--keep", help="folder to keep the files in, or to find them in")
    options = parser.parse_args()
    print(f"{options.lines:,} lines, answers of {options.answer} bytes")
    print(f"{'kind':<28}{'status':>10}{'first request':>16}{'CPU of it':>12}")
    for kind in options.kinds.split(","):
        home = Path(options.keep or tempfile.mkdtemp(prefix="batchproc-resume-"))
        folder = home / kind
        ledger = home / f"{kind}.ledger"
        ledger.unlink(missing_ok=True)
        port_file = folder / "port"
        port = int(port_file.read_text()) if port_file.exists() else 0
        server = Embedded(SimulatorSettings(port=port, latency="0.01", ledger=str(ledger)))
        url = server.start()
        if not folder.exists():
            folder.mkdir(parents=True)
            asyncio.run(
                make(folder, url, options.lines, options.answer, waiting=kind == "waiting", packed=kind == "packed")
            )
            killed(folder)
            port_file.write_text(url.split(":")[2].split("/")[0])
        jobs = folder / ("jobs.jsonl.gz" if kind == "packed" else "jobs.jsonl")
        backup = home / f"{kind}.backup"
        shutil.copytree(folder, backup)
        status_s, first_s, cpu_s = measure(folder, jobs, url, ledger)
        for name in ("out.jsonl", "out.jsonl.ckpt"):
            shutil.copy2(backup / name, folder / name)
        shutil.rmtree(backup)
        server.stop()
        names = {"written": "written, killed", "waiting": "all wait for the first", "packed": "written, .gz input"}
        print(f"{names[kind]:<28}{status_s:>8.2f} s{first_s:>14.2f} s{cpu_s:>10.2f} s", flush=True)
        if not options.keep:
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
