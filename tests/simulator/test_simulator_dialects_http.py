"""Each dialect over HTTP: base URL, key, an answer, a refusal with its headers, and the counters beside it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from batchproc.simulator.dialects import DIALECTS
from batchproc.simulator.server import Server
from batchproc.simulator.settings import SimulatorSettings

CHAT = "/chat/completions"
BEARER = {"Authorization": "Bearer made-up"}
BODY: dict[str, Any] = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "job 3"}]}

# What a client adds to the base URL, the headers it sends, and headers of the answer and of the refusal.
CALLS: dict[str, tuple[str, dict[str, str], str, str]] = {
    "openai": (CHAT, BEARER, "X-RateLimit-Remaining-Requests", "Retry-After"),
    "azure": (
        f"/openai/deployments/m{CHAT}?api-version=2024-10-21",
        {"Api-Key": "made-up"},
        "x-ratelimit-reset-requests",
        "retry-after-ms",
    ),
    "anthropic": (
        "/messages",
        {"X-Api-Key": "made-up", "Anthropic-Version": "2023-06-01"},
        "anthropic-ratelimit-requests-reset",
        "retry-after",
    ),
    "gemini": (CHAT, BEARER, "Content-Type", "Content-Type"),
    "groq": (CHAT, BEARER, "x-ratelimit-reset-requests", "retry-after"),
    "mistral": (CHAT, BEARER, "x-ratelimit-tokens-query-cost", "retry-after"),
    "deepseek": (CHAT, BEARER, "Content-Type", "Content-Type"),
    "together": (CHAT, BEARER, "x-ratelimit-limit", "retry-after"),
    "openrouter": (CHAT, BEARER, "Content-Type", "X-RateLimit-Reset"),
    "ollama": (CHAT, BEARER, "Content-Type", "Content-Type"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_dialect_over_http(dialect: str) -> None:
    """With its key it answers, then refuses; without, it is one of the two ways to say no; the judge counts all."""
    path, headers, shown, wait = CALLS[dialect]
    # Six a minute are one in ten seconds where those are counted; a day's one is shown by Groq.
    limits = {"rpm": 6, "rpd": 1} if dialect == "groq" else {"rpm": 6 if dialect in ("azure", "mistral") else 1}
    settings = SimulatorSettings(dialect=dialect, port=0, latency="0", key="made-up", tpm=10**6, **limits)  # type: ignore[arg-type]
    timeout = aiohttp.ClientTimeout(total=60)
    async with Server(settings) as server, aiohttp.ClientSession(timeout=timeout) as session:

        async def post(sent: dict[str, str]) -> tuple[int, Any, Any]:
            async with session.post(server.url + path, json=BODY, headers=sent) as response:
                return response.status, response.headers, await response.json()

        status, got, answer = await post(headers)
        assert (status, shown in got) == (200, True)
        assert "Simulated answer to: job 3" in json.dumps(answer)
        status, got, _ = await post(headers)
        assert (status, wait in got) == (429, True)
        assert (await post({"Anthropic-Version": "1"}))[0] == (400 if dialect == "gemini" else 401)
        async with session.get(server.stats_url) as response:
            stats = await response.json()
        assert (stats["requests"], stats["admitted"], stats["refused"]["key"]) == (3, 1, 1)
        async with session.get(f"{server.stats_url.removesuffix('/stats')}/nothing") as response:
            assert response.status == 404


async def test_a_queue_over_http() -> None:
    """With one slot, answers come one after the other in the order of their requests; the fourth finds no place."""
    settings = SimulatorSettings(dialect="ollama", port=0, latency="0.4", queue=2)
    timeout = aiohttp.ClientTimeout(total=60)
    async with Server(settings) as server, aiohttp.ClientSession(timeout=timeout) as session:
        ended: list[str] = []

        async def post(name: str) -> int:
            async with session.post(server.url + CHAT, json={**BODY, "user": name}) as response:
                await response.read()
                ended.append(name)
                return response.status

        async with asyncio.TaskGroup() as tasks:
            asked = []
            for k, name in enumerate("abcd"):
                asked.append(tasks.create_task(post(name)))
                async with asyncio.timeout(60):
                    while server.stats.document()["requests"] <= k:  # noqa: ASYNC110 - counters raise no event
                        await asyncio.sleep(0)
        statuses = [task.result() for task in asked]
    assert statuses == [200, 200, 200, 503]
    assert ended == ["d", "a", "b", "c"]


async def test_other_paths_are_not_the_api() -> None:
    """Below no root of the dialect there is nothing, and it says where the API is."""
    async with Server(SimulatorSettings(dialect="openrouter", port=0)) as server, aiohttp.ClientSession() as session:
        elsewhere = server.url.removesuffix("/api/v1") + "/v1" + CHAT
        response = await session.post(elsewhere, json=BODY)
        assert response.status == 404
        assert "/api/v1" in await response.text()
