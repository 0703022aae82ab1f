"""What each part of the program costs a job, measured alone: CPU of the process, best of three passes of 20,000 jobs.

`wire` is a real request to the loopback server, 200 in flight; the rest is in memory, but `store`, which writes files.
What is missing from the sum is asyncio itself: tasks that wake each other, and the cache misses of taking turns.

    python stages.py
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from fastserver import HEADERS, answer, serving
from machine import machine
from overhead import line

from batchproc.building.trackers import capacity_maker
from batchproc.core.decisions import Grant
from batchproc.core.modelqueue import Policy
from batchproc.core.scheduler import Scheduler
from batchproc.events import JobEnded, RequestEnded, RequestSent
from batchproc.model import Answer, Job, RawLine, Reply
from batchproc.providers.choose import provider_for
from batchproc.resultline import answered
from batchproc.settings import Limits
from batchproc.store.jobs import JobParser
from batchproc.store.lines import read_lines
from batchproc.store.opening import open_store
from batchproc.tokens.output import LearntOutput
from batchproc.tokens.weigh import Weigher
from batchproc.wire.http import HttpTransport

N, IN_FLIGHT = 20_000, 200
SAID = Reply(200, dict(HEADERS) | {"content-type": "application/json", "content-length": "600"}, answer().encode())


class _Blocks:
    """The jobs as one file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        block, self._data = self._data[: 1 << 20], self._data[1 << 20 :]
        return block

    async def close(self) -> None:
        pass


async def read(data: bytes) -> list[RawLine]:
    return [raw async for batch in read_lines(_Blocks(data)) for raw in batch]


def parse(raws: list[RawLine]) -> list[Job]:
    parser = JobParser(endpoint=None, model=None, strip_v1=True)
    return [job for raw in raws if isinstance(job := parser.parse(raw), Job)]


def weigh(jobs: list[Job]) -> None:
    weigher = Weigher(exact=True)
    for job in jobs:
        weigher.weigh(job.path, job.model, job.body)


def schedule(jobs: list[Job]) -> None:
    now = 0.0
    limits = Limits(rpm=60_000_000, tpm=60_000_000_000)
    scheduler = Scheduler(
        Policy(concurrency=IN_FLIGHT),
        capacity_maker(lambda model: limits, [], now=lambda: now, wall=0.0),
        lambda model: LearntOutput(),
    )
    provider = provider_for("openai", "http://127.0.0.1/v1", None, {}, {})
    outcome = provider.read("/chat/completions", SAID, 0.0)
    coming, flying = iter(jobs), []
    while True:
        now += 1 / 3000
        while scheduler.queued < 64 and (job := next(coming, None)) is not None:
            scheduler.submit(job)
        step = scheduler.next(now)
        if isinstance(step, Grant):
            flying.append(step.ticket)
        elif not flying:
            return
        if flying and (not isinstance(step, Grant) or len(flying) == IN_FLIGHT):
            ticket = flying.pop(0)
            rates = provider.rates(SAID, 0.0) if scheduler.wants_rates(ticket.job.model, now) else ()
            scheduler.finished(ticket, outcome, now, 0.5, rates)


def understand(jobs: list[Job]) -> None:
    provider = provider_for("openai", "http://127.0.0.1/v1", None, {}, {})
    for job in jobs:
        provider.read(job.path, SAID, 0.0)


def write_line(jobs: list[Job], outcome: Answer) -> None:
    for job in jobs:
        answered(job, outcome, 1)


def tell(jobs: list[Job], outcome: Answer) -> None:
    from batchproc.core.stats import Stats

    stats = Stats()
    for job in jobs:
        stats.on(RequestSent(1.0, job.model, job.index, 100))
        stats.on(RequestEnded(2.0, job.model, job.index, 1.0, None, outcome.usage))
        stats.on(JobEnded(2.0, job.index, job.line, None, ""))


async def store(jobs: list[Job], outcome: Answer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.jsonl")
        opened = await open_store(path, path + ".ckpt", identity={}, input_identity=None, accept_changes=False)
        kept = opened.store
        running = asyncio.create_task(kept.run())
        results = [answered(job, outcome, 1) for job in jobs]
        spent = time.process_time()
        for n, result in enumerate(results):
            kept.sent("gpt-4o-mini", result.index, 100)
            kept.put(result)
            if n % 40 == 39:
                await asyncio.sleep(0.012)  # 3,300 a second
        kept.close(done=True)
        await running
        _inner.append(time.process_time() - spent)


_inner: list[float] = []


async def wire(jobs: list[Job], url: str) -> None:
    transport = HttpTransport(url_for=lambda path, model: url + path, headers={"Authorization": "x"}, timeout_s=600)
    await transport.open()
    coming = iter(jobs)

    async def work() -> None:
        for job in coming:
            reply = await transport.send(job.path, job.model, job.body)
            assert reply.status == 200

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    await transport.close()


def best(work: Callable[[], Any], times: int = 3) -> float:
    """CPU seconds of the best pass."""
    spent = []
    for _ in range(times):
        gc.collect()
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def looped(make: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Any]:
    return lambda: uvloop.run(make())


def stages() -> None:
    """Print the table."""
    gc.set_threshold(100_000, 50, 50)
    data = "".join(line(i) + "\n" for i in range(N)).encode()
    raws = uvloop.run(read(data))
    jobs = parse(raws)
    weigher = Weigher(exact=True)
    weigher.preload("gpt-4o-mini")
    outcome = provider_for("openai", "http://127.0.0.1/v1", None, {}, {}).read("/chat/completions", SAID, 0.0)
    assert isinstance(outcome, Answer)
    assert json.loads(answered(jobs[0], outcome, 1).line)["index"] == 0
    rows = [
        ("read lines, digests", best(looped(lambda: read(data)))),
        ("parse jobs", best(lambda: parse(raws))),
        ("weigh (tiktoken)", best(lambda: weigh(jobs))),
        ("schedule, both trackers", best(lambda: schedule(jobs))),
        ("understand the answer", best(lambda: understand(jobs))),
        ("result line", best(lambda: write_line(jobs, outcome))),
        ("count events", best(lambda: tell(jobs, outcome))),
    ]
    for _ in range(3):
        uvloop.run(store(jobs[: N // 4], outcome))
    rows.append(("store (write, fsync)", min(_inner) * 4))
    with serving() as (url, server):
        rows.append(("wire", best(looped(lambda: wire(jobs, url)))))
    print(f"{machine()}; server: {server}; CPU µs a job, each part alone")
    for name, seconds in rows:
        print(f"{name:<26}{seconds / N * 1e6:>7.1f}")
    print(f"{'sum':<26}{sum(s for _, s in rows) / N * 1e6:>7.1f}")


if __name__ == "__main__":
    stages()
