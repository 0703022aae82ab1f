"""How long `batchproc merge` takes and how much memory it needs, by the lines that are there.

    python benchmarks/merge.py                  100,000 and 1,000,000 lines, in 8 shards
    python benchmarks/merge.py --lines 20000

Makes the parts that finished shards leave, then runs the real program, and prints seconds of wall and processor time,
lines and megabytes of output a second of processor time, and the peak of the resident memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine
from msgspec import Struct

from batchproc.model import Answer, Job, Position, Usage
from batchproc.resultline import answered
from batchproc.store.attempts import path_of
from batchproc.store.checkpoint import Header, Mark, header_records, mark_record
from batchproc.store.lines import digest_of
from batchproc.store.parts import manifest_for
from batchproc.store.totals import Totals

SHARDS = 8
IDENTITY: dict[str, str | None] = {"`--base-url`": "http://localhost/v1", "`--endpoint`": None, "`--model`": None}


class Took(Struct):
    """One merge."""

    lines: int
    size: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def make(folder: Path, lines: int, body: int) -> str:
    """A job file of 1.9 kB lines and its finished parts; returns the name of the output."""
    jobs, output = folder / "jobs.jsonl", str(folder / "out.jsonl")
    with jobs.open("wb") as f:
        for k in range(lines):
            f.write(job(k) + b"\n")
    manifest = manifest_for(output, str(jobs), SHARDS, IDENTITY)
    tail = b'"}}],"model":"gpt-4o-mini","usage":{"prompt_tokens":400,"completion_tokens":200,"total_tokens":600}}'
    text = b'{"id":"c-1","choices":[{"index":0,"message":{"role":"assistant","content":"' + b"x" * body + tail
    with jobs.open("rb") as f:
        for shard in range(SHARDS):
            path = path_of(output, shard, 1)
            n = 0
            with open(path, "wb") as out:
                while f.tell() < manifest.cuts[shard + 1]:
                    digest = digest_of(f.readline().strip())
                    one = Job(n, n + 1, digest, f"request-{n}", "/chat/completions", "gpt-4o-mini", b"{}")
                    out.write(answered(one, Answer(200, f"req_{n}", text, Usage(400, 200)), 1).line)
                    n += 1
            totals = Totals()
            totals.add(None, Usage(400 * n, 200 * n), 0, "", "gpt-4o-mini")
            totals.succeeded = n
            mark = Mark(time.time(), n, os.path.getsize(path), Position(0, 1, 0), totals, None, True, saved=totals)
            Path(path + ".ckpt").write_bytes(header_records(Header(IDENTITY)) + mark_record(mark))
    return output


def job(k: int) -> bytes:
    """Line k of the input: without a name, so that its name has to be made anew."""
    return b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"%d %s"}]}' % (k, b"y" * 1800)


def merge(lines: int, body: int) -> Took:
    """Make the parts and merge them with the real program."""
    with tempfile.TemporaryDirectory() as name:
        output = make(Path(name), lines, body)
        began = time.monotonic()
        child = subprocess.Popen([sys.executable, "-m", "batchproc", "merge", output], stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"merge ended with {child.returncode}")
        cpu_s = used.ru_utime + used.ru_stime
        return Took(lines, os.path.getsize(output), wall_s, cpu_s, used.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, action="append", help="default: 100,000 and 1,000,000")
    parser.add_argument("--body", type=int, default=900, help="bytes of text in an answer")
    args = parser.parse_args()
    print(machine())
    print("| lines | output MB | wall s | processor s | lines/s | MB/s | peak MB |\n|---|---|---|---|---|---|---|")
    for lines in args.lines or (100_000, 1_000_000):
        t = merge(lines, args.body)
        mb = t.size / 1e6
        print(
            f"| {t.lines:,} | {mb:,.0f} | {t.wall_s:.1f} | {t.cpu_s:.1f} | {t.lines / t.cpu_s:,.0f} | "
            f"{mb / t.cpu_s:.0f} | {t.peak_mb:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
