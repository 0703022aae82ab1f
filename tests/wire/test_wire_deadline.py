"""A process that slept was not waiting: what it slept does not count against the deadline of an attempt."""

from __future__ import annotations

import asyncio
import time

import pytest

from batchproc.model import Trouble
from batchproc.wire import deadline, quick
from batchproc.wire.deadline import Deadlines
from batchproc.wire.http import HttpTransport


async def _attempt(deadlines: Deadlines, done: asyncio.Event) -> bool:
    """Whether an attempt that waits for this ran into its deadline."""
    limit = deadlines.begin()
    try:
        async with limit:
            await done.wait()
    except TimeoutError:
        return True
    finally:
        deadlines.end(limit)
    return False


@pytest.fixture(autouse=True)
def short_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats of a hundredth of a second; a tenth is slept through."""
    monkeypatch.setattr(deadline, "BEAT_S", 0.01)
    monkeypatch.setattr(deadline, "SLEPT_S", 0.1)
    monkeypatch.setattr(quick, "BEAT_S", 0.01)
    monkeypatch.setattr(quick, "SLEPT_S", 0.1)


async def test_what_was_slept_does_not_count() -> None:
    """The loop is stopped for longer than the limit: the attempts go on, and the answer that waits is taken."""
    deadlines, done = Deadlines(0.6), asyncio.Event()
    attempts = [asyncio.create_task(_attempt(deadlines, done)) for _ in range(5)]
    await asyncio.sleep(0.03)
    time.sleep(0.9)  # noqa: ASYNC251 - as SIGSTOP does it
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in attempts)
    done.set()
    assert await asyncio.gather(*attempts) == [False] * 5
    deadlines.close()


async def test_a_silent_server_is_given_up_all_the_same() -> None:
    """Sleep only moves the deadline: awake, it passes; also for an attempt that began after waking up."""
    deadlines, never = Deadlines(0.15), asyncio.Event()
    first = asyncio.create_task(_attempt(deadlines, never))
    await asyncio.sleep(0.03)
    time.sleep(0.3)  # noqa: ASYNC251 - as SIGSTOP does it
    second = asyncio.create_task(_attempt(deadlines, never))
    assert await asyncio.wait_for(asyncio.gather(first, second), 60) == [True, True]
    deadlines.close()


async def test_the_short_way_does_not_count_sleep_either() -> None:
    """Two requests under way, the process stopped for longer than the limit: both answers are taken afterwards."""
    release = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"{}")
            await asyncio.wait_for(release.wait(), 60)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
        except (OSError, TimeoutError):
            pass  # given up
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x"
    transport = HttpTransport(url_for=lambda path, model: url, headers={}, timeout_s=0.8, proxy=None, secrets=[])
    await transport.open()
    asked = [asyncio.create_task(transport.send("/x", "m", b"{}")) for _ in range(2)]
    await asyncio.sleep(0.1)
    time.sleep(1.2)  # noqa: ASYNC251 - as SIGSTOP does it
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in asked)
    release.set()
    assert [reply.status for reply in await asyncio.gather(*asked)] == [200, 200]
    release.clear()
    assert (await transport.send("/x", "m", b"{}")).trouble is Trouble.TIMEOUT, "awake, the limit holds"
    await transport.close()
    release.set()
    await asyncio.sleep(0.05)
    server.close()
    await server.wait_closed()
