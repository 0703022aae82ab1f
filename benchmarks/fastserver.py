"""A server that answers at once, faster than any Python client asks: nginx, or where it is missing a bare protocol.

Not a provider: it enforces nothing, and says the same to everyone. Chat answer, usage and rate-limit headers as
OpenAI sends them. Used by the benchmarks of the client's own cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")  # where Debian keeps it from users' PATH
HEADERS = {
    "x-request-id": "req_0123456789abcdef0123456789abcdef",
    "openai-processing-ms": "312",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "60000000",
    "x-ratelimit-limit-tokens": "60000000000",
    "x-ratelimit-remaining-requests": "59999999",
    "x-ratelimit-remaining-tokens": "59999999000",
    "x-ratelimit-reset-requests": "1ms",
    "x-ratelimit-reset-tokens": "0s",
}


def answer(chars: int = 120) -> str:
    """A chat completion whose text has so many characters."""
    text = ("The tide comes in, the tide goes out. " * (chars // 38 + 1))[:chars]
    return (
        '{"id": "chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ01", "object": "chat.completion", "created": 1760000000, '
        '"model": "gpt-4o-mini-2024-07-18", "choices": [{"index": 0, "message": {"role": "assistant", "content": '
        f'"{text}", "refusal": null, "annotations": []}}, "logprobs": null, "finish_reason": "stop"}}], '
        '"usage": {"prompt_tokens": 74, "completion_tokens": 30, "total_tokens": 104, "prompt_tokens_details": '
        '{"cached_tokens": 0, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}, '
        '"service_tier": "default", "system_fingerprint": "fp_0123456789"}'
    )


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"no server at port {port}")


def _nginx(folder: str, port: int, chars: int) -> list[str]:
    headers = "\n".join(f'add_header {name} "{value}" always;' for name, value in HEADERS.items())
    config = Path(folder, "nginx.conf")
    config.write_text(f"""
daemon off; pid {folder}/pid; worker_processes 1; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; client_max_body_size 64m;
  client_body_buffer_size 256k; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=8192; default_type application/json;
    location / {{ {headers} return 200 '{answer(chars)}'; }} }}
}}""")
    return [NGINX or "", "-e", f"{folder}/error.log", "-c", str(config)]


class _Bare(asyncio.Protocol):
    """Reads requests by their Content-Length, writes the prepared answer; `answer` decides when."""

    def __init__(self, said: bytes, answer: Callable[[bytes, Callable[[], None]], None]) -> None:
        self._said, self._answer, self._data = said, answer, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + size:
                return
            body, self._data = self._data[end + 4 : end + 4 + size], self._data[end + 4 + size :]
            self._answer(body, self._write)

    def _write(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._said)  # type: ignore[attr-defined]


def _serve(port: int, chars: int, held_for: int) -> None:
    """The bare protocol on uvloop. A body with `held-back` in it is answered after so many others."""
    import uvloop

    body = answer(chars).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    said = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
    left, held = held_for, list[Callable[[], None]]()

    def answered(sent: bytes, write: Callable[[], None]) -> None:
        nonlocal left
        if held_for and b"held-back" in sent:
            held.append(write)
        else:
            left -= 1
            write()
        while left <= 0 and held:
            held.pop()()

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Bare(said + body, answered), "127.0.0.1", port, backlog=8192
        )
        await server.serve_forever()

    uvloop.run(main())


@contextlib.contextmanager
def serving(chars: int = 120, *, held_for: int = 0, bare: bool = False) -> Iterator[tuple[str, str]]:
    """Run the server; yields its base URL and what it is. `held_for` needs the bare one."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if held_for or bare or chars > 2000 or NGINX is None:  # nginx takes 4 kB of text
            what = "a bare asyncio protocol on uvloop"
            command = [sys.executable, __file__, str(port), str(chars), str(held_for)]
        else:
            said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True)
            what = said.stderr.split()[-1]
            command = _nginx(folder, port, chars)
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/v1", what
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
