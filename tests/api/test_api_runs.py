"""`run_jobs` against the simulated provider, over real connections."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from apikit import MODEL, answer_to, at_rest, engine_tasks, job, take, until

import batchproc
from batchproc import ProviderRefused, Result, RunStopped, UsageError, run_jobs


async def collect(jobs: Any, server: Any = None, **options: Any) -> list[Result]:
    """All results of a run."""
    if server is not None:
        options["base_url"] = server.url
    return [result async for result in run_jobs(jobs, **options)]


async def test_results_come_in_the_order_of_the_jobs(serving: Callable[..., Any]) -> None:
    """Each is the answer to its own job, and each job is asked once."""
    server = await serving(latency="0.001-0.1")
    results = await collect((job(n) for n in range(200)), server)
    assert [r.index for r in results] == list(range(200))
    assert [r.text for r in results] == [answer_to(n) for n in range(200)]
    assert all(r.ok and r.error is None and r.attempts == 1 and r.status_code == 200 for r in results)
    assert server.stats.document()["requests"] == 200
    assert not engine_tasks()


async def test_results_as_they_come(serving: Callable[..., Any]) -> None:
    """The same results, the quick ones first."""
    server = await serving(latency="0.001-0.2")
    results = await collect((job(n) for n in range(100)), server, ordered=False, concurrency=50)
    order = [r.index for r in results]
    assert order != sorted(order)
    assert sorted(order) == list(range(100))
    assert all(r.text == answer_to(r.index) for r in results)


async def test_an_async_iterable_may_depend_on_the_results(serving: Callable[..., Any]) -> None:
    """A job goes out as soon as it is given: nobody waits for a chunk to fill."""
    server = await serving()
    answered: asyncio.Queue[Result] = asyncio.Queue()

    async def jobs() -> AsyncIterator[dict[str, Any]]:
        yield job(0)
        for n in range(1, 20):
            before = await answered.get()
            assert before.index == n - 1
            yield job(n)

    seen = []
    async for result in run_jobs(jobs(), base_url=server.url):
        seen.append(result.text)
        await answered.put(result)
    assert seen == [answer_to(n) for n in range(20)]


async def test_no_jobs(serving: Callable[..., Any]) -> None:
    """An empty iterable has no results, and nothing is asked."""
    server = await serving()
    assert await collect([], server) == []
    assert server.stats.document()["requests"] == 0


async def test_a_job_that_fails_is_a_result(serving: Callable[..., Any]) -> None:
    """Whatever is wrong with one job stops no other: it has a code, and its message says why."""
    server = await serving(context_length=100)
    jobs = [
        job(0),
        {"messages": []},
        job(2, temperature=math.nan),
        job(3, custom_id="odd", stop={1, 2}),
        job(4, stream=True),
        {"model": MODEL, "messages": [{"role": "user", "content": "word " * 200}]},
        {"custom_id": "six", "method": "POST", "url": "/v1/chat/completions", "body": job(6), "metadata": {"k": [1]}},
    ]
    results = await collect(jobs, server)
    codes = [r.error.code if r.error else None for r in results]
    assert codes == [
        None,
        "invalid_job",
        "invalid_json",
        "invalid_json",
        "invalid_job",
        "context_length_exceeded",
        None,
    ]
    assert [r.custom_id for r in results[3:]] == ["odd", "request-4", "request-5", "six"]
    assert results[1].error is not None
    assert "names no model" in results[1].error.message
    assert results[1].body is None
    assert results[1].text is None
    assert results[5].status_code == 400
    assert results[5].body["error"]["code"] == "context_length_exceeded"
    assert results[6].metadata == {"k": [1]}
    assert results[6].usage.total_tokens == results[6].body["usage"]["total_tokens"] > 0
    assert server.stats.document()["requests"] == 3


async def test_a_bad_key_is_raised(serving: Callable[..., Any]) -> None:
    """Nothing is burnt: at most what went out at once was asked. The key is nowhere."""
    server = await serving(key="sk-the-right-key-0123456789")
    wrong = "sk-the-wrong-key-0123456789"
    with pytest.raises(ProviderRefused) as caught:
        await collect((job(n) for n in range(1000)), server, api_key=wrong)
    assert caught.value.exit_code == 4
    assert caught.value.hint is not None
    assert "--" not in str(caught.value) + caught.value.hint
    assert wrong not in str(caught.value) + caught.value.hint
    assert server.stats.document()["requests"] <= 8
    assert not engine_tasks()


async def test_the_right_key_is_sent(serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the argument, else from the environment."""
    server = await serving(key="sk-the-right-key-0123456789")
    assert (await collect([job(0)], server, api_key="sk-the-right-key-0123456789"))[0].ok
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-right-key-0123456789")
    assert (await collect([job(0)], server))[0].ok


