"""What the program talks to: the simulated provider in a child process, and small servers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import socket
import threading
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import nursery
from program import wait_until

from batchproc.simulator.embedded import Embedded
from batchproc.simulator.settings import SimulatorSettings


class Forked(Embedded):
    """The simulated provider as the program embeds it, but started by the nursery."""

    def spawn(self) -> None:
        """Start the child and return at once; does nothing when it runs."""
        if not nursery.usable():
            super().spawn()
        elif self._child is None:
            settings = msgspec.json.encode(asdict(self._settings)).decode()
            self._child = nursery.start_with_pipes("batchproc.simulator", [settings])  # type: ignore[assignment]
            self._url = None


class Simulator:
    """The simulated provider with a ledger; it can be killed and started again on the same port."""

    def __init__(self, ledger: Path, **settings: Any) -> None:
        self.settings = SimulatorSettings(**{"port": 0, "latency": "0", "ledger": str(ledger)} | settings)
        self.path = ledger
        self._embedded = Forked(self.settings)
        self.url = self._embedded.start()

    def ledger(self, marker: str | None = None) -> list[dict[str, Any]]:
        """The requests received so far (with this marker), oldest first."""
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        entries = [json.loads(line) for line in lines]
        return [e for e in entries if marker is None or e["marker"] == marker]

    def stats(self) -> dict[str, Any]:
        """The server's own counters."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/simulator/stats", timeout=30) as response:
            document: dict[str, Any] = json.load(response)
        return document

    def received(self, count: int, marker: str | None = None) -> None:
        """Wait until so many requests have come."""
        wait_until(f"{count} requests in the ledger", lambda: len(self.ledger(marker)) >= count)

    def at_rest(self) -> None:
        """Wait until no request is being answered: what was sent is in the ledger then."""
        wait_until("no request in flight", lambda: self.stats()["in_flight"] == 0)

    def kill(self) -> None:
        """Take the server away without a goodbye."""
        if self._embedded.pid is not None:
            os.kill(self._embedded.pid, signal.SIGKILL)
        self._embedded.stop()

    def start_again(self, **changes: Any) -> None:
        """Serve on the same port again, perhaps with other settings."""
        port = int(self.url.split(":")[2].split("/")[0])
        self.settings = replace(self.settings, port=port, **changes)
        self._embedded = Forked(self.settings)
        assert self._embedded.start() == self.url

    def stop(self) -> None:
        """End it."""
        self._embedded.stop()


def sha_of(body: dict[str, Any]) -> str:
    """How the ledger names a body written by `json.dumps`."""
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def free_port() -> int:
    """A port below those that clients get, so that nobody takes it while its server is away."""
    while True:
        port = random.randrange(12_000, 30_000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@dataclass(frozen=True)
class Request:
    """What a hostile server got: `number` counts from 0, header names are lower case."""

    number: int
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The last user message of a chat."""
        content: str = json.loads(self.body)["messages"][-1]["content"]
        return content


def answer(status: int, body: Any, **headers: str) -> bytes:
    """A whole HTTP answer; `body` is bytes, or made JSON. Header names take `_` for `-`."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


def chat_answer(text: str) -> bytes:
    """A good chat answer."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return answer(200, {"id": "c-1", "choices": [{"index": 0, "message": message}], "usage": usage})


def error_answer(status: int, message: str, code: str | None, **headers: str) -> bytes:
    """An error as OpenAI spells it."""
    return answer(status, {"error": {"message": message, "type": code, "param": None, "code": code}}, **headers)


Reply = Callable[[Request], Awaitable[bytes]]


class Scripted:
    """An HTTP server on loopback, on a loop in a thread, whose answers a test decides; a context manager."""

    def __init__(self, reply: Reply) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self._reply = reply
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Scripted:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _close(self) -> None:
        self._server.close()
        others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(len(self.requests), head[0], headers, body)
                self.requests.append(request)
                writer.write(await self._reply(request))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()
