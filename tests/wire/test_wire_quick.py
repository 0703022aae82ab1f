"""The short way: requests of one turn of the loop go out together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from wireserver import Server

from batchproc.model import Trouble
from batchproc.wire import quick
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