async def test_the_quota_is_gone(serving: Callable[..., Any]) -> None:
    """Every answer that was paid for is delivered first."""
    server = await serving(quota_after=40, latency="0.001-0.02")
    results: list[Result] = []
    with pytest.raises(ProviderRefused):
        await take(run_jobs((job(n) for n in range(1000)), base_url=server.url, concurrency=10), results)
    assert len(results) == 40
    assert all(r.ok for r in results)
    assert [r.index for r in results] == sorted(r.index for r in results)


async def test_a_budget_is_kept(serving: Callable[..., Any]) -> None:
    """The run ends before it could be more; the exception says that it was the budget."""
    server = await serving()
    results: list[Result] = []
    with pytest.raises(RunStopped, match="max_total_tokens") as caught:
        await take(run_jobs((job(n) for n in range(500)), base_url=server.url, max_total_tokens=2000), results)
    assert caught.value.reason == "budget"
    assert 0 < sum(r.usage.total_tokens for r in results) <= 2000


async def test_a_budget_that_cannot_be_kept(serving: Callable[..., Any]) -> None:
    """Nothing is sent for a job whose worst case is not known."""
    server = await serving()
    with pytest.raises(UsageError, match="no price is known"):
        await collect([job(0, model="nobody-knows-me")], server, max_cost=1)
    assert server.stats.document()["requests"] == 0


async def test_too_many_failures(serving: Callable[..., Any]) -> None:
    """The guard's exception comes after the failed results."""
    server = await serving()
    results: list[Result] = []
    with pytest.raises(RunStopped) as caught:
        await take(run_jobs(({"model": MODEL} for _ in range(100)), base_url=server.url, fail_over=0.1), results)
    assert caught.value.reason == "fail_over"
    assert len(results) >= 20


async def test_leaving_early(serving: Callable[..., Any]) -> None:
    """After `break` and `aclose` nothing more is sent, and nothing is left: no task, no request, no open generator."""
    server = await serving(latency="0.05")
    closed = []

    def jobs() -> Iterator[dict[str, Any]]:
        try:
            for n in range(100_000):
                yield job(n)
        finally:
            closed.append(True)

    async with aclosing(run_jobs(jobs(), base_url=server.url, concurrency=20)) as results:
        async for result in results:
            if result.index == 10:
                break
    assert closed == [True]
    assert not engine_tasks()
    sent = server.stats.document()["requests"]
    await at_rest(server)
    assert server.stats.document()["requests"] == sent < 100


async def test_leaving_without_a_word(serving: Callable[..., Any]) -> None:
    """A bare `break` is cleaned up by the loop soon after."""
    server = await serving(latency="0.02")
    async for _ in run_jobs((job(n) for n in range(100_000)), base_url=server.url, concurrency=5):
        break
    gc.collect()
    await until(lambda: not engine_tasks())
    await at_rest(server)
    assert server.stats.document()["requests"] < 100


