"""Reads the body of an answer, whoever asked for it."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp.streams import StreamReader

MOST_BODY = 256 << 20  # bytes, after decompression
_AT_ONCE = 1 << 20


async def read_body(content: StreamReader, headers: Mapping[str, str]) -> bytes | None:
    """The body, decompressed; None if it is over the cap. `headers` are looked up in any case."""
    said = headers.get("Content-Length")
    if said is not None and said.isdecimal() and "Content-Encoding" not in headers:
        length = int(said)
        if length > MOST_BODY:
            return None
        if length < _AT_ONCE:
            return content.read_nowait() if content.is_eof() else await content.read()
    chunks: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BODY:
            return None
    return b"".join(chunks)
