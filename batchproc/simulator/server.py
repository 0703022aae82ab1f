"""The simulated provider behind HTTP on loopback.

One low-level handler instead of aiohttp's application and router: it is faster, and there is nothing to
route. Beside the API it serves GET /simulator/stats, its counters as JSON.
"""

from __future__ import annotations

import asyncio
import os
import time
from types import TracebackType

from aiohttp import web
from msgspec import json

from batchproc.errors import UsageError
from batchproc.simulator.ledger import Ledger
from batchproc.simulator.mischief import send_badly
from batchproc.simulator.outcomes import ELSEWHERE
from batchproc.simulator.provider import Provider
from batchproc.simulator.settings import SimulatorSettings
from batchproc.simulator.stats import Stats

#: Paths of the simulator itself, in no provider's API.
OWN = "/simulator/"
STATS = "/simulator/stats"

_BACKLOG = 4096  # connections that may wait to be accepted: a thousand can come at once
_GOODBYE_S = 0.5  # what requests in flight get when the server stops


class Server:
    """A running simulated provider; an async context manager.

    `url` is its base URL, as clients take it (`http://127.0.0.1:8089/v1`). Entering raises `UsageError` when
    the port is taken or the ledger cannot be written.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.stats = Stats()
        self.provider = Provider(settings, started_s=time.time())
        self.url = ""
        self.stats_url = ""
        self._ledger: Ledger | None = None
        self._listening: asyncio.Server | None = None

    async def __aenter__(self) -> Server:
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        # A client that goes away cancels its answer: nothing else ends an answer that hangs.
        self._web = web.Server(self._handle, request_factory=self._request, handler_cancellation=True, access_log=None)
        host, port = self.settings.host, self.settings.port
        if self.settings.ledger is not None:
            self._ledger = Ledger(self.settings.ledger)
        try:
            self._listening = await self._loop.create_server(self._web, host, port, backlog=_BACKLOG)
        except OSError as bad:
            if self._ledger is not None:
                self._ledger.close()
            why = os.strerror(bad.errno).lower() if bad.errno else bad
            raise UsageError(
                f"cannot listen on {host}:{port}: {why}",
                "give another `--port`, or `--port 0` for any free one",
            ) from bad
        port = self._listening.sockets[0].getsockname()[1]
        origin = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.stats_url = f"{origin}{STATS}"
        self.url = f"{origin}{self.provider.dialect.base}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._web.shutdown(_GOODBYE_S)
        if self._ledger is not None:
            self._ledger.close()

    def _request(self, message, payload, protocol, writer, task):  # type: ignore[no-untyped-def]
        # aiohttp's own factory stops reading bodies at 1 MiB; 0 is no such limit.
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        path, _, query = request.raw_path.partition("?")
        if not path.startswith(self.provider.dialect.root) or path.startswith(OWN):
            return self._own(path)
        stats = self.stats
        now_s = self._loop.time() - self._started_s
        decision = self.provider.decide(
            now_s,
            path,
            body,
            method=request.method,
            authorization=request.headers.get("Authorization"),
            in_flight=stats.in_flight,
            headers=request.headers,
            query=query,
        )
        stats.record(now_s, decision)
        if self._ledger is not None:
            self._ledger.add(decision, body, request.headers.get("x-marker"))
        stats.entered()
        try:
            if decision.latency_s > 0:
                await asyncio.sleep(decision.latency_s)
            if decision.wire is not None:
                return await send_badly(request, decision)
            return web.Response(status=decision.status, headers=decision.headers, body=decision.body)
        except asyncio.CancelledError:
            stats.disconnected += 1
            raise
        finally:
            stats.left()

    def _own(self, path: str) -> web.Response:
        if path == STATS:
            return web.Response(body=json.encode(self.stats.document()), content_type="application/json")
        if path == ELSEWHERE:
            self.stats.followed_redirects += 1
        where = self.provider.dialect.base or "/"
        return web.Response(status=404, text=f"The API is below {where}; the counters are at {STATS}.\n")
