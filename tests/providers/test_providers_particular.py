"""What is particular to each provider: its errors, a row for each, with the bodies that it sends."""

# ruff: noqa: E501 - a case is one row, however long its words are

from __future__ import annotations

import bodies as b
import pytest

from batchproc.model import Fault, FaultKind, Reply
from batchproc.providers.choose import provider_for

WALL = 1_700_000_000.0  # 2023-11-14T22:13:20Z: 14:13:20 in California
TO_PACIFIC_MIDNIGHT_S = 9 * 3600 + 46 * 60 + 40.0
RATE, LARGE, REJECTED, REFUSED, SERVER, OVER, INVALID = (
    FaultKind.RATE_LIMITED,
    FaultKind.TOO_LARGE,
    FaultKind.REJECTED,
    FaultKind.REFUSED,
    FaultKind.SERVER,
    FaultKind.OVERLOADED,
    FaultKind.INVALID,
)
OPENAI, AZURE, ANTHROPIC = "https://api.openai.com/v1", "https://r.openai.azure.com", "https://api.anthropic.com/v1"
GEMINI, GROQ = "https://generativelanguage.googleapis.com/v1beta/openai", "https://api.groq.com/openai/v1"
MISTRAL, DEEPSEEK = "https://api.mistral.ai/v1", "https://api.deepseek.com"
TOGETHER, OPENROUTER = "https://api.together.xyz/v1", "https://openrouter.ai/api/v1"
VLLM, OLLAMA, LLAMA = "http://localhost:8000/v1", "http://localhost:11434/v1", "http://localhost:8080/v1"
APIS = {AZURE: "azure", ANTHROPIC: "anthropic"}
MONTH_GONE = {"x-ratelimit-remaining-tokens-month": "0", "x-ratelimit-remaining-tokens-minute": "2000000"}


def read(base: str, status: int, body: object, headers: dict[str, str] | None = None) -> Fault:
    """What the provider at this base URL makes of an answer."""
    provider = provider_for(APIS.get(base, "openai"), base, "sk-secret", {}, {})
    outcome = provider.read("/chat/completions", Reply(status, headers or {}, b.raw(body)), WALL)
    assert isinstance(outcome, Fault)
    return outcome