async def test_cancelled_while_waiting(serving: Callable[..., Any]) -> None:
    """Cancelling whoever takes the results ends the run; its CancelledError is not swallowed."""
    server = await serving(latency="30")
    task = asyncio.create_task(collect((job(n) for n in range(50)), server))
    await until(lambda: server.stats.in_flight > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not engine_tasks()
    await at_rest(server)


async def test_the_iterable_raises(serving: Callable[..., Any]) -> None:
    """Its own exception comes out, after the answers to what was in flight; what was not sent is not sent."""
    server = await serving(latency="0.02-0.05")

    def jobs() -> Iterator[dict[str, Any]]:
        for n in range(30):
            yield job(n)
        raise OSError("the database is gone")

    results: list[Result] = []
    with pytest.raises(OSError, match="the database is gone"):
        await take(run_jobs(jobs(), base_url=server.url, concurrency=8), results)
    assert all(r.ok for r in results)
    assert len(results) == server.stats.document()["requests"] > 0
    assert not engine_tasks()


async def test_an_async_iterable_raises(serving: Callable[..., Any]) -> None:
    """So it is with an async one, also with a cancellation that is none of the run's."""
    server = await serving(latency="0.02")
    for error in (KeyError("x"), asyncio.CancelledError()):

        async def jobs(error: BaseException = error) -> AsyncIterator[dict[str, Any]]:
            yield job(0)
            await asyncio.sleep(0.01)
            raise error

        results: list[Result] = []
        with pytest.raises(type(error)):
            await take(run_jobs(jobs(), base_url=server.url), results)
        assert len(results) == 1


@pytest.mark.parametrize("item", ["text", b"{}", 3, None, ["model"]])
async def test_an_item_that_is_no_dict(serving: Callable[..., Any], item: object) -> None:
    """The iterable is wrong as a whole: a TypeError that says which item, after what was in flight."""
    server = await serving()
    with pytest.raises(TypeError, match="job 1 is of type"):
        await collect([job(0), item], server)


async def test_a_slow_taker_holds_up_the_input(serving: Callable[..., Any]) -> None:
    """No more jobs are taken than `look_ahead` beyond the results that were taken."""
    server = await serving()
    pulled = taken = 0

    def jobs() -> Iterator[dict[str, Any]]:
        nonlocal pulled
        for n in range(300):
            pulled += 1
            yield job(n)

    async for _ in run_jobs(jobs(), base_url=server.url, look_ahead=40):
        taken += 1
        await asyncio.sleep(0.002)
        assert pulled <= taken + 40
    assert taken == pulled == 300


async def test_no_more_jobs_are_taken_than_can_be_sent_soon(serving: Callable[..., Any]) -> None:
    """While requests are slow, the input is not read on."""
    server = await serving(latency="0.2")
    pulled = 0

    def jobs() -> Iterator[dict[str, Any]]:
        nonlocal pulled
        for n in range(100_000):
            pulled += 1
            yield job(n)

    async with aclosing(run_jobs(jobs(), base_url=server.url, concurrency=4)) as results:
        await anext(results)
    assert pulled <= 4 + 64 + 32 + 8


async def test_two_runs_at_once(serving: Callable[..., Any]) -> None:
    """They share nothing but the loop."""
    one, two = await serving(latency="0.001-0.02"), await serving(latency="0.001-0.02")
    first, second = await asyncio.gather(
        collect((job(n) for n in range(100)), one), collect((job(n) for n in range(1000, 1100)), two)
    )
    assert [r.text for r in first] == [answer_to(n) for n in range(100)]
    assert [r.text for r in second] == [answer_to(n) for n in range(1000, 1100)]


async def test_retries_happen_inside(serving: Callable[..., Any]) -> None:
    """A server that fails now and then is none of the caller's business, but `attempts` tells."""
    server = await serving(faults=("500=30%",), seed=3)
    results = await collect((job(n) for n in range(60)), server, max_attempts=50)
    assert all(r.ok for r in results)
    assert max(r.attempts for r in results) > 1


async def test_it_leaves_the_process_alone(serving: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    """No signal handler, no setting of the garbage collector, no limit, no output."""
    import resource

    server = await serving(faults=("500=20%",))

    def state() -> object:
        handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)]
        return handlers, gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE)

    before = state()
    async for _ in run_jobs((job(n) for n in range(20)), base_url=server.url):
        assert state() == before
    with pytest.raises(RunStopped):
        await collect([job(0)], server, max_total_tokens=1)
    assert state() == before
    assert capfd.readouterr() == ("", "")


async def test_the_embedded_provider_is_gone_afterwards() -> None:
    """Also after leaving early, and before it had started: no child process is left."""
    for least in (1, 0):
        async with aclosing(run_jobs((job(n) for n in range(1000)), simulate=True, rpm=600)) as results:
            if least:
                assert (await anext(results)).ok
            else:
                starting = asyncio.ensure_future(anext(results))
                await asyncio.sleep(0.05)
                starting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await starting
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        if children.exists():
            assert children.read_text() == ""
        assert not engine_tasks()


async def test_a_cursor_is_not_closed(serving: Callable[..., Any]) -> None:
    """What is no generator is its owner's, also where it could be closed."""
    server = await serving()

    class Cursor:
        closed = False

        def __init__(self) -> None:
            self.rows = iter([job(0), job(1)])

        def __iter__(self) -> Cursor:
            return self

        def __next__(self) -> dict[str, Any]:
            return next(self.rows)

        def close(self) -> None:
            self.closed = True

    cursor = Cursor()
    assert len(await collect(cursor, server)) == 2
    assert not cursor.closed


async def test_the_public_names() -> None:
    """Everything that is promised can be imported, and nothing else comes by accident."""
    for name in batchproc.__all__:
        assert getattr(batchproc, name) is not None
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = batchproc.nothing  # type: ignore[attr-defined]
