"""Which answer is retried, given up, or ends the run: a row for each case, with the bodies that servers send."""

# ruff: noqa: E501 - a case is one row, however long its words are

from __future__ import annotations

import json

import pytest

from batchproc.model import Answer, Fault, FaultKind, Reply, Trouble
from batchproc.providers.openai import OpenAI

WALL = 1_700_000_000.0
API = OpenAI("https://api.test/v1/", "sk-secret", {"OpenAI-Organization": "org"})

RATE, LARGE, REJECTED, REFUSED, SERVER, OVER = (
    FaultKind.RATE_LIMITED,
    FaultKind.TOO_LARGE,
    FaultKind.REJECTED,
    FaultKind.REFUSED,
    FaultKind.SERVER,
    FaultKind.OVERLOADED,
)


def read(status: int, body: object, headers: dict[str, str] | None = None, path: str = "/chat/completions"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return API.read(path, Reply(status, headers or {}, data), WALL)


def err(message: str, type: str | None = None, code: object = None, **more: object) -> dict[str, object]:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


def rate(words: str, type: str = "tokens") -> dict[str, object]:
    return err(f"Rate limit reached for gpt-4o in organization org-x on {words}", type, "rate_limit_exceeded")


VISIT = " Visit https://platform.openai.com/account/rate-limits to learn more."
TPM = (
    b'{"error":{"message":"Rate limit reached for gpt-6-sol in organization org-x on tokens per min (TPM): '
    b"Limit 4000000, Used 3999000, Requested 2000. Please try again in 15ms. Visit "
    b'https://platform.openai.com/account/rate-limits to learn more.","type":"tokens","param":null,'
    b'"code":"rate_limit_exceeded"}}'
)
LARGE_BODY = (
    b'{"error":{"message":"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, '
    b"Requested 80715. The input or output tokens must be reduced in order to run successfully. Visit "
    b'https://platform.openai.com/account/rate-limits to learn more.","type":"tokens","param":null,'
    b'"code":"rate_limit_exceeded"}}'
)
QUOTA = (
    b'{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For more '
    b"information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
    b'","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}'
)
KEY = (
    b'{"error":{"message":"Incorrect API key provided: DEADBEEF. You can find your API key at '
    b'https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,'
    b'"code":"invalid_api_key"}}'
)
CONTEXT = (
    b'{"error":{"message":"This model\'s maximum context length is 8192 tokens. However, your messages resulted in '
    b'9085 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages",'
    b'"code":"context_length_exceeded"}}'
)
AZURE = (
    b'{"error":{"code":"429","message":"Requests to the Creates a completion for the chat message Operation under '
    b"Azure OpenAI API version 2023-05-15 have exceeded call rate limit of your current OpenAI S0 pricing tier. "
    b'Please retry after 5 seconds. Please go here: https://aka.ms/oai/quotaincrease"}}'
)
FILTER = (
    b'{"error":{"code":"content_filter","param":"prompt","status":400,"message":"The response was filtered due to the '
    b'prompt triggering Azure OpenAI\'s content management policy...","innererror":{"code":'
    b'"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true,"severity":"high"}}}}}'
)
GEMINI = [
    {
        "error": {
            "code": 429,
            "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED",
        }
    }
]
SPEND_CAP = (
    "You have reached your API usage limits: your organization has crossed its monthly API usage threshold, set based "
    "on your organization's API tier. You will regain access on 2026-09-01 at 00:00 UTC."
)
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
ANY = "any code"


# (why, status, body, headers, kind, code, wait_s)
ROWS = [
    ("TPM: wait as the words say", 429, TPM, {}, RATE, "rate_limit_exceeded", 0.015),
    ("too large: never passes", 429, LARGE_BODY, {}, LARGE, "rate_limit_exceeded", None),
    ("too large by its numbers", 429, rate("tokens per min (TPM): Limit 100, Used 0, Requested 101."), {}, LARGE, ANY, None),
    ("just the whole limit may pass", 429, rate("tokens per min (TPM): Limit 100, Used 1, Requested 100. Please try again in 600ms."), {}, RATE, ANY, 0.6),
    ("RPM", 429, rate("requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms.", "requests"), {"retry-after": "1"}, RATE, ANY, 0.12),
    ("RPD", 429, rate("requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.", "requests"), {}, RATE, ANY, 432.0),
    ("2023: no wait", 429, rate("requests per min. Limit: 20.000000 / min. Current: 24.000000 / min.", "requests"), {}, RATE, ANY, None),
    ("ramp: fewer at once, after its wait", 429, err("Slow down", "rate_limit_error", "slow_down"), {"retry-after": "2"}, OVER, "slow_down", 2.0),
    ("ramp, by a 503", 503, err("Slow down", "server_error", "slow_down"), {}, OVER, "slow_down", None),
    ("flex tier", 429, err("Resource Unavailable", "rate_limit_error"), {}, RATE, "", None),
    ("an unknown 429 without a body", 429, b"", {}, RATE, "", None),
    ("an unknown 429 as a page", 429, HTML, {"retry-after": "7"}, RATE, "", 7.0),
    ("money, old", 429, QUOTA, {"retry-after": "1"}, REFUSED, "insufficient_quota", ANY),
    ("money, by type only", 429, err("x", "insufficient_quota"), {}, REFUSED, "insufficient_quota", None),
    *(
        (f"money: {code}", 429, err("x", "billing", code), {}, REFUSED, code, None)
        for code in (
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
        )
    ),
    ("money, in words only", 429, {"error": "You exceeded your current quota"}, {}, REFUSED, "http_429", None),
    ("images: billing", 400, err("Billing hard limit has been reached", "image_generation_user_error", "billing_hard_limit_reached"), {}, REFUSED, ANY, None),
    ("closed account 401", 401, err("Your access was terminated due to violation of our policies"), {}, REFUSED, ANY, None),
    ("closed account 403", 403, err("Your access was terminated due to violation of our policies"), {}, REFUSED, ANY, None),
    ("closed account 429", 429, err("Your access was terminated due to violation of our policies"), {}, REFUSED, ANY, None),
    ("account not active", 429, err("Your account is not active, please check your billing details", None, "billing_not_active"), {}, REFUSED, ANY, None),
    ("bad key", 401, KEY, {}, REFUSED, "invalid_api_key", None),
    ("a 401 without a word", 401, b"", {}, REFUSED, "http_401", None),
    ("not a member", 401, err("You must be a member of an organization to use the API", "invalid_request_error"), {}, REFUSED, "invalid_request_error", None),
    ("address not allowed", 403, err("x", "invalid_request_error", "ip_not_authorized"), {}, REFUSED, ANY, None),
    ("country", 403, err("Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"), {}, REFUSED, ANY, None),
    ("no such model", 404, err("The model `x` does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"), {}, REJECTED, "model_not_found", None),
    ("no such model, responses", 400, err("The requested model 'x' does not exist.", "invalid_request_error", "model_not_found"), {}, REJECTED, "model_not_found", None),
    ("no such deployment", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}, {}, REJECTED, "DeploymentNotFound", None),
    ("no such model, Ollama", 404, err("model 'x' not found", "not_found_error"), {}, REJECTED, "not_found_error", None),
    ("context", 400, CONTEXT, {}, REJECTED, "context_length_exceeded", None),
    ("context, llama.cpp", 400, {"error": {"code": 400, "message": "request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it", "type": "exceed_context_size_error"}}, {}, REJECTED, "exceed_context_size_error", None),
    ("context, Together", 403, err("inputs tokens + max_new_tokens must be <= 8193", "invalid_request_error"), {}, REJECTED, ANY, None),
    ("bad request", 400, err("x", "invalid_request_error", "unknown_parameter"), {}, REJECTED, "unknown_parameter", None),
    ("422", 422, err("x", "invalid_request_error"), {}, REJECTED, "invalid_request_error", None),
    ("vLLM's integer code", 400, {"error": {"message": "m", "type": "BadRequestError", "param": None, "code": 400}}, {}, REJECTED, "BadRequestError", None),
    ("filter", 400, FILTER, {}, REJECTED, "content_filter", None),
    ("moderation", 403, {"error": {"code": 403, "message": "flagged"}}, {}, REJECTED, "http_403", None),
    ("spend cap", 429, {"type": "error", "error": {"type": "rate_limit_error", "message": SPEND_CAP}}, {}, REFUSED, ANY, None),
    ("billing 402", 402, err("x", "billing_error"), {}, REFUSED, "billing_error", None),
    ("DeepSeek", 402, err("Insufficient Balance", "unknown_error", "invalid_request_error"), {}, REFUSED, ANY, None),
    ("OpenRouter, for a while", 402, err("x", None, 402), {"retry-after": "9"}, RATE, "", 9.0),
    ("credit too low", 400, err("Your credit balance is too low to access the API", "invalid_request_error"), {}, REFUSED, ANY, None),
    ("body too large", 413, err("Request exceeds the maximum size", "request_too_large"), {}, REJECTED, "request_too_large", None),
    ("Groq, too large", 413, err("Request too large for model `m` in organization `o` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 7012, please reduce your message size", "tokens", "rate_limit_exceeded"), {}, LARGE, "rate_limit_exceeded", None),
    ("overload 529", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, {}, OVER, "", None),
    ("overload, by type, whatever the status", 500, err("x", "overloaded_error"), {}, OVER, "", None),
    ("503", 503, err("x", "service_unavailable_error", "server_is_overloaded"), {"retry-after": "4"}, OVER, ANY, 4.0),
    ("Ollama is full", 503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, {}, OVER, "", None),
    ("llama.cpp loads", 503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, {}, OVER, "", None),
    ("500", 500, err("The server had an error", "server_error"), {}, SERVER, "", None),
    ("batch too small: never passes", 500, err("input is too large to process. increase the physical batch size", "server_error"), {}, REJECTED, "server_error", None),
    ("502 page", 502, HTML, {}, SERVER, "", None),
    ("504 empty", 504, b"", {}, SERVER, "", None),
    ("524", 524, HTML, {}, SERVER, "", None),
    ("408", 408, b"", {}, SERVER, "", None),
    ("409", 409, err("lock timeout", "conflict_error"), {}, SERVER, "", None),
    ("425", 425, b"", {}, SERVER, "", None),
    ("Groq 498", 498, err("x", None, "capacity_exceeded"), {}, SERVER, "capacity_exceeded", None),
    ("an unknown 4xx", 418, b"I'm a teapot", {}, REJECTED, "http_418", None),
    ("an unknown 5xx", 599, b"?", {}, SERVER, "", None),
    ("405", 405, HTML, {}, REJECTED, "http_405", None),
    ("Gemini's list", 429, GEMINI, {}, RATE, "", None),
    ("Gemini says when", 429, [{"error": {"code": 429, "message": "You exceeded it. Please retry in 38.2s."}}], {}, RATE, "", 38.2),
    ("Gemini 503", 503, [{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}], {}, OVER, "", None),
    ("Gemini's bad key is a 400", 400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}], {}, REFUSED, ANY, None),
    ("Gemini's region", 400, [{"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}], {}, REFUSED, ANY, None),
    ("Mistral, flat", 429, {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "param": None, "code": "1300"}, {"retry-after": "3"}, RATE, "", 3.0),
    ("Mistral, flat 400", 400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "param": None, "code": "1500"}, {}, REJECTED, "invalid_model", None),
    ("Azure's gateway", 429, AZURE, {}, RATE, "", 5.0),
    ("Azure's gateway in ms", 429, AZURE, {"retry-after-ms": "4321", "retry-after": "5"}, RATE, "", 4.321),
    ("Azure's key", 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}}, {}, REFUSED, "http_401", None),
    ("told not to retry a 500", 500, b"", {"x-should-retry": "false"}, REJECTED, "http_500", None),
    ("told not to retry a 429", 429, err("x"), {"x-should-retry": "False"}, REJECTED, "http_429", None),
    ("told to retry a 400", 400, err("x"), {"x-should-retry": "true"}, SERVER, "", None),
    ("a bad key is not retried, whatever the header", 401, KEY, {"x-should-retry": "true"}, REFUSED, ANY, None),
    *((f"redirect {s}", s, b"", {"location": "https://else.test"}, REJECTED, f"http_{s}", None) for s in (301, 302, 307, 308)),
]  # fmt: skip


