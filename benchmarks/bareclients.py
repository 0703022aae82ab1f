"""What one would write oneself: bare loops on aiohttp. They read the jobs, send them, and read the answers.

No limits, no order, no retries, no checkpoint, nothing written: the least that work can cost.

    python bareclients.py {stock,tuned} JOBS URL IN_FLIGHT
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Iterator

import aiohttp

HEADERS = {"Authorization": "Bearer sk-none"}


async def stock(jobs: str, url: str, in_flight: int) -> None:
    """The loop of every tutorial: `post(json=…)`, `await r.json()`, so many workers."""

    async def work(lines: Iterator[str]) -> None:
        for line in lines:
            job = json.loads(line)
            async with session.post(url, json=job["body"], headers=HEADERS) as response:
                said = await response.json()
                assert said["choices"]

    with open(jobs) as lines:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(work(lines) for _ in range(in_flight)))


async def tuned(jobs: str, url: str, in_flight: int) -> None:
    """The same with uvloop, orjson, bytes for bodies, no cookies, headers of the session."""
    import orjson
    from yarl import URL

    where = URL(url)

    async def work(lines: Iterator[bytes]) -> None:
        for line in lines:
            body = orjson.dumps(orjson.loads(line)["body"])
            async with session.post(where, data=body, allow_redirects=False) as response:
                assert orjson.loads(await response.read())["choices"]

    gc.set_threshold(100_000, 50, 50)
    headers = HEADERS | {"Content-Type": "application/json"}
    with open(jobs, "rb") as lines:
        connector = aiohttp.TCPConnector(limit=0)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=jar) as session:
            await asyncio.gather(*(work(lines) for _ in range(in_flight)))


if __name__ == "__main__":
    which, jobs_file, base_url, n = sys.argv[1:]
    if which == "tuned":
        import uvloop

        uvloop.run(tuned(jobs_file, base_url + "/chat/completions", int(n)))
    else:
        asyncio.run(stock(jobs_file, base_url + "/chat/completions", int(n)))
