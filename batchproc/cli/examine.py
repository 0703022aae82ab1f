"""Parses and weighs the lines of a chunk of a job file: what `check` has several processes do."""

from __future__ import annotations

import gc
import hashlib
import signal

from msgspec import Struct

from batchproc.model import Job
from batchproc.plan.survey import Chunk
from batchproc.store.jobs import JobParser
from batchproc.store.lines import line_of
from batchproc.tokens.body import read
from batchproc.tokens.count import by_bytes, count_body
from batchproc.tokens.output import choices, output_cap

_FAR = 1 << 62  # indices in a chunk begin here, so that no `custom_id` looks like the one that is given to a job
_MOST = 0xFFFFFFFF


class How(Struct, frozen=True):
    """How lines are read: as by a run with these options."""

    endpoint: str | None
    model: str | None
    strip_v1: bool
    messages: str = "/v1/chat/completions"  # where a bare job with `messages` goes

    def parser(self) -> JobParser:
        """A parser of these options."""
        return JobParser(endpoint=self.endpoint, model=self.model, strip_v1=self.strip_v1, messages=self.messages)


def start_process() -> None:
    """A process of its own leaves Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(100_000, 50, 50)  # few cycles are made: looking for them costs more than they do


def examine(data: bytes, how: How, *, begins: bool = False) -> Chunk:
    """Look at whole lines; `begins`: the file begins with them."""
    chunk = Chunk()
    parser = how.parser()
    models: dict[str, int] = {}
    pieces = data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()  # what follows the last newline is no line
    for line, piece in enumerate(pieces):
        raw = line_of(piece, _FAR + chunk.jobs, line, 0 if begins and not line else 1)
        if raw is None:
            continue
        job = parser.parse(raw)
        if isinstance(job, Job):
            _add(chunk, job, models)
        else:
            chunk.bad.append((chunk.jobs, line, job.code, job.message))
        chunk.jobs += 1
    chunk.lines = len(pieces)
    return chunk


def _add(chunk: Chunk, job: Job, models: dict[str, int]) -> None:
    name, path, body = job.model, job.path, job.body
    parsed = read(body)
    tokens = count_body(path, parsed, name) if parsed is not None else None
    cap = output_cap(path, parsed) if parsed is not None else None
    if tokens is None:
        tokens = by_bytes(len(body))
        chunk.uncounted[name] = chunk.uncounted.get(name, 0) + 1
    model = models.get(name)
    if model is None:
        model = models[name] = len(models)
        chunk.models.append(name)
    if cap is None:
        cap = -choices(parsed) if parsed is not None else -1
    chunk.at.append(chunk.jobs)
    chunk.line.append(job.line)
    chunk.model.append(model)
    chunk.input.append(min(tokens, _MOST))
    chunk.output.append(cap)
    chunk.bodies.append(_digest(path.encode() + b" " + body))
    given = job.custom_id != f"request-{job.index}"
    chunk.ids.append(_digest(job.custom_id.encode("utf-8", "surrogatepass")) if given else 0)


def _digest(data: bytes) -> int:
    """8 bytes of SHA-256; never 0."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") or 1