# (base URL, why, status, body, headers, kind, code, wait_s)
ROWS = [
    (ANTHROPIC, "its rate limit, after its wait", 429, b.ANTHROPIC_RATE, {"retry-after": "17"}, RATE, "", 17.0),
    (ANTHROPIC, "no wait said", 429, b.ANTHROPIC_RATE_2026, {}, RATE, "", None),
    (ANTHROPIC, "a ramp: slower, after its wait", 429, b.ANTHROPIC_RAMP, {"retry-after": "9"}, OVER, "ramp_limit_exceeded", 9.0),
    (ANTHROPIC, "a ramp in words", 429, b.anthropic("rate_limit_error", "This request would exceed your organization’s maximum usage increase rate for input tokens per minute."), {}, OVER, "", None),
    (ANTHROPIC, "the month's money", 429, b.ANTHROPIC_CAP, {}, REFUSED, "enforced_spend_limit_reached", None),
    (ANTHROPIC, "the contract's money", 429, b.ANTHROPIC_CONTRACT, {}, REFUSED, "contract_spend_limit_reached", None),
    (ANTHROPIC, "a cap of one's own", 400, b.ANTHROPIC_OWN_CAP, {}, REFUSED, "invalid_request_error", None),
    (ANTHROPIC, "the bill", 402, b.anthropic("billing_error", "There is an issue with your billing."), {}, REFUSED, "billing_error", None),
    (ANTHROPIC, "credit", 400, b.anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), {}, REFUSED, "invalid_request_error", None),
    (ANTHROPIC, "the key", 401, b.anthropic("authentication_error", "invalid x-api-key"), {}, REFUSED, "authentication_error", None),
    (ANTHROPIC, "no right", 403, b.anthropic("permission_error", "Your API key does not have permission to use the specified resource."), {}, REFUSED, "permission_error", None),
    (ANTHROPIC, "on hold", 403, b.anthropic("invalid_request_error", "Held.", error_code="organization_on_hold"), {}, REFUSED, "organization_on_hold", None),
    (ANTHROPIC, "no such model", 404, b.ANTHROPIC_NO_MODEL, {}, REJECTED, "not_found_error", None),
    (ANTHROPIC, "too long", 400, b.ANTHROPIC_TOO_LONG, {}, REJECTED, "invalid_request_error", None),
    (ANTHROPIC, "too many bytes", 413, b.anthropic("request_too_large", "Request exceeds the maximum allowed number of bytes."), {}, REJECTED, "request_too_large", None),
    (ANTHROPIC, "too much for everybody", 529, b.anthropic("overloaded_error", "Overloaded"), {}, OVER, "", None),
    (ANTHROPIC, "overload says when", 529, b.anthropic("overloaded_error", "Overloaded"), {"retry-after": "30"}, OVER, "", 30.0),
    (ANTHROPIC, "its server", 500, b.anthropic("api_error", "Internal server error"), {}, SERVER, "", None),
    (ANTHROPIC, "its time-out", 504, b.anthropic("timeout_error", "x"), {}, SERVER, "", None),
    (ANTHROPIC, "a conflict", 409, b.anthropic("conflict_error", "x"), {}, SERVER, "", None),
    (ANTHROPIC, "told not to", 529, b.anthropic("overloaded_error", "Overloaded"), {"x-should-retry": "false"}, REJECTED, "overloaded_error", None),
    (AZURE, "calls", 429, b.AZURE_CALL_RATE, {}, RATE, "", 5.0),
    (AZURE, "tokens", 429, b.AZURE_TOKEN_RATE, {}, RATE, "", 1.0),
    (AZURE, "milliseconds go first", 429, b.AZURE_TOKEN_RATE, {"retry-after-ms": "812", "retry-after": "1"}, RATE, "", 0.812),
    (AZURE, "limited, without a figure", 429, b.AZURE_LIMITED, {}, RATE, "", None),
    (AZURE, "a day is a wait like any other", 429, b.AZURE_LIMITED, {"retry-after": "86400"}, RATE, "", 86400.0),
    (AZURE, "the key", 401, b.AZURE_KEY, {}, REFUSED, "http_401", None),
    (AZURE, "the network", 403, b.AZURE_NETWORK, {}, REFUSED, "http_403", None),
    (AZURE, "keys are switched off", 403, {"error": {"code": "AuthenticationTypeDisabled", "message": "Key based authentication is disabled for this resource."}}, {}, REFUSED, "AuthenticationTypeDisabled", None),
    (AZURE, "no such deployment", 404, b.AZURE_NO_DEPLOYMENT, {}, REJECTED, "DeploymentNotFound", None),
    (AZURE, "filtered", 400, b.AZURE_FILTER, {}, REJECTED, "content_filter", None),
    (AZURE, "a wrong path", 404, {"error": {"code": "404", "message": "Resource not found"}}, {}, REJECTED, "http_404", None),
    (AZURE, "its server", 500, {"error": {"code": "InternalServerError", "message": "x"}}, {}, SERVER, "InternalServerError", None),
    (GEMINI, "a minute's requests, whatever the words for money", 429, b.GEMINI_MINUTE, {}, RATE, "", 38.2),
    (GEMINI, "a minute's tokens", 429, b.GEMINI_TOKENS, {}, RATE, "", 38.2),
    (GEMINI, "a day's: until midnight there, whatever the delay", 429, b.GEMINI_DAY, {}, RATE, "", TO_PACIFIC_MIDNIGHT_S),
    (GEMINI, "none at all on this plan", 429, b.GEMINI_NONE, {}, REFUSED, "RESOURCE_EXHAUSTED", 38.2),
    (GEMINI, "a bad key is a 400", 400, b.GEMINI_BAD_KEY, {}, REFUSED, "API_KEY_INVALID", None),
    (GEMINI, "no billing", 400, b.GEMINI_BILLING, {}, REFUSED, "FAILED_PRECONDITION", None),
    (GEMINI, "a key taken away", 403, b.GEMINI_LEAKED, {}, REFUSED, "PERMISSION_DENIED", None),
    (GEMINI, "prepaid money gone", 402, [{"error": {"code": 402, "message": "Your prepayment balance is depleted."}}], {}, REFUSED, "http_402", None),
    (GEMINI, "no such model", 404, b.GEMINI_NO_MODEL, {}, REJECTED, "NOT_FOUND", None),
    (GEMINI, "too much for it", 503, [{"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}}], {}, OVER, "", None),
    (GEMINI, "its deadline", 504, [{"error": {"code": 504, "message": "x", "status": "DEADLINE_EXCEEDED"}}], {}, SERVER, "", None),
    (GROQ, "a minute's tokens", 429, b.GROQ_MINUTE, {"retry-after": "12"}, RATE, "rate_limit_exceeded", 11.455),
    (GROQ, "a day's tokens", 429, b.GROQ_DAY, {"retry-after": "864"}, RATE, "rate_limit_exceeded", 864.0),
    (GROQ, "no capacity for flex", 498, {"error": {"message": "x", "type": "", "code": "capacity_exceeded"}}, {}, SERVER, "capacity_exceeded", None),
    (MISTRAL, "flat", 429, b.MISTRAL_RATE, {"retry-after": "2"}, RATE, "", 2.0),
    (MISTRAL, "short", 429, b.MISTRAL_SHORT, {}, RATE, "", None),
    (MISTRAL, "the month's tokens, in words", 429, b.MISTRAL_MONTH, {}, REFUSED, "rate_limited", None),
    (MISTRAL, "the month's tokens, in a header", 429, b.MISTRAL_RATE, MONTH_GONE, REFUSED, "rate_limited", None),
    (MISTRAL, "the workspace's money", 403, {"message": "Your workspace spending limit is reached"}, {}, REFUSED, "http_403", None),
    (MISTRAL, "the key", 401, b.MISTRAL_KEY, {}, REFUSED, "http_401", None),
    (MISTRAL, "fields", 422, b.MISTRAL_FIELDS, {}, REJECTED, "invalid_request_message_error", None),
    (MISTRAL, "no such model", 400, b.MISTRAL_NO_MODEL, {}, REJECTED, "invalid_model", None),
    (DEEPSEEK, "too many in flight: fewer at once", 429, b.DEEPSEEK_CROWDED, {}, OVER, "", None),
    (DEEPSEEK, "any 429 of its", 429, b.DEEPSEEK_429, {}, OVER, "", None),
    (DEEPSEEK, "money", 402, b.DEEPSEEK_MONEY, {}, REFUSED, "invalid_request_error", None),
    (DEEPSEEK, "parameters", 422, {"error": {"message": "x", "type": "invalid_request_error"}}, {}, REJECTED, "invalid_request_error", None),
    (DEEPSEEK, "too much for it", 503, {"error": {"message": "x"}}, {}, OVER, "", None),
    (DEEPSEEK, "no such model", 400, b.DEEPSEEK_NO_MODEL, {}, REJECTED, "invalid_request_error", None),
    (TOGETHER, "above its rate", 429, {"error": {"message": "Too many requests", "type": "rate_limit"}}, {"retry-after": "1"}, RATE, "", 1.0),
    (TOGETHER, "below its rate", 503, {"error": {"message": "The server is overloaded", "type": "service_unavailable"}}, {}, OVER, "", None),
    (TOGETHER, "money", 402, {"error": {"message": "spending limit reached", "type": "x"}}, {}, REFUSED, "x", None),
    (TOGETHER, "too long is a 403", 403, b.TOGETHER_CONTEXT, {}, REJECTED, "invalid_request_error", None),
    (TOGETHER, "its proxy's time-out", 524, b.PAGE, {}, SERVER, "", None),
    (OPENROUTER, "the free models' day, by its copied header", 429, b.OPENROUTER_DAY, {}, RATE, "", 6400.0),
    (OPENROUTER, "the free models' minute", 429, b.OPENROUTER_MINUTE, {}, RATE, "", 30.0),
    (OPENROUTER, "the day, by its header", 429, {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}, {"x-ratelimit-reset": "1700006400000"}, RATE, "", 6400.0),
    (OPENROUTER, "the day, without a figure: until midnight UTC", 429, {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}, {}, RATE, "", 6400.0),
    (OPENAI, "elsewhere that header says when a bucket is full", 429, {"error": {"message": "x"}}, {"x-ratelimit-reset": "1700006400000"}, RATE, "", None),
    (OPENROUTER, "somebody upstream says when", 429, b.OPENROUTER_UPSTREAM, {}, RATE, "", 7.0),
    (OPENROUTER, "money", 402, b.OPENROUTER_CREDITS, {}, REFUSED, "http_402", None),
    (OPENROUTER, "money for a while", 402, b.OPENROUTER_CREDITS, {"retry-after": "60"}, RATE, "", 60.0),
    (OPENROUTER, "moderation", 403, b.OPENROUTER_MODERATION, {}, REJECTED, "http_403", None),
    (OPENROUTER, "a 500 that will stay", 500, b.OPENROUTER_NEVER, {}, REJECTED, "http_500", None),
    (OPENROUTER, "a 400 that may pass", 400, {"error": {"code": 400, "message": "x", "availability": {"retryable": True}}}, {}, SERVER, "", None),
    (OPENROUTER, "a rate limit inside a 200", 200, b.OPENROUTER_UPSTREAM, {}, RATE, "", 7.0),
    (OPENROUTER, "a failure inside a 200", 200, b.OPENROUTER_DOWN, {}, SERVER, "", None),
    (OPENROUTER, "a lasting failure inside a 200", 200, b.OPENROUTER_NEVER, {}, REJECTED, "http_500", None),
    (OPENROUTER, "an error without a code inside a 200", 200, {"error": {"message": "x"}}, {}, SERVER, "", None),
    (OPENROUTER, "money inside a 200", 200, b.OPENROUTER_CREDITS, {}, REFUSED, "http_402", None),
    (OPENROUTER, "no answer at all", 200, {"choices": []}, {"retry-after": "53"}, INVALID, "invalid_response", None),
    (VLLM, "integer code", 400, b.VLLM_CONTEXT, {}, REJECTED, "BadRequestError", None),
    (VLLM, "the same answer of a plain server inside a 200", 200, b.OPENROUTER_UPSTREAM, {}, INVALID, "invalid_response", None),
    (LLAMA, "too long", 400, b.LLAMA_CONTEXT, {}, REJECTED, "exceed_context_size_error", None),
    (LLAMA, "larger than its batch, by a 500", 500, b.LLAMA_BATCH, {}, REJECTED, "server_error", None),
    (LLAMA, "no free slot", 503, {"error": {"code": 503, "message": "no slot available", "type": "unavailable_error"}}, {}, OVER, "", None),
    (OLLAMA, "its queue is full", 503, b.OLLAMA_BUSY, {}, OVER, "", None),
    (OPENAI, "concurrency, in words", 429, {"error": {"message": "Too many concurrent requests"}}, {}, OVER, "", None),
    (OPENAI, "the standard header, used up", 429, b"", {"ratelimit": '"a";r=0;t=12', "ratelimit-policy": '"a";q=5;w=60'}, RATE, "", 12.0),
    (OPENAI, "the standard header, not used up", 429, b"", {"ratelimit": '"a";r=3;t=12'}, RATE, "", None),
    (OPENAI, "Retry-After goes before it", 429, b"", {"ratelimit": '"a";r=0;t=12', "retry-after": "3"}, RATE, "", 3.0),
    (OPENAI, "a DeepSeek kind of 429 elsewhere is a rate", 429, b.DEEPSEEK_429, {}, RATE, "", None),
    (OPENAI, "blank lines before the JSON", 429, b"\n\n \n" + b.raw(b.GROQ_MINUTE), {}, RATE, "rate_limit_exceeded", 11.455),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "why", "status", "body", "headers", "kind", "code", "wait_s"), ROWS, ids=[f"{r[0]} {r[1]}" for r in ROWS]
)
def test_triage(base, why, status, body, headers, kind, code, wait_s):
    """The kind of fault, the code of a failed line, and how long to wait."""
    fault = read(base, status, body, headers)
    assert fault.kind is kind, why
    assert fault.code == code, why
    assert fault.wait_s == (None if wait_s is None else pytest.approx(wait_s)), why
    assert fault.status == status
    assert fault.message


@pytest.mark.parametrize(
    ("base", "body", "limit", "daily"),
    [
        (ANTHROPIC, b.ANTHROPIC_RATE, ("input_tokens", 40_000), False),
        (ANTHROPIC, b.ANTHROPIC_RATE_2026, ("input_tokens", 30_000), False),
        (
            ANTHROPIC,
            b.anthropic("rate_limit_error", "… rate limit of 50 requests per minute."),
            ("requests", 50),
            False,
        ),
        (
            ANTHROPIC,
            b.anthropic("rate_limit_error", "… of 8,000 output tokens per minute."),
            ("output_tokens", 8000),
            False,
        ),
        (GEMINI, b.GEMINI_MINUTE, ("requests", 15), False),
        (GEMINI, b.GEMINI_TOKENS, ("input_tokens", 250_000), False),
        (GEMINI, b.GEMINI_DAY, ("requests", 20), True),
        (GROQ, b.GROQ_MINUTE, ("tokens", 12_000), False),
        (GROQ, b.GROQ_DAY, ("tokens", 100_000), True),
        (OPENROUTER, b.OPENROUTER_DAY, None, True),
        (OPENROUTER, b.OPENROUTER_MINUTE, None, False),
        (AZURE, b.AZURE_CALL_RATE, None, False),
        (MISTRAL, b.MISTRAL_RATE, None, False),
    ],
)
def test_what_a_refusal_teaches(base, body, limit, daily):
    """The limit, and whether it is a day's, are read from the words and from Google's quotas."""
    fault = read(base, 429, body)
    assert (fault.limit, fault.daily) == (limit, daily)


def test_several_quotas_are_as_bad_as_the_worst():
    """A day's quota among those that are exceeded decides."""
    both = b.gemini("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15")
    both[0]["error"]["details"][1]["violations"] += b.GEMINI_DAY[0]["error"]["details"][1]["violations"]
    fault = read(GEMINI, 429, both)
    assert (fault.daily, fault.limit, fault.wait_s) == (True, ("requests", 20), pytest.approx(TO_PACIFIC_MIDNIGHT_S))


@pytest.mark.parametrize(
    ("base", "status", "body"),
    [
        (ANTHROPIC, 404, b.ANTHROPIC_NO_MODEL),
        (AZURE, 404, b.AZURE_NO_DEPLOYMENT),
        (GEMINI, 404, b.GEMINI_NO_MODEL),
        (MISTRAL, 400, b.MISTRAL_NO_MODEL),
        (DEEPSEEK, 400, b.DEEPSEEK_NO_MODEL),
        (OPENROUTER, 400, b.OPENROUTER_NO_MODEL),
        (OPENROUTER, 200, b.OPENROUTER_NO_MODEL),
        (OPENROUTER, 404, {"error": {"message": "No endpoints found for x/y.", "code": 404}}),
        (TOGETHER, 404, b.TOGETHER_NO_MODEL),
        (VLLM, 404, b.VLLM_NO_MODEL),
        (OLLAMA, 404, b.OLLAMA_NO_MODEL),
        (
            OPENAI,
            404,
            {
                "error": {
                    "message": "The model `x` does not exist or you do not have access to it.",
                    "code": "model_not_found",
                }
            },
        ),
        (
            OPENAI,
            400,
            {
                "error": {
                    "message": "The requested model 'x' does not exist.",
                    "param": "model",
                    "code": "model_not_found",
                }
            },
        ),
    ],
)
def test_no_such_model(base, status, body):
    """Every provider's words for it: the run stops if it is never anything else."""
    fault = read(base, status, body)
    assert (fault.kind, fault.no_model) == (REJECTED, True)


@pytest.mark.parametrize(
    ("base", "status", "body"),
    [
        (ANTHROPIC, 404, b.anthropic("not_found_error", "Not Found")),
        (AZURE, 404, {"error": {"code": "404", "message": "Resource not found"}}),
        (VLLM, 400, b.VLLM_CONTEXT),
        (OPENAI, 400, {"error": {"message": "Invalid value: 'x'. The model said not found", "code": "invalid_value"}}),
        (OPENAI, 404, b.PAGE),
        (OPENAI, 500, {"error": {"message": "model not found", "code": None}}),
    ],
)
def test_what_is_no_word_of_the_model(base, status, body):
    """Another 404, or another 400, is that job's own matter."""
    assert not read(base, status, body).no_model


def test_request_ids():
    """Each provider's own header, else what the body of an error says."""
    for base, headers, expected in (
        (ANTHROPIC, {"request-id": "req_1", "x-request-id": "edge"}, "req_1"),
        (ANTHROPIC, {}, "req_011CSomething"),
        (AZURE, {"apim-request-id": "a", "x-request-id": "x"}, "x"),
        (AZURE, {"apim-request-id": "a"}, "a"),
        (MISTRAL, {"mistral-correlation-id": "m"}, "m"),
        (OPENAI, {"x-request-id": "\udcffb"}, "?b"),
    ):
        assert read(base, 500, b.anthropic("api_error", "x"), headers).request_id == expected
