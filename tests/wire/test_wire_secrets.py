"""A server that repeats the key must not bring it into our files and onto our screens."""

from __future__ import annotations

KEY = "sk-0123456789abcdef"


def reply(body: bytes, header: bytes) -> bytes:
    return b"HTTP/1.1 401 No\r\nContent-Length: %d\r\nX-Request-ID: %s\r\n\r\n%s" % (len(body), header, body)


async def test_a_repeated_key_is_masked_in_body_and_headers(serve, connect):
    """`Incorrect API key provided: sk-…` is what a 401 may say, in full."""
    server = await serve(reply(b'{"error":"bad key %s"}' % KEY.encode(), KEY.encode()))
    got = await (await connect(server.url, secrets=[KEY])).send("/x", "m", b"{}")
    assert got.body == b'{"error":"bad key [secret]"}'
    assert KEY not in str(got.headers)


async def test_a_key_that_is_an_ordinary_word_is_left_alone(serve, connect):
    """`EMPTY` is what people give vLLM: masking it would change answers."""
    server = await serve(reply(b'{"t":"EMPTY"}', b"r"))
    got = await (await connect(server.url, secrets=["EMPTY"])).send("/x", "m", b"{}")
    assert got.body == b'{"t":"EMPTY"}'
