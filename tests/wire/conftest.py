"""Fixtures of the tests of the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from wireserver import Script, Server

from batchproc.wire.http import HttpTransport


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[bytes | Script], Awaitable[Server]]]:
    """Start a server with this answer; it stops when the test ends."""
    servers: list[Server] = []

    async def start(answer: bytes | Script) -> Server:
        server = Server(answer)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture(params=["quick", "ordinary"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Awaitable[HttpTransport]]]:
    """Open a transport to a base URL; it is closed when the test ends. Both ways of asking must behave alike."""
    transports: list[HttpTransport] = []

    async def start(
        base: str,
        *,
        timeout_s: float = 20.0,
        proxy: str | None = None,
        headers: dict[str, str] | None = None,
        secrets: list[str] | None = None,
    ) -> HttpTransport:
        transport = HttpTransport(
            url_for=lambda path, model: base + path,
            headers=headers or {},
            timeout_s=timeout_s,
            proxy=proxy,
            secrets=secrets or [],
        )
        await transport.open()
        if request.param == "ordinary":
            transport._quick = None
        transports.append(transport)
        return transport

    yield start
    for transport in transports:
        await transport.close()
