"""The plainest answers are read in one look; everything else reaches aiohttp's parser whole."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.wire.plain import Ear, plain_head

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-ID:  a b \r\nContent-Length: 7\r\n\r\n{"a":1}'


def test_a_plain_head():
    """Names in lower case, values without the white space around them."""
    head = plain_head(PLAIN)
    assert head is not None
    assert (head.status, PLAIN[head.begins : head.ends]) == (200, b'{"a":1}')
    assert head.headers == {"content-type": "application/json", "x-request-id": "a b", "content-length": "7"}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"Content-Length: 7\r\n", b"", "its length is not said"),
        (b"Length: 7", b"Length: 7\r\nContent-length: 7", "said twice"),
        (b"Length: 7", b"Length: +7", "no number"),
        (b"Length: 7", b"Length: -1", "below zero"),
        (b"Length: 7", b"Length: 7, 7", "a list"),
        (b"Length: 7", "Length: ٧".encode(), "no ASCII digit"),
        (b"Length: 7", b"Length: " + b"9" * 5000, "more digits than int() takes"),
        (b"Length: 7", b"Length: 300000", "too long to be waited for here"),
        (b"Length: 7", b"Length: 7\r\nTransfer-Encoding: chunked", "chunked"),
        (b"Length: 7", b"Length: 7\r\nContent-Encoding: gzip", "compressed"),
        (b"Length: 7", b"Length: 7\r\nConnection: close", "the connection closes"),
        (b"Length: 7", b"Length: 7\r\nConnection: Upgrade\r\nUpgrade: h2c", "another protocol"),
        (b"Length: 7", b"Length: 7\r\n folded", "a folded line"),
        (b"Length: 7", b"Length : 7", "a blank before the colon"),
        (b"Length: 7", b"Length: 7\r\nX: a\0b", "a NUL"),
        (b"Length: 7", b"Length: 7\r\nX: a\rb", "a bare CR"),
        (b"Length: 7\r\n", b"Length: 7\n", "a bare LF"),
        (b"Length: 7", b"Length: 7" + b"".join(b"\r\nX%d: a" % n for n in range(100)), "a hundred headers"),
        (b"Length: 7", b"Length: 7\r\nX: " + b"x" * 9000, "a long head"),
        (b"1.1 200 OK", b"1.0 200 OK", "HTTP/1.0"),
        (b"1.1 200 OK", b"1.1 103 Early Hints", "an informational answer"),
        (b"1.1 200 OK", b"1.1 204 No Content", "a status without a body"),
        (b"1.1 200 OK", b"1.1 600 ?", "no status"),
        (b"1.1 200 OK", b"1.1 2000 OK", "no status"),
        (b"\r\n\r\n", b"\r\n", "the head is not whole"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_not_plain(old, new, why):
    """Whatever may mean something else is for aiohttp to read."""
    assert old in PLAIN
    assert plain_head(PLAIN.replace(old, new)) is None, why


@pytest.mark.parametrize("line", [b"Connection: Keep-Alive", b"Keep-Alive: timeout=5", "X: é".encode(), b"X:"])
def test_what_is_plain_all_the_same(line):
    """Ordinary lines make no difference."""
    head = plain_head(PLAIN.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n"))
    assert head is not None


class Handler:
    """Stands for aiohttp: remembers what it gets."""

    def __init__(self) -> None:
        self.got = b""
        self.lost = 0

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


@given(sent=st.integers(0, len(PLAIN)), cuts=st.lists(st.integers(0, len(PLAIN))), more=st.sampled_from([b"", b"HTTP"]))
def test_every_byte_is_read_once(sent, cuts, more):
    """However an answer is cut into pieces, or breaks off: it is read here whole, or the handler has every byte."""

    async def scenario() -> None:
        handler = Handler()
        ear = Ear(handler)  # type: ignore[arg-type]
        waiter = ear.waiter = asyncio.get_running_loop().create_future()
        stream = PLAIN[:sent] + (more if sent == len(PLAIN) else b"")
        places = sorted({0, *(c for c in cuts if c < len(stream)), len(stream)})
        for start, stop in pairwise(places):
            ear.data_received(stream[start:stop])
        ear.connection_lost(None)
        said = waiter.result()
        if said is None:
            assert handler.got == stream
        else:
            assert (said[0], said[2], handler.got) == (200, b'{"a":1}', stream[len(PLAIN) :])
        assert handler.lost == 1

    asyncio.run(scenario())


async def test_what_comes_after_an_answer_ends_the_connection(serve, connect):
    """Bytes that nobody asked for are not the next answer: that request gets a connection of its own."""
    server = await serve(PLAIN + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    transport = await connect(server.url)
    for _ in range(2):
        assert (await transport.send("/x", "m", b"{}")).status == 200
    assert server.connections == 2
