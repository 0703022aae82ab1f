"""The short way through aiohttp for the requests that a run is made of: small bodies, many times to the same URL.

`ClientSession.post` builds a request, a writer, a task that writes, and a response, and takes a connection out of the
pool and puts it back, for each call: two thirds of what a request costs. Here the head is written once for each URL,
head and body go out in one piece, and connections are kept beside the pool. Who connects (names, TLS, time-outs) is
aiohttp, and so is who parses, but for the plainest answers (`plain.py`).

Not for all: `route` gives None for what should go the ordinary way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, TypeAlias, cast

import aiohttp
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from batchproc.wire.body import read_body
from batchproc.wire.deadline import BEAT_S, SLEPT_S
from batchproc.wire.plain import Ear, Waiter

MOST_BODY = 64 << 10  # bytes; the socket takes so much at once
_KEPT_S = 30.0
_WRITTEN_AT_ONCE = 16  # that is within two or three milliseconds
_ORDINARY = aiohttp.ClientSession._request  # whoever puts his own there (tracers, test doubles) wants to see requests
_OURS = ("content-length", "transfer-encoding", "content-encoding", "connection", "expect")

Said: TypeAlias = tuple[int, dict[str, str], bytes | None]  # status, headers (lower-case names), body (None: too large)


class Line:
    """A connection, and who listens to it."""

    __slots__ = ("connection", "ear", "since")

    def __init__(self, connection: Any, ear: Ear) -> None:
        self.connection = connection
        self.ear = ear
        self.since = 0.0  # when its last answer was in


class Route:
    """Where requests go: the head without its length, what the connector wants to know, and idle connections."""

    __slots__ = ("head", "idle", "request")

    def __init__(self, request: aiohttp.ClientRequest, head: bytes, idle: deque[Line]) -> None:
        self.request = request
        self.head = head
        self.idle = idle  # shared by the URLs of a server


def wanted() -> bool:
    """Whether nobody has put another way of asking into aiohttp's session."""
    return aiohttp.ClientSession._request is _ORDINARY


class Connections:
    """Posts over connections of its own, made by the session's connector.

    `most_line` is the longest header line, in bytes; `timeout_s` how long one attempt may take as a whole.
    """

    def __init__(self, session: aiohttp.ClientSession, *, most_line: int, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._connector = cast(aiohttp.BaseConnector, session.connector)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(30.0, timeout_s))
        self._most_line = most_line
        self._idle: dict[tuple[Any, ...], deque[Line]] = {}
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[Line, float] = {}  # line → until when, the oldest first: one timer does for all
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = 0.0
        self._unwritten: list[tuple[asyncio.Transport, bytes, Waiter]] = []

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
        except (TypeError, AttributeError, ValueError):  # another aiohttp than is known here; what it says of a bad URL
            return None

    async def ask(self, route: Route, body: bytes) -> Said:
        """Send a body and read the answer.

        Raises what aiohttp raises, and TimeoutError.
        """
        until = self._loop.time() + self._timeout_s
        line = self._kept(route) or await self._connect(route, until)
        self._under_way[line] = until
        if self._timer is None:
            self._look_again(until)
        try:
            line.ear.waiter = waiter = self._loop.create_future()
            self._write_soon(line.connection.transport, b"%b%d\r\n\r\n%b" % (route.head, len(body), body), waiter)
            said = await waiter
            parsed = said is None
            answer: Said = said if said is not None else await _read(line.connection)
        except BaseException as e:
            line.connection.close()
            if line not in self._under_way:
                raise TimeoutError from e
            if isinstance(e, HttpProcessingError):
                info = route.request.request_info
                raise aiohttp.ClientResponseError(info, (), status=e.code, message=e.message, headers=e.headers) from e
            if isinstance(e, aiohttp.EofStream):
                raise aiohttp.ServerDisconnectedError from e
            raise
        finally:
            self._under_way.pop(line, None)
        if answer[2] is None or (parsed and not _open(line.connection)):
            line.connection.close()
        else:
            line.since = self._loop.time()
            route.idle.append(line)
        return answer

    def _write_soon(self, transport: asyncio.Transport, data: bytes, waiter: Waiter) -> None:
        """Write a request when those of this turn of the loop are there, a few at once.

        A write wakes whoever waits for it, which on one machine costs more than all the rest of it. A server that has
        the first of some requests to work on is awake for the others.
        """
        self._unwritten.append((transport, data, waiter))
        if len(self._unwritten) == _WRITTEN_AT_ONCE:
            self._write()
        elif len(self._unwritten) == 1:
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        for transport, data, waiter in unwritten:
            if transport.is_closing():
                continue  # its request has heard of it
            try:
                transport.write(data)
            except Exception as e:  # no memory, say: the others have connections of their own
                if not waiter.done():
                    waiter.set_exception(e)

    def _look(self) -> None:
        """End what has been under way for too long; those that began first come first."""
        self._timer = None
        now = self._loop.time()
        slept = now - self._looks_at
        if slept > SLEPT_S:  # the process was stopped: nobody was late
            for line in self._under_way:
                self._under_way[line] += slept
        for line, until in list(self._under_way.items()):
            if until > now:
                self._look_again(until)
                return
            del self._under_way[line]
            if line.connection.transport is not None:
                line.connection.transport.abort()

    def _look_again(self, until: float) -> None:
        self._looks_at = min(until, self._loop.time() + BEAT_S)
        self._timer = self._loop.call_at(self._looks_at, self._look)

    def _kept(self, route: Route) -> Line | None:
        now = self._loop.time()
        while route.idle:
            line = route.idle.popleft()
            connection = line.connection
            if now - line.since < _KEPT_S and _open(connection):
                return line
            connection.close()
        return None

    async def _connect(self, route: Route, until: float) -> Line:
        async with asyncio.timeout_at(until):
            try:
                connection = await self._connector.connect(route.request, [], self._timeout)
            except TimeoutError as e:
                raise aiohttp.ConnectionTimeoutError from e
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            connection.close()
            raise aiohttp.ServerDisconnectedError
        most = self._most_line
        protocol.set_response_params(read_until_eof=True, max_line_size=most, max_field_size=most)
        ear = Ear(protocol)
        protocol.transport.set_protocol(ear)
        return Line(connection, ear)

    def close(self) -> None:
        """Close what is kept."""
        if self._timer is not None:
            self._timer.cancel()
        for idle in self._idle.values():
            for line in idle:
                line.connection.close()
        self._idle.clear()


def _open(connection: Any) -> bool:
    """Whether a connection can be used again."""
    protocol = connection.protocol
    return not (protocol is None or protocol.should_close or connection.closed)


async def _read(connection: Any) -> Said:
    """An answer that aiohttp parses."""
    while True:
        message, payload = await connection.protocol.read()
        if message.code >= 200 or message.code == 101:
            break
    body = await read_body(payload, message.headers)
    return message.code, {name.lower(): value for name, value in message.headers.items()}, body
