"""The short way: requests of one turn of the loop go out together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from wireserver import Server
from yarl import URL

from batchproc.model import Trouble
from batchproc.wire import http, quick
from batchproc.wire.http import HttpTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def warm(transport: HttpTransport, connections: int) -> quick.Connections:
    """Open so many connections, which stay."""
    await asyncio.gather(*(transport.send("/x", "m", b"{}") for _ in range(connections)))
    assert transport._quick is not None
    return transport._quick


@pytest.mark.parametrize("connect", ["quick"], indirect=True)
async def test_a_few_are_written_at_once(
    serve: Callable[..., Awaitable[Server]],
    connect: Callable[..., Awaitable[HttpTransport]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is awake for the first need not be woken for the others; none waits for more than fifteen."""
    server = await serve(ANSWER)
    transport = await connect(server.url)
    connections = await warm(transport, 40)
    written: list[int] = []
    write = connections._write

    def counted() -> None:
        written.append(len(connections._unwritten))
        write()

    monkeypatch.setattr(connections, "_write", counted)
    replies = await asyncio.gather(*(transport.send("/x", "m", b"%d" % n) for n in range(40)))
    assert [r.status for r in replies] == [200] * 40
    assert sorted(server.bodies[40:]) == sorted(b"%d" % n for n in range(40))
    assert [n for n in written if n] == [16, 16, 8]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_connection_that_ends_before_its_turn(run: Callable[..., None]) -> None:
    """It breaks its own request and no other. (To write to it is an error to uvloop.)"""
    run(cut_before_its_turn())


async def cut_before_its_turn() -> None:
    server = Server(ANSWER)
    await server.start()
    transport = HttpTransport(url_for=lambda path, model: server.url + path, headers={}, timeout_s=20)
    await transport.open()
    connections = await warm(transport, 3)
    surprises: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: surprises.append(context))
    write = connections._write

    def cut_first() -> None:
        connections._unwritten[0][0].abort()
        loop.call_later(0.01, write)  # by then its request has heard of it

    connections._write = cut_first  # type: ignore[method-assign]
    asked = asyncio.gather(*(transport.send("/x", "m", b"%d" % n) for n in range(3)))
    replies = await asyncio.wait_for(asked, 10)
    assert [r.trouble for r in replies] == [Trouble.BROKEN, None, None]
    assert sorted(server.bodies[3:]) == [b"1", b"2"]
    assert surprises == []
    await transport.close()
    await server.stop()


async def test_a_write_that_fails_is_that_of_one_request(
    serve: Callable[..., Awaitable[Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory for one: the others go out, and nobody waits for the time-out."""
    server = await serve(ANSWER)
    transport = HttpTransport(url_for=lambda path, model: server.url + path, headers={}, timeout_s=20)
    await transport.open()
    connections = await warm(transport, 3)

    class Full:
        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            raise MemoryError

    write = connections._write

    def fail_first() -> None:
        _, data, waiter = connections._unwritten[0]
        connections._unwritten[0] = (Full(), data, waiter)  # type: ignore[assignment]
        write()

    monkeypatch.setattr(connections, "_write", fail_first)
    asked = asyncio.gather(*(transport.send("/x", "m", b"%d" % n) for n in range(3)), return_exceptions=True)
    failed, *answers = await asyncio.wait_for(asked, 10)
    assert isinstance(failed, MemoryError)
    assert [r.status for r in answers] == [200, 200]
    await transport.close()


@pytest.mark.parametrize("connect", ["quick"], indirect=True)
async def test_few_ways_are_kept_and_fewer_made(
    serve: Callable[..., Awaitable[Server]],
    connect: Callable[..., Awaitable[HttpTransport]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file may name as many models as it has lines: what is not kept for each of them is kept for their URL."""
    monkeypatch.setattr(http, "_MOST_URLS", 4)
    server = await serve(ANSWER)
    transport = await connect(server.url)
    assert transport._quick is not None
    made: list[URL] = []
    route = transport._quick.route
    monkeypatch.setattr(transport._quick, "route", lambda url, headers: made.append(url) or route(url, headers))
    for n in range(20):
        assert (await transport.send("/x", f"m{n}", b"{}")).status == 200
        assert (await transport.send("/y", f"m{n}", b"{}")).status == 200
    assert len(made) == 2
    assert len(transport._ways) == 4


async def test_a_url_that_cannot_be_asked_is_trouble(connect: Callable[..., Awaitable[HttpTransport]]) -> None:
    """Half a character in it, say: `send` never raises."""
    transport = await connect("http://127.0.0.1:9")
    assert (await transport.send("/\ud800", "m", b"{}")).trouble in (Trouble.BROKEN, Trouble.CONNECT)
