"""Hostile lines and answers, through the real parse → read → result line → store path: one whole line for each job."""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hostile import feed_answer, feed_line, stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.wire import body as wire_body
from batchproc.wire import http

ODD = [
    "\u2028",
    "\u2029",
    "\x85",
    "\x0b",
    "\x0c",
    "\x1c",
    "\ud800",
    "\x00",
    "\x7f",
    "\ufeff",
    "\\",
    '"',
    "\r",
    "é",
    "😀",
]
text = st.text(st.one_of(st.sampled_from(ODD), st.characters()), max_size=30)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)),
    max_leaves=12,
)
NAMES = ["custom_id", "metadata", "method", "url", "body", "model", "messages", "prompt", "input", "stream", "error"]
jobs = st.dictionaries(st.one_of(st.sampled_from(NAMES), text), values, max_size=8)
GIVEN = ["id", "choices", "data", "usage", "error", "status", "message", "code", "prompt_tokens", "type"]
answers = st.dictionaries(st.one_of(st.sampled_from(GIVEN), text), values, max_size=8)


def as_bytes(value: Any) -> bytes:
    """JSON in UTF-8 where it can be so written; lone surrogates as escapes, NaN as Python spells it."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(st.one_of(jobs.map(as_bytes), st.binary(max_size=200), values.map(as_bytes)))
def test_any_line(line: bytes) -> None:
    """A line of anything is a job, or a failed line that can be read back."""
    feed_line(line.replace(b"\n", b" "))


@quick
@given(
    st.one_of(answers.map(as_bytes), st.binary(max_size=200), values.map(as_bytes)),
    st.sampled_from([200, 200, 200, 201, 400, 401, 404, 413, 429, 500, 503, 529]),
    st.dictionaries(st.sampled_from(["retry-after", "x-request-id", "x-ratelimit-reset-requests", "x-odd"]), text),
)
def test_any_answer(body: bytes, status: int, headers: dict[str, str]) -> None:
    """An answer of anything becomes one whole line, by every provider's reading of it."""
    feed_answer(body, status, headers)


DEEP = b'{"choices":[{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}"
NASTY = {
    "10,000 deep": DEEP,
    "an error 10,000 deep": b'{"error":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "NaN": b'{"choices":[{"x":NaN}]}',
    "a lone surrogate": b'{"choices":[{"x":"\\ud800"}],"usage":{"prompt_tokens":1}}',
    "line separators": '{"choices":[{"x":"\u2028\u2029\u0085"}]}'.encode(),
    "newlines between tokens": b'{"choices":[\n{"x":\r\n1}\n]}\n\n',
    "a huge number": b'{"choices":[1],"usage":{"prompt_tokens":' + b"9" * 400 + b"}}",
    "negative tokens": b'{"choices":[1],"usage":{"prompt_tokens":-5,"completion_tokens":1e400}}',
    "the same key twice": b'{"choices":[1],"choices":[],"error":null,"error":{"code":"x"}}',
    "a record of ours": b'{"choices":[1],"crc":"00000000","kind":"result","index":7,"a":"\\n{\\"crc\\""}',
    "an index of ours": b'{"choices":[1],"kind":"index","start":0}',
    "not UTF-8": b'{"choices":["\xff\xfe"]}',
    "UTF-16": '{"choices":[1]}'.encode("utf-16"),
    "a byte-order mark": b'\xef\xbb\xbf{"choices":[1]}',
    "nothing": b"",
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_nasty_answers(name: str, status: int) -> None:
    """Each of these, as an answer and as an error."""
    feed_answer(NASTY[name], status, {})


@pytest.mark.parametrize("name", NASTY)
def test_nasty_lines(name: str) -> None:
    """Each of these as a line, and as the body of a job."""
    data = NASTY[name].replace(b"\n", b" ")
    feed_line(data)
    feed_line(b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":' + data + b"}")
    feed_line(b'{"model":"m","messages":[],"metadata":' + data + b"}")


async def test_they_are_stored_and_read_back() -> None:
    """All of them through the store, in any order, over a restart: the output has a whole line for each."""
    results = [feed_answer(data, status, {}, index=k) for k, (data, status) in enumerate(_all())]
    with tempfile.TemporaryDirectory() as folder:
        lines = await stored(Path(folder), results)
    assert len(lines) == len(results)
    for k, line in enumerate(lines):
        assert json.loads(line)["index"] == k


def _all() -> list[tuple[bytes, int]]:
    return [(data, status) for data in NASTY.values() for status in (200, 400)]


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    """Serves one raw answer on loopback; yields a function that gets the reply to it."""
    opened: list[asyncio.Server] = []

    async def ask(raw: bytes) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"{}")
                writer.write(raw)
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the client has had enough
            finally:
                writer.close()

        opened.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{opened[-1].sockets[0].getsockname()[1]}"
        transport = http.HttpTransport(url_for=lambda path, model: url + path, headers={}, timeout_s=20)
        await transport.open()
        try:
            return await transport.send("/x", "m", b"{}")
        finally:
            await transport.close()

    yield ask
    for one in opened:
        one.close()


def _answer(body: bytes, *more: bytes) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


async def test_a_gzip_bomb(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes that unfold to 64 MB stop at the cap, before they are in memory."""
    monkeypatch.setattr(wire_body, "MOST_BODY", 1 << 20)
    bomb = gzip.compress(bytes(64 << 20), 9)
    reply = await server(_answer(bomb, b"Content-Encoding: gzip"))
    assert reply.trouble is not None
    assert "larger" in reply.detail


async def test_a_body_over_the_cap(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by its length before it is read, and by what comes where no length is told."""
    monkeypatch.setattr(wire_body, "MOST_BODY", 1 << 16)
    for raw in (_answer(bytes(1 << 17)), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(1 << 17)):
        reply = await server(raw)
        assert "larger" in reply.detail


@pytest.mark.parametrize(
    "flood",
    [b"X-A: " + b"a" * 200_000, b"\r\n".join(b"X-%d: a" % n for n in range(200_000)), b"X\x00Y: \x01", b"no colon"],
    ids=["a long header", "many headers", "control characters", "no header at all"],
)
async def test_a_flood_of_headers(server: Any, flood: bytes) -> None:
    """Nothing of this raises: an answer, or a broken connection."""
    reply = await server(_answer(b"{}", flood))
    assert reply.trouble is not None or reply.status == 200
