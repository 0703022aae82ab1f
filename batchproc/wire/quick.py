"""The short way through aiohttp for the requests that a run is made of: small bodies, many times to the same URL.

`ClientSession.post` builds a request, a writer, a task that writes, and a response, and takes a connection out of the
pool and puts it back, for each call: two thirds of what a request costs. Here the head is written once for each URL,
head and body go out in one piece, and connections are kept beside the pool. Who connects (names, TLS, time-outs) and
who parses is aiohttp, as ever.

Not for all: `route` gives None for what should go the ordinary way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import aiohttp
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

MOST_BODY = 64 << 10  # bytes; the socket takes so much at once
_KEPT_S = 30.0
_ORDINARY = aiohttp.ClientSession._request  # whoever puts his own there (tracers, test doubles) wants to see requests
_OURS = ("content-length", "transfer-encoding", "content-encoding", "connection", "expect")


class Route:
    """Where requests go: the head without its length, what the connector wants to know, and idle connections."""

    __slots__ = ("head", "idle", "request")

    def __init__(self, request: aiohttp.ClientRequest, head: bytes, idle: deque[tuple[Any, float]]) -> None:
        self.request = request
        self.head = head
        self.idle = idle  # shared by the URLs of a server


class Connections:
    """Posts over connections of its own, made by the session's connector.

    `most_line` is the longest header line, in bytes; `connect_s` how long connecting may take.
    """

    def __init__(self, session: aiohttp.ClientSession, *, most_line: int, connect_s: float) -> None:
        self._session = session
        self._connector = cast(aiohttp.BaseConnector, session.connector)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._most_line = most_line
        self._idle: dict[tuple[Any, ...], deque[tuple[Any, float]]] = {}
        self._loop = asyncio.get_running_loop()

    @staticmethod
    def wanted() -> bool:
        """Whether nobody has put another way of asking into aiohttp's session."""
        return aiohttp.ClientSession._request is _ORDINARY

    def route(self, url: URL, headers: CIMultiDict[str]) -> Route | None:
        """The way to a URL with these headers; None if the ordinary way is to be taken."""
        if url.user is not None or any(name in headers for name in _OURS):
            return None
        try:
            request = aiohttp.ClientRequest("POST", url, headers=headers, loop=self._loop, session=self._session)
            lines = [f"POST {url.raw_path_qs} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in _OURS]
            head = "\r\n".join(lines)
            if any(c in line for line in lines for c in "\r\n\0"):
                return None
            idle = self._idle.setdefault(request.connection_key, deque())
            return Route(request, f"{head}\r\nContent-Length: ".encode(), idle)
        except (TypeError, AttributeError):  # another aiohttp than is known here
            return None

    async def post(self, route: Route, body: bytes) -> tuple[Any, Any, Any]:
        """Send, and wait for the head of the answer: connection, message and payload.

        Give the connection to `keep` when the payload is read, else close it. Raises what aiohttp raises.
        """
        connection = self._kept(route) or await self._connect(route)
        try:
            connection.transport.write(b"%b%d\r\n\r\n%b" % (route.head, len(body), body))
            while True:
                message, payload = await connection.protocol.read()
                if message.code >= 200 or message.code == 101:
                    return connection, message, payload
        except HttpProcessingError as e:
            connection.close()
            raise aiohttp.ClientResponseError(
                route.request.request_info, (), status=e.code, message=e.message, headers=e.headers
            ) from e
        except aiohttp.EofStream as e:
            connection.close()
            raise aiohttp.ServerDisconnectedError from e
        except BaseException:
            connection.close()
            raise

    def _kept(self, route: Route) -> Any:
        while route.idle:
            connection, since = route.idle.popleft()
            if not connection.closed and not connection.protocol.should_close and time.monotonic() - since < _KEPT_S:
                return connection
            connection.close()
        return None

    async def _connect(self, route: Route) -> Any:
        try:
            connection = await self._connector.connect(route.request, [], self._timeout)
        except TimeoutError as e:
            raise aiohttp.ConnectionTimeoutError from e
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            connection.close()
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(
            read_until_eof=True,
            max_line_size=self._most_line,
            max_field_size=self._most_line,
        )
        return connection

    def keep(self, route: Route, connection: Any) -> None:
        """The answer was read to its end: the connection may be used again, if both sides want that."""
        protocol = connection.protocol
        if protocol is None or protocol.should_close or connection.closed:
            connection.close()
            return
        route.idle.append((connection, time.monotonic()))

    def close(self) -> None:
        """Close what is kept."""
        for idle in self._idle.values():
            for connection, _ in idle:
                connection.close()
        self._idle.clear()


def length_of(headers: Mapping[str, str]) -> int | None:
    """The length that a head announces, if it does."""
    said = headers.get("Content-Length", "")
    return int(said) if said.isdecimal() else None
