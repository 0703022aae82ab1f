"""The provider behind HTTP: what a real client sees on a real loopback port."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batchproc.errors import UsageError
from batchproc.simulator.provider import Provider
from batchproc.simulator.server import Server
from batchproc.simulator.settings import SimulatorSettings

CHAT = "/chat/completions"


def body(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}


@asynccontextmanager
async def serving(**fields: Any) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    settings = SimulatorSettings(port=0, **{"latency": "0", **fields})
    timeout = aiohttp.ClientTimeout(total=60)
    async with Server(settings) as server, aiohttp.ClientSession(timeout=timeout) as session:
        yield server, session


async def post(
    server: Server, session: aiohttp.ClientSession, sent: Any = None, path: str = CHAT, **options: Any
) -> tuple[int, Any, bytes]:
    """Status, headers and body of one answer."""
    async with session.post(server.url + path, json=body() if sent is None else sent, **options) as response:
        return response.status, response.headers, await response.read()


async def test_a_chat_answer_and_its_headers() -> None:
    """A full bucket of 5,000 requests shows the headers of a recorded answer."""
    async with serving(rpm=5000, tpm=160_000) as (server, session):
        status, headers, answer = await post(server, session, body("x" * 34, max_tokens=26))
    assert status == 200
    assert headers["x-ratelimit-limit-requests"] == "5000"
    assert headers["x-ratelimit-remaining-requests"] == "4999"
    assert headers["x-ratelimit-reset-requests"] in ("12ms", "11ms")
    assert headers["x-ratelimit-limit-tokens"] == "160000"
    assert headers["x-ratelimit-remaining-tokens"] == "159974"
    assert headers["x-ratelimit-reset-tokens"] in ("9ms", "8ms")
    assert headers["x-request-id"].startswith("req_")
    document = json.loads(answer)
    assert document["choices"][0]["message"]["content"] == "Simulated answer to: " + "x" * 34


async def test_every_endpoint_answers() -> None:
    """All the paths of the API, each with its own shape."""
    async with serving() as (server, session):
        _, _, answer = await post(server, session, {"model": "m", "prompt": "hi"}, "/completions")
        assert json.loads(answer)["choices"][0]["text"] == "Simulated answer to: hi"
        _, _, answer = await post(server, session, {"model": "m", "input": ["a", "b"]}, "/embeddings")
        assert [len(item["embedding"]) for item in json.loads(answer)["data"]] == [8, 8]
        _, _, answer = await post(server, session, {"model": "m", "input": "hi"}, "/responses")
        assert json.loads(answer)["output"][0]["content"][0]["text"] == "Simulated answer to: hi"
        async with session.get(server.url + "/models") as response:
            assert (await response.json())["object"] == "list"


async def test_order_does_not_matter() -> None:
    """Two servers of one seed give the same bytes, whatever came before."""
    async with serving(seed=3) as (server, session):
        first = await post(server, session, body("a"))
        await post(server, session, body("b"))
    async with serving(seed=3) as (server, session):
        await post(server, session, body("b"))
        again = await post(server, session, body("a"))
    assert first[2] == again[2]
    assert first[1]["x-request-id"] == again[1]["x-request-id"]


async def test_indented_bodies() -> None:
    """With `pretty` the same document comes indented."""
    async with serving(pretty=True) as (server, session):
        _, _, answer = await post(server, session)
    assert answer.count(b"\n") > 10


async def test_a_refusal_over_http() -> None:
    """Over the limit: 429, Retry-After, the headers, the text, and other models unharmed."""
    async with serving(rpm=1) as (server, session):
        await post(server, session)
        status, headers, answer = await post(server, session)
        other, _, _ = await post(server, session, {**body(), "model": "other"})
        async with session.get(server.url.removesuffix("/v1") + "/simulator/stats") as response:
            stats = await response.json()
    error = json.loads(answer)["error"]
    assert (status, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert "Limit 1, Used 1, Requested 1. Please try again in" in error["message"]
    assert headers["Retry-After"] in ("60", "59")
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert other == 200
    assert stats["refused"] == {"rpm": 1}
    assert stats["by_status"] == {"200": 2, "429": 1}
    assert stats["peak_requests_per_minute"] == 2


async def test_headers_can_be_left_out() -> None:
    """Servers that say nothing exist; so does a 429 without Retry-After."""
    async with serving(rpm=1, headers=False, retry_after=False) as (server, session):
        await post(server, session)
        status, headers, _ = await post(server, session)
    assert status == 429
    assert not [name for name in headers if name.lower().startswith(("x-ratelimit", "retry-after"))]


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str, int, str | None]] = [
    ("too large", {"tpm": 10}, body("x" * 100), CHAT, 429, "rate_limit_exceeded"),
    ("no money", {"quota_after": 0}, body(), CHAT, 429, "insufficient_quota"),
    ("unknown model", {"models": ("m",)}, body(), CHAT, 404, "model_not_found"),
    ("unknown model, responses", {"models": ("m",)}, {"model": "x", "input": "a"}, "/responses", 400,
     "model_not_found"),
    ("prompt too long", {"context_length": 8}, body("x" * 100), CHAT, 400, "context_length_exceeded"),
    ("no model", {}, {"messages": []}, CHAT, 400, None),
    ("no messages", {}, {"model": "m"}, CHAT, 400, "missing_required_parameter"),
    ("no input", {}, {"model": "m"}, "/embeddings", 400, "missing_required_parameter"),
    ("streams", {}, body(stream=True), CHAT, 400, "unsupported_parameter"),
    ("wrong types", {}, {"model": 5}, CHAT, 400, None),
    ("unknown path", {}, body(), "/audio/speech", 404, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "sent", "path", "status", "code"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
async def test_refusals(fields: dict[str, Any], sent: dict[str, Any], path: str, status: int, code: str | None) -> None:
    """Each refusal has the provider's status and code."""
    async with serving(**fields) as (server, session):
        got, _, answer = await post(server, session, sent, path)
    assert (got, json.loads(answer)["error"]["code"]) == (status, code)


