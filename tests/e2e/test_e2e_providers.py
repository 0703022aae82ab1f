"""The real program against servers that answer as Azure and Anthropic do: URLs, headers, output lines, usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program, chat, results, write_jobs
from servers import Reply, Request, Scripted, answer, error_answer

KEY = "made-up-key-0123456789abcdef"
USAGE = {"input_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 7}
BUSY = "Requests to the ChatCompletions_Create Operation have exceeded call rate limit. Please retry after 1 second."


def claude(text: str, **more: Any) -> dict[str, Any]:
    """A bare job for Anthropic."""
    return {"model": "claude-x", "max_tokens": 10, "messages": [{"role": "user", "content": text}], **more}


def message(request: Request) -> bytes:
    """An answer of Anthropic to a message, with its headers."""
    body = {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": f"echo {request.text}"}],
        "stop_reason": "end_turn",
        "usage": USAGE,
    }
    limits = {
        f"anthropic_ratelimit_{what}_{part}": value
        for what, limit in (("requests", 4000), ("input_tokens", 400000), ("output_tokens", 80000), ("tokens", 480000))
        for part, value in (("limit", str(limit)), ("remaining", str(limit - 1)), ("reset", "2025-05-13T14:20:02Z"))
    }
    return answer(200, body, request_id=f"req_{request.number}", retry_after="53", **limits)


def deployment(request: Request) -> bytes:
    """An answer of Azure to a chat, with its headers."""
    body = {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "content_filter_results": {}}],
        "usage": {"prompt_tokens": 14, "completion_tokens": 3, "total_tokens": 17},
    }
    return answer(
        200,
        body,
        apim_request_id=f"apim-{request.number}",
        x_ratelimit_limit_requests="6000",
        x_ratelimit_remaining_requests="5999",
        x_ratelimit_reset_requests="10",
        x_ratelimit_renewalperiod_requests="60",
    )


def test_anthropic(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """Bare jobs and those of the batch form reach /v1/messages; the answer, its id and its usage are in the output."""

    async def reply(request: Request) -> bytes:
        return message(request)

    server = scripted(reply)
    jobs = [claude("one"), {"custom_id": "b", "method": "POST", "url": "/v1/messages", "body": claude("two")}]
    write_jobs(folder / "jobs.jsonl", jobs)
    command = ("run", "jobs.jsonl", "--provider", "anthropic", "--json", "--concurrency", "1")
    env = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url.removesuffix("/v1"), "OPENAI_API_KEY": "sk-no"}
    done = program.run(*command, env=env | {"OPENAI_ORG_ID": "org-no"})
    assert done.code == 0, done.err
    assert [r.line for r in server.requests] == ["POST /v1/messages HTTP/1.1"] * 2
    for request in server.requests:
        assert request.headers["x-api-key"] == KEY
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert "authorization" not in request.headers
        assert "openai-organization" not in request.headers
    assert json.loads(server.requests[0].body) == claude("one")
    lines = results(folder / "jobs.results.jsonl")
    assert [line["custom_id"] for line in lines] == ["request-0", "b"]
    assert [line["response"]["request_id"] for line in lines] == ["req_0", "req_1"]
    assert lines[1]["response"]["body"]["content"][0]["text"] == "echo two"
    summary = done.summary()
    assert (summary["input_tokens"], summary["output_tokens"]) == (2 * 325, 2 * 7)
    assert KEY not in program.said_so_far()
    again = program.run(*command, env=env)
    assert again.code == 0, again.err
    assert again.summary()["input_tokens"] == 2 * 325, "usage is read back from the output as it was counted"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "error", "details"),
    [
        (429, "rate_limit_error", {"error_code": "enforced_spend_limit_reached"}),
        (403, "permission_error", None),
        (402, "billing_error", None),
        (404, "not_found_error", None),
    ],
)
def test_anthropic_refuses_the_run(
    program: Program,
    folder: Path,
    scripted: Callable[[Reply], Scripted],
    status: int,
    error: str,
    details: dict[str, str] | None,
) -> None:
    """A spend cap, no right, the bill, a model that nobody knows: exit 4, and no job is burnt."""

    async def reply(request: Request) -> bytes:
        words = {"type": error, "message": "model: claude-x" if status == 404 else "No.", "details": details}
        return answer(status, {"type": "error", "error": words, "request_id": "req_9"})

    server = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [claude(f"job {k}") for k in range(60)])
    command = ("run", "jobs.jsonl", "--provider", "anthropic", "--base-url", server.url, "--json")
    done = program.run(*command, env={"ANTHROPIC_API_KEY": KEY})
    assert done.code == 4, done.err
    assert done.summary()["failed"] == 0
    assert len(server.requests) <= (20 + 32 if status == 404 else 8), "requests were sent after the refusal"
    assert results(folder / "jobs.results.jsonl") == []


def test_without_a_key_the_hint_names_the_variable(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """Before anything is sent for a known host; after the refusal of another."""
    write_jobs(folder / "jobs.jsonl", [claude("one")])
    done = program.run("run", "jobs.jsonl", "--provider", "anthropic", env={"OPENAI_API_KEY": "sk-no"})
    assert done.code == 2, done.err
    assert "set ANTHROPIC_API_KEY" in done.err

    async def reply(request: Request) -> bytes:
        return error_answer(401, "Access denied", "401")

    server = scripted(reply)
    base = server.url.removesuffix("/v1")
    done = program.run("run", "jobs.jsonl", "--provider", "azure", "--base-url", base)
    assert done.code == 4, done.err
    assert "set AZURE_OPENAI_API_KEY" in done.err
    done = program.run("run", "jobs.jsonl", "--provider", "azure")
    assert done.code == 2
    assert "AZURE_OPENAI_ENDPOINT" in done.err


@pytest.mark.parametrize("newer", [False, True])
def test_azure(program: Program, folder: Path, scripted: Callable[[Reply], Scripted], newer: bool) -> None:
    """A job's model is its deployment, in the path and safely so; at the newer address it is in the body alone."""

    async def reply(request: Request) -> bytes:
        return deployment(request)

    server = scripted(reply)
    jobs = [
        chat("one"),
        {"custom_id": "b", "method": "POST", "url": "/chat/completions", "body": chat("two") | {"model": "my gpt/4?"}},
        {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": chat("three")},
    ]
    write_jobs(folder / "jobs.jsonl", jobs)
    base = server.url.removesuffix("/v1") + ("/openai/v1" if newer else "")
    command = ("run", "jobs.jsonl", "--provider", "azure", "--json", "--concurrency", "1")
    env = {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": base, "AZURE_OPENAI_API_VERSION": "2025-01-01"}
    done = program.run(*command, env=env)
    assert done.code == 0, done.err
    paths = {r.line.split(" ")[1] for r in server.requests}
    below = "/openai/deployments/{}/chat/completions?api-version=2025-01-01"
    assert paths == (
        {"/openai/v1/chat/completions"} if newer else {below.format("gpt-4o-mini"), below.format("my%20gpt%2F4%3F")}
    )
    assert {r.headers["api-key"] for r in server.requests} == {KEY}
    assert all("authorization" not in r.headers for r in server.requests)
    lines = results(folder / "jobs.results.jsonl")
    assert [line["response"]["request_id"][:5] for line in lines] == ["apim-"] * 3
    summary = done.summary()
    assert (summary["input_tokens"], summary["output_tokens"]) == (3 * 14, 3 * 3)
    assert KEY not in program.said_so_far()


def test_azure_throttles_and_filters(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """Its 429 is waited for and costs no attempt; its filter fails the job with its own code."""
    refused: set[str] = set()

    async def reply(request: Request) -> bytes:
        if request.text == "bad":
            return error_answer(400, "The response was filtered due to the prompt.", "content_filter")
        if request.text not in refused:
            refused.add(request.text)
            return answer(429, {"error": {"code": "429", "message": BUSY}}, retry_after_ms="20")
        return deployment(request)

    server = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [chat("good"), chat("bad")])
    base = server.url.removesuffix("/v1")
    done = program.run("run", "jobs.jsonl", "--provider", "azure", "--base-url", base, "--max-attempts", "1")
    assert done.code == 3, done.err
    good, bad = results(folder / "jobs.results.jsonl")
    assert good["error"] is None
    assert bad["error"]["code"] == "content_filter"
    assert bad["response"]["status_code"] == 400


def quota(name: str) -> list[dict[str, Any]]:
    """A refusal of Gemini's compatible endpoint, as recorded: a list, with OpenAI's words for «no money»."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name, "quotaValue": "20"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.05s"},
    ]
    words = "You exceeded your current quota, please check your plan and billing details."
    return [{"error": {"code": 429, "message": words, "status": "RESOURCE_EXHAUSTED", "details": details}}]


def test_a_quota_of_a_minute_is_waited_for(
    program: Program, folder: Path, scripted: Callable[[Reply], Scripted]
) -> None:
    """Google's words for it are OpenAI's for an empty account: the run goes on all the same."""

    async def reply(request: Request) -> bytes:
        if request.number == 0:
            return answer(429, quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"))
        return deployment(request)

    server = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [chat("one")])
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--max-attempts", "1")
    assert done.code == 0, done.err
    assert len(server.requests) == 2


def test_a_quota_of_a_day_stops_at_once(program: Program, folder: Path, scripted: Callable[[Reply], Scripted]) -> None:
    """Whatever its delay of a moment says: nothing is asked again before midnight in California; exit 5, resumable."""

    async def reply(request: Request) -> bytes:
        return answer(429, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"))

    server = scripted(reply)
    write_jobs(folder / "jobs.jsonl", [chat(f"job {k}") for k in range(30)])
    done = program.run("run", "jobs.jsonl", "--base-url", server.url, "--max-wait", "1", "--json")
    assert done.code == 5, done.err
    assert done.summary()["failed"] == 0
    assert len(server.requests) <= 8, "asked again within the day"