@pytest.mark.parametrize(("why", "status", "body", "headers", "kind", "code", "wait_s"), ROWS, ids=[r[0] for r in ROWS])
def test_triage(why, status, body, headers, kind, code, wait_s):
    """The kind of fault, the code of a failed line, and how long to wait."""
    fault = read(status, body, headers)
    assert isinstance(fault, Fault), why
    assert fault.kind is kind, why
    assert code is ANY or fault.code == code, why
    assert wait_s is ANY or fault.wait_s == pytest.approx(wait_s), why
    assert fault.status == status
    assert fault.body == (body if isinstance(body, bytes) else json.dumps(body).encode())
    assert fault.message, "a failed line always says something"


@pytest.mark.parametrize(
    ("body", "limit", "requested", "daily"),
    [
        (TPM, ("tokens", 4_000_000), 2000, False),
        (LARGE_BODY, ("tokens", 30_000), 80_715, False),
        (rate("requests per day (RPD): Limit 200, Used 200, Requested 1."), ("requests", 200), 1, True),
        (rate("tokens per day (TPD): Limit 9, Used 9, Requested 10."), None, 10, True),
        (rate("requests per min. Limit: 20.000000 / min. Current: 24."), ("requests", 20), None, False),
        (rate("tokens per minute (TPM): Limit 6000, Used 1, Requested 2"), ("tokens", 6000), 2, False),
        (rate("requests per min (RPM): Limit 0, Used 0, Requested 1."), None, 1, False),
        (rate("images per min (IPM): Limit 5, Used 5, Requested 1."), None, 1, False),
        (AZURE, None, None, False),
    ],
)
def test_what_a_refusal_teaches(body, limit, requested, daily):
    """The limit, the server's own count, and whether it is a daily one are read from the words."""
    fault = read(429, body)
    assert (fault.limit, fault.requested, fault.daily) == (limit, requested, daily)


