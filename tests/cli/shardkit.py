"""Parts of a run in shards, as shards leave them, without running any."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from batchproc.model import Answer, BadJob, Position, Usage
from batchproc.resultline import answered, refused
from batchproc.store.attempts import path_of
from batchproc.store.checkpoint import (
    Header,
    Mark,
    Sent,
    Told,
    header_records,
    mark_record,
    result_record,
    sent_record,
    told_record,
)
from batchproc.store.jobs import JobParser
from batchproc.store.lines import line_of
from batchproc.store.parts import Manifest, manifest_for
from batchproc.store.totals import Totals

IDENTITY: dict[str, str | None] = {"`--base-url`": "http://localhost/v1", "`--endpoint`": None, "`--model`": None}
BODY = b'{"choices":[{"message":{"content":"%d"}}],"model":"m","usage":{"prompt_tokens":3,"completion_tokens":2}}'


def job_lines(count: int, bad: Iterable[int] = ()) -> list[bytes]:
    """Lines of a job file; some are bad, some blank ones stand between them."""
    wrong = set(bad)
    lines: list[bytes] = []
    for k in range(count):
        lines.append(b"no job\n" if k in wrong else b'{"model":"m","messages":[{"role":"user","content":"%d"}]}\n' % k)
        if k % 7 == 3:
            lines.append(b"\n")
    return lines


def results_of(data: bytes, attempt: str = "") -> list[tuple[bytes, str | None, bytes]]:
    """(output line, code, checkpoint record) of each job in a file or in a part of it."""
    parser = JobParser(endpoint=None, model=None, strip_v1=True)
    found = []
    offset = index = 0
    for n, piece in enumerate(data.split(b"\n"), 1):
        raw = line_of(piece, index, n, offset)
        offset += len(piece) + 1
        if raw is None:
            continue
        index += 1
        job = parser.parse(raw)
        body = BODY % len(piece)
        r = refused(job) if isinstance(job, BadJob) else answered(job, Answer(200, f"r{attempt}", body, Usage(3, 2)), 1)
        found.append((r.line, r.code, result_record(r)))
    return found


class Parts:
    """A job file and an output in a folder, cut into shards."""

    def __init__(self, folder: Path, data: bytes, count: int) -> None:
        self.folder = folder
        self.jobs = str(folder / "jobs.jsonl")
        self.output = str(folder / "out.jsonl")
        self.data = data
        Path(self.jobs).write_bytes(data)
        self.manifest: Manifest = manifest_for(self.output, self.jobs, count, IDENTITY)

    def whole(self) -> bytes:
        """What one process would write."""
        return b"".join(line for line, _, _ in results_of(self.data))

    def part(self, shard: int) -> bytes:
        """The bytes of a shard."""
        return self.data[self.manifest.cuts[shard] : self.manifest.cuts[shard + 1]]

    def write(
        self,
        shard: int,
        number: int = 1,
        *,
        lines: int | None = None,
        waiting: Iterable[int] = (),
        attempt: str = "",
        fails: Iterable[int] = (),
    ) -> None:
        """An attempt: complete, or killed after so many lines; `fails` are jobs that failed in it."""
        results = results_of(self.part(shard), attempt)
        done = lines is None
        lines = len(results) if lines is None else lines
        totals = Totals()
        written = [line for line, _, _ in results[:lines]]
        for k in fails:
            written[k] = written[k].replace(b'"error": null', b'"error": {"code": "no", "message": "never"}')
        for k, (_, code, _) in enumerate(results[:lines]):
            totals.add(code or ("no" if k in set(fails) else None), Usage(3, 2), k + 1, "", "m")
        output = b"".join(written)
        path = path_of(self.output, shard, number)
        Path(path).write_bytes(output)
        now = time.time()
        records = header_records(Header(IDENTITY))
        records += told_record(
            Told(now, "run", self.jobs, str(self.folder), f"batchproc run jobs.jsonl -o out.jsonl --shard {shard}/9")
        )
        records += sent_record(Sent(now, "m", len(results), 10 * len(results), []))
        records += b"".join(results[k][2] for k in waiting)
        if done:
            mark = Mark(now, lines, len(output), Position(0, 1, 0), totals, None, True, closed=True, saved=totals)
            records += mark_record(mark)
        Path(path + ".ckpt").write_bytes(records)

    def files(self) -> set[str]:
        """What stands beside the job file."""
        return set(os.listdir(self.folder)) - {"jobs.jsonl"}
