"""`run_jobs` with `output`: the files of the command, a resume, and what an interruption leaves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from apikit import answer_to, at_rest, engine_tasks, job, take, until

from batchproc import FilesDoNotFit, ProviderRefused, Result, UsageError, run_jobs
from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings


def jobs(n: int = 100) -> Iterator[dict[str, Any]]:
    return (job(i) for i in range(n))


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """The command, as it is typed."""
    args = [sys.executable, "-m", "batchproc", *map(str, words)]
    return subprocess.run(args, capture_output=True, text=True, timeout=120, check=False)


async def asked(server: Any) -> int:
    requests: int = server.stats.document()["requests"]
    return requests


async def test_the_output_is_what_the_command_writes(serving: Callable[..., Any], tmp_path: Path) -> None:
    """Each result is exactly its line, in order, also where results are taken as they come; the lock is gone."""
    server = await serving(latency="0.001-0.05")
    for ordered in (True, False):
        output = tmp_path / f"{ordered}.jsonl"
        results: list[Result] = []
        await take(run_jobs(jobs(), base_url=server.url, output=output, ordered=ordered), results)
        lines = output.read_bytes().splitlines(keepends=True)
        assert [r.line for r in sorted(results, key=lambda r: r.index)] == lines
        assert [json.loads(line)["index"] for line in lines] == list(range(100))
        assert sorted(p.name for p in tmp_path.glob(f"{ordered}*")) == [output.name, output.name + ".ckpt"]
    assert not engine_tasks()


async def test_a_finished_run_yields_it_all_again(serving: Callable[..., Any], tmp_path: Path) -> None:
    """The same call asks nothing; jobs that were appended are asked."""
    server = await serving()
    output = tmp_path / "out.jsonl"
    first: list[Result] = []
    again: list[Result] = []
    more: list[Result] = []
    await take(run_jobs(jobs(50), base_url=server.url, output=output), first)
    await take(run_jobs(jobs(50), base_url=server.url, output=output), again)
    assert [r.line for r in again] == [r.line for r in first]
    assert [r.usage for r in again] == [r.usage for r in first]
    assert await asked(server) == 50
    await take(run_jobs(jobs(60), base_url=server.url, output=output), more)
    assert [r.text for r in more] == [answer_to(n) for n in range(60)]
    assert await asked(server) == 60


@pytest.mark.parametrize("ordered", [True, False])
async def test_leaving_early_keeps_what_was_paid_for(
    serving: Callable[..., Any], tmp_path: Path, ordered: bool
) -> None:
    """What is in flight at a `break` is awaited and saved; the next call asks only for the rest."""
    server = await serving(latency="0.01-0.1")
    output = tmp_path / "out.jsonl"
    async with aclosing(run_jobs(jobs(), base_url=server.url, output=output, concurrency=10, ordered=ordered)) as run:
        async for _ in run:
            if await asked(server) > 40:
                break
    sent = await asked(server)
    assert 40 < sent < 100
    results: list[Result] = []
    await take(run_jobs(jobs(), base_url=server.url, output=output, ordered=ordered), results)
    assert sorted(r.index for r in results) == list(range(100))
    assert all(r.text == answer_to(r.index) for r in results)
    assert await asked(server) == 100, "nothing was asked twice"


async def test_cancelled_twice(serving: Callable[..., Any], tmp_path: Path) -> None:
    """The first cancellation waits for what is in flight, the second does not; both leave usable files."""
    server = await serving(latency="30")
    output = tmp_path / "out.jsonl"
    results: list[Result] = []
    task = asyncio.create_task(take(run_jobs(jobs(), base_url=server.url, output=output), results))
    await until(lambda: server.stats.in_flight > 0)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not engine_tasks()
    await at_rest(server)
    quick = await serving()
    with pytest.raises(FilesDoNotFit, match="base_url"):
        await take(run_jobs(jobs(), base_url=quick.url, output=output), results)
    assert results == []


async def test_a_refused_run_goes_on_once_mended(serving: Callable[..., Any], tmp_path: Path) -> None:
    """The quota is gone in the middle; the files make the second call the rest of the first."""
    server = await serving(quota_after=30)
    output = tmp_path / "out.jsonl"
    results: list[Result] = []
    with pytest.raises(ProviderRefused):
        await take(run_jobs(jobs(), base_url=server.url, output=output, concurrency=4), results)
    assert len(results) == 30
    before = command("status", output)
    assert before.returncode == 5, before.stderr
    assert "30" in before.stdout
    server.provider = Provider(SimulatorSettings(), started_s=time.time())  # the quota is back, at the same address
    results.clear()
    await take(run_jobs(jobs(), base_url=server.url, output=output), results)
    assert [r.text for r in results] == [answer_to(n) for n in range(100)]
    assert await asked(server) <= 100 + 4, "what was refused, and in flight then, is asked again"


async def test_jobs_that_changed(serving: Callable[..., Any], tmp_path: Path) -> None:
    """An answered job that reads differently is refused, in the words of Python."""
    server = await serving()
    output = tmp_path / "out.jsonl"
    results: list[Result] = []
    await take(run_jobs(jobs(20), base_url=server.url, output=output), results)
    changed = [job(n if n != 7 else 700) for n in range(20)]
    with pytest.raises(FilesDoNotFit, match="job 7"):
        await take(run_jobs(changed, base_url=server.url, output=output), [])
    with pytest.raises(FilesDoNotFit, match="has 5 jobs, but 20"):
        await take(run_jobs(jobs(5), base_url=server.url, output=output), [])
    assert await asked(server) == 20


async def test_two_runs_on_one_output(serving: Callable[..., Any], tmp_path: Path) -> None:
    """The second is refused while the first goes on."""
    server = await serving(latency="0.2")
    output = tmp_path / "out.jsonl"
    async with aclosing(run_jobs(jobs(), base_url=server.url, output=output)) as first:
        await anext(first)
        with pytest.raises(FilesDoNotFit, match="another batchproc"):
            await take(run_jobs(jobs(), base_url=server.url, output=output), [])


async def test_a_foreign_output_is_left_alone(serving: Callable[..., Any], tmp_path: Path) -> None:
    """Nothing is overwritten, and the lock is given back."""
    server = await serving()
    output = tmp_path / "out.jsonl"
    output.write_text("mine\n")
    with pytest.raises(FilesDoNotFit):
        await take(run_jobs(jobs(), base_url=server.url, output=output), [])
    with pytest.raises(UsageError, match="is a directory"):
        await take(run_jobs(jobs(), base_url=server.url, output=tmp_path), [])
    assert output.read_text() == "mine\n"
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


async def test_the_command_goes_on_with_the_files(serving: Callable[..., Any], tmp_path: Path) -> None:
    """A file of the same jobs, one `json.dumps` a line, is the same input to the command, and the other way round."""
    server = await serving(latency="0.01")
    output, file = tmp_path / "out.jsonl", tmp_path / "jobs.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in jobs()))
    async with aclosing(run_jobs(jobs(), base_url=server.url, output=output, concurrency=4)) as run:
        async for result in run:
            if result.index == 20:
                break
    done = await asyncio.to_thread(command, "run", file, "-o", output, "--base-url", server.url)
    assert done.returncode == 0, done.stderr
    assert await asked(server) == 100
    results: list[Result] = []
    await take(run_jobs(jobs(), base_url=server.url, output=output), results)
    assert [r.text for r in results] == [answer_to(n) for n in range(100)]
    assert await asked(server) == 100
    seen = await asyncio.to_thread(command, "status", output, "--json")
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout)["state"] == "finished"
    told = await asyncio.to_thread(command, "report", output)
    assert told.returncode == 0, told.stderr
    assert "has no time line" not in told.stdout