async def test_only_the_key_is_let_in() -> None:
    """With a key set, none and another are 401, the right one passes; a key is never shown whole."""
    async with serving(key="sk-simulated-key") as (server, session):
        status, headers, answer = await post(server, session)
        assert (status, json.loads(answer)["error"]["code"]) == (401, None)
        wrong = {"Authorization": "Bearer sk-some-other-key"}
        status, headers, answer = await post(server, session, headers=wrong)
        assert (status, json.loads(answer)["error"]["code"]) == (401, "invalid_api_key")
        assert b"some-other" not in answer
        assert not [name for name in headers if name.lower().startswith("x-ratelimit")]
        right = {"Authorization": "Bearer sk-simulated-key"}
        assert (await post(server, session, headers=right))[0] == 200


WHOLE = [
    ("429", 429, b"Please try again in 1s"), ("500", 500, b"server_error"), ("502", 502, b"<html>"),
    ("503", 503, b"server_is_overloaded"), ("529", 529, b"Overloaded"), ("408", 408, b"timed out"),
    ("409", 409, b"Lock timeout"), ("empty", 200, b""), ("null", 200, b"null"), ("list", 200, b"[]"),
    ("html200", 200, b"<html>"), ("error200", 200, b'{"error":'), ("nochoices", 200, b'"choices":[]'),
    ("slow", 200, b"Simulated"), ("400", 400, b"invalid_value"), ("redirect", 302, b""),
    ("context", 400, b"context_length_exceeded"), ("quota", 429, b"insufficient_quota"),
    ("401", 401, b"invalid_api_key"), ("truncated", 200, b'{"id":'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status", "part"), WHOLE, ids=[row[0] for row in WHOLE])
async def test_faults_that_arrive_whole(kind: str, status: int, part: bytes) -> None:
    """What a client sees of each fault that is a complete HTTP answer."""
    async with serving(faults=(f"{kind}=1",)) as (server, session):
        got, headers, answer = await post(server, session, allow_redirects=False)
    assert (got, part in answer) == (status, True)
    assert (headers.get("Retry-After") == "1") == (kind == "429")
    assert ("html" in headers["Content-Type"]) == (kind in ("502", "html200"))
    if kind == "truncated":
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            json.loads(answer)


BROKEN = [
    ("reset", aiohttp.ClientOSError, 60.0),
    ("cut", aiohttp.ClientPayloadError, 60.0),
    ("hang", TimeoutError, 0.1),
    ("drip", TimeoutError, 0.5),
]


@pytest.mark.parametrize(("kind", "error", "total_s"), BROKEN, ids=[row[0] for row in BROKEN])
async def test_faults_that_break_the_wire(kind: str, error: type[Exception], total_s: float) -> None:
    """What a client sees of each fault of the connection, within a timeout of its own."""
    async with serving(faults=(f"{kind}=1",)) as (server, session):
        with pytest.raises(error):
            await post(server, session, timeout=aiohttp.ClientTimeout(total=total_s))


async def test_redirects_are_counted_when_followed() -> None:
    """Whoever follows the redirect is seen by the judge."""
    async with serving(faults=("redirect=1",)) as (server, session):
        status, _, _ = await post(server, session)
        assert status == 404
        assert server.stats.followed_redirects == 1


async def test_a_fault_is_drawn_anew_for_each_attempt() -> None:
    """With half of all attempts failing, a repeated request gets through, as it does every time."""
    async with serving(faults=("500=50%",), seed=1) as (server, session):
        first = [(await post(server, session))[0] for _ in range(12)]
    async with serving(faults=("500=50%",), seed=1) as (server, session):
        again = [(await post(server, session))[0] for _ in range(12)]
    assert first == again
    assert set(first) == {200, 500}


async def test_too_many_at_once() -> None:
    """With one slot a second request in flight gets 503."""
    async with serving(slots=1, faults=("hang=1",)) as (server, session):
        hanging = asyncio.create_task(post(server, session))
        async with asyncio.timeout(60):
            while server.stats.in_flight == 0:  # noqa: ASYNC110 - counters raise no event
                await asyncio.sleep(0.001)
            assert (await post(server, session))[0] == 503
            hanging.cancel()
            while server.stats.disconnected == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert server.stats.in_flight == 0


async def test_large_bodies_are_read() -> None:
    """Two megabytes are a request like any other."""
    async with serving() as (server, session):
        large = io.BytesIO(json.dumps(body("x" * 2_000_000)).encode())
        async with session.post(server.url + CHAT, data=large) as response:
            assert response.status == 200


async def test_the_ledger(tmp_path: Path) -> None:
    """Every request leaves a line, with its marker, its charge and what was decided."""
    ledger = tmp_path / "ledger.jsonl"
    async with serving(ledger=str(ledger), rpm=1) as (server, session):
        await post(server, session, headers={"x-marker": "k0"})
        await post(server, session)
    first, second = (json.loads(line) for line in ledger.read_text().splitlines())
    assert (first["status"], first["marker"], first["charged"], first["admitted"]) == (200, "k0", 4, True)
    assert (second["status"], second["refused"], second["charged"], second["admitted"]) == (429, "rpm", 0, False)
    assert first["sha"] == second["sha"]


async def test_a_port_in_use() -> None:
    """A taken port is the user's to mend, and the hint says how."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError) as caught:
        async with Server(SimulatorSettings(port=taken.getsockname()[1])):
            pass
    assert "--port" in (caught.value.hint or "")


async def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    """A ledger in no folder is refused at the start."""
    with pytest.raises(UsageError):
        async with Server(SimulatorSettings(port=0, ledger=str(tmp_path / "no" / "ledger"))):
            pass


def test_virtual_time() -> None:
    """The provider needs neither clock nor socket: an hour of minutes passes in no time."""
    provider = Provider(SimulatorSettings(rpm=10, window="fixed", latency="0.2"))
    sent = json.dumps(body()).encode()
    admitted = 0
    for tenth in range(36_000):
        decision = provider.decide(tenth / 10, "/v1" + CHAT, sent)
        admitted += decision.admitted
        assert decision.status == (200 if decision.admitted else 429)
        assert decision.latency_s == (0.2 if decision.admitted else 0.0)
    assert admitted == 600
