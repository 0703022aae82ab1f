"""The wire: one aiohttp session, prepared so that nothing is built twice for each request."""

from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from batchproc.model import Reply, Trouble
from batchproc.wire import quick
from batchproc.wire.body import MOST_BODY, read_body
from batchproc.wire.deadline import Deadlines

_MOST_HEADER = 64 << 10
_SHORTEST_SECRET = 8  # a shorter one (`EMPTY`, `none`) is a word that answers may contain
_SURELY_SECRET = 20  # so long a one is masked in an answer too, not only in an error
_MASK = b"[secret]"
_MOST_BYTES = 1 << 20  # a longer body is given to aiohttp as a file, which it sends in pieces
_MOST_URLS = 1024  # kept: a file may name as many models as it has lines
_NO_HEADERS: dict[str, str] = {}


class HttpTransport:
    """Sends bodies to URLs. Never raises for what a network or a server can do: that comes back in the Reply.

    `timeout_s` is the deadline of one attempt as a whole, connecting and reading included, so that a server
    that drips a byte at a time is given up too. Redirects are not followed; cookies are not kept. `proxy` is the URL
    of an HTTP proxy. Where a server repeats one of the `secrets` in its answer, it is masked: what is read here ends
    in files and on screens.
    """

    def __init__(
        self,
        *,
        url_for: Callable[[str, str], str],
        headers: Mapping[str, str],
        timeout_s: float,
        proxy: str | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self._url_for = url_for
        self._proxy = proxy
        self._secrets = [s.encode() for s in secrets if len(s) >= _SHORTEST_SECRET]
        self._ways: dict[tuple[str, str], tuple[URL, quick.Route | None]] = {}
        self._headers = CIMultiDict(headers)
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._quick: quick.Connections | None = None
        self._routes: dict[URL, quick.Route | None] = {}
        self._deadlines: Deadlines | None = None

    async def open(self) -> None:
        """Open the session; call it inside the running loop."""
        self._deadlines = Deadlines(self._timeout_s)
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=min(30.0, self._timeout_s)),
            proxy=self._proxy,
            max_line_size=_MOST_HEADER,
            max_field_size=_MOST_HEADER,
        )
        if self._proxy is None:
            self._quick = quick.Connections(self._session, most_line=_MOST_HEADER, timeout_s=self._timeout_s)

    async def close(self) -> None:
        """Close all connections."""
        if self._quick is not None:
            self._quick.close()
        if self._deadlines is not None:
            self._deadlines.close()
        if self._session is not None:
            await self._session.close()

    async def send(self, path: str, model: str, body: bytes) -> Reply:
        """Post `body` to the URL of this path and model, and read the whole answer."""
        if self._session is None or self._deadlines is None:
            raise RuntimeError("the transport is not open")
        url, route = self._ways.get((path, model)) or self._new_way(path, model)
        try:
            if route is not None and self._quick is not None and len(body) <= quick.MOST_BODY and quick.wanted():
                return self._reply(*await self._quick.ask(route, body))
            return await self._sent(self._session, self._deadlines, url, body)
        except aiohttp.ServerTimeoutError as e:
            if isinstance(e, aiohttp.ConnectionTimeoutError):
                return _trouble(Trouble.CONNECT, f"no connection to {_host(url)}: timed out")
            return _trouble(Trouble.TIMEOUT, f"no whole answer within {self._timeout_s:g} s")
        except TimeoutError:
            return _trouble(Trouble.TIMEOUT, f"no whole answer within {self._timeout_s:g} s")
        except aiohttp.ClientConnectorError as e:
            return _trouble(Trouble.CONNECT, f"no connection to {_host(url)}: {_why(e.os_error)}")
        except aiohttp.ClientHttpProxyError as e:
            return _trouble(Trouble.CONNECT, f"the proxy refuses the connection: status {e.status}")
        except (aiohttp.ClientError, OSError, ValueError) as e:
            return _trouble(Trouble.BROKEN, f"the connection to {_host(url)} broke: {type(e).__name__}")

    async def _sent(self, session: aiohttp.ClientSession, deadlines: Deadlines, url: URL, body: bytes) -> Reply:
        data: bytes | io.BytesIO = body if len(body) <= _MOST_BYTES else io.BytesIO(body)
        deadline = deadlines.begin()
        try:
            async with (
                deadline,
                session.post(url, data=data, headers=self._headers, allow_redirects=False) as response,
            ):
                answer = await read_body(response.content, response.headers)
                if answer is None:
                    response.close()
                headers = {name.lower(): value for name, value in response.headers.items()}
                return self._reply(response.status, headers, answer)
        finally:
            deadlines.end(deadline)

    def _reply(self, status: int, headers: dict[str, str], answer: bytes | None) -> Reply:
        if answer is None:
            return _trouble(Trouble.TOO_LARGE, f"the answer is larger than {MOST_BODY >> 20} MiB")
        if self._secrets:
            headers = self._masked(headers)
            for secret in self._secrets:
                if secret in answer and (status >= 300 or len(secret) >= _SURELY_SECRET):
                    answer = answer.replace(secret, _MASK)
        return Reply(status, headers, answer)

    def _new_way(self, path: str, model: str) -> tuple[URL, quick.Route | None]:
        """The URL, and the short way there if there is one; models of the same URL share it."""
        url = URL(self._url_for(path, model), encoded=True)
        if url in self._routes:
            route = self._routes[url]
        else:
            route = self._quick.route(url, self._headers) if self._quick is not None else None
            if len(self._routes) < _MOST_URLS:
                self._routes[url] = route
        if len(self._ways) < _MOST_URLS:
            self._ways[path, model] = url, route
        return url, route

    def _masked(self, headers: dict[str, str]) -> dict[str, str]:
        for secret in self._secrets:
            word = secret.decode()
            for name, value in headers.items():
                if word in value:
                    headers[name] = value.replace(word, _MASK.decode())
        return headers


def proxy_for(url: str) -> str | None:
    """The proxy that the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) names for a URL, or None.

    Asked once: aiohttp's own `trust_env` looks at the environment and at ~/.netrc again for every request.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = URL(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(f"{parts.host}:{parts.port}"):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _trouble(trouble: Trouble, detail: str) -> Reply:
    return Reply(0, _NO_HEADERS, b"", trouble, detail)


def _host(url: URL) -> str:
    return f"{url.host}:{url.port}"


_ERRNO = re.compile(r"\[Errno (\d+)\]")


def _why(error: OSError) -> str:
    """In the system's words: asyncio's own speak of calls and tuples."""
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    m = _ERRNO.search(str(error))
    number = error.errno or (int(m[1]) if m else 0)
    if number > 0:
        return os.strerror(number).lower()
    return error.strerror or str(error) or type(error).__name__