@pytest.mark.parametrize(
    ("trouble", "kind", "code"),
    [
        (Trouble.CONNECT, FaultKind.CONNECT, "connection_error"),
        (Trouble.BROKEN, FaultKind.BROKEN, "connection_error"),
        (Trouble.TIMEOUT, FaultKind.TIMEOUT, "request_timeout"),
        (Trouble.TOO_LARGE, FaultKind.REJECTED, "response_too_large"),
    ],
)
def test_trouble_on_the_wire(trouble, kind, code):
    """What never became an answer has no status and keeps the wire's words."""
    fault = API.read("/x", Reply(0, {}, b"", trouble, "words"), WALL)
    assert fault == Fault(kind, code, "words")


def test_where_requests_go_and_with_what():
    """The key is in the headers and nowhere else; without one there is no Authorization."""
    assert API.url("/chat/completions", "gpt-4o") == "https://api.test/v1/chat/completions"
    assert API.headers()["Authorization"] == "Bearer sk-secret"
    assert API.headers()["OpenAI-Organization"] == "org"
    assert "Authorization" not in OpenAI("http://localhost/v1", None, {}).headers()


@pytest.mark.parametrize("status", [200, 429])
def test_a_request_id_can_always_be_written(status):
    """Header bytes that are no UTF-8 arrive as lone surrogates, which no encoder takes."""
    out = read(status, b'{"choices":[1]}', {"x-request-id": "a\udcffb"})
    assert isinstance(out, Answer | Fault)
    assert out.request_id == "a?b"


def test_a_long_message_is_cut():
    """A message of megabytes does not go into logs and lines."""
    assert len(read(400, err("x" * 100_000)).message) == 4000
