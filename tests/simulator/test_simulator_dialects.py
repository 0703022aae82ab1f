"""What each dialect says: exact headers and bodies, against recorded samples and published words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from batchproc.simulator.dialects import DIALECTS, load
from batchproc.simulator.faults import FAULTS
from batchproc.simulator.provider import Decision, Provider
from batchproc.simulator.settings import SimulatorSettings

RECORDED_S = 1_747_146_003.4  # 2025-05-13, 14:20:03.4 UTC
TEXT = "x" * 46  # 1 + 1 + 12 tokens by the quick estimate

PATHS = {
    "openai": "/v1/chat/completions",
    "azure": "/openai/deployments/gpt-4o/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/openai/chat/completions",
    "groq": "/openai/v1/chat/completions",
    "mistral": "/v1/chat/completions",
    "deepseek": "/chat/completions",
    "together": "/v1/chat/completions",
    "openrouter": "/api/v1/chat/completions",
    "ollama": "/v1/chat/completions",
}


def request(text: str = TEXT, **fields: Any) -> bytes:
    return json.dumps(
        {"model": "gpt-4o", "max_tokens": 500, "messages": [{"role": "user", "content": text}], **fields}
    ).encode()


class Asking:
    """A simulated provider of one dialect, asked at its usual path."""

    def __init__(self, dialect: str, **fields: Any) -> None:
        self.path = PATHS[dialect]
        settings = SimulatorSettings(dialect=dialect, **{"latency": "0.1", **fields})
        self.provider = Provider(settings, started_s=RECORDED_S)

    def __call__(self, now_s: float = 0.0, body: bytes | None = None, **options: Any) -> Decision:
        options.setdefault("path", self.path)
        return self.provider.decide(now_s, body=request() if body is None else body, **options)


def test_every_dialect_has_a_path_here() -> None:
    """No dialect is forgotten by the tables below."""
    assert set(PATHS) == set(DIALECTS)


# The first answer of a server with these limits: all its headers that depend on them.
HEADERS: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    (
        "azure", {"rpm": 120, "tpm": 120_000, "window": "bucket", "charge": "prompt"}, "x-ratelimit-",
        {"limit-requests": "120", "limit-tokens": "120000", "remaining-requests": "119", "remaining-tokens": "119986",
         "renewalperiod-requests": "60", "renewalperiod-tokens": "60", "reset-requests": "500", "reset-tokens": "7",
         "abusepenalty-active": "False"},
    ),
    (
        "azure", {"rpm": 120, "tpm": 120_000}, "x-ratelimit-",
        {"limit-requests": "120", "limit-tokens": "120000", "remaining-requests": "19", "remaining-tokens": "119486",
         "renewalperiod-requests": "60", "renewalperiod-tokens": "60", "reset-requests": "10000",
         "reset-tokens": "60000", "abusepenalty-active": "False"},
    ),
    (
        "anthropic", {"rpm": 4000, "itpm": 400_000, "otpm": 80_000}, "anthropic-ratelimit-",
        {"requests-limit": "4000", "requests-remaining": "3999", "requests-reset": "2025-05-13T14:20:03Z",
         "input-tokens-limit": "400000", "input-tokens-remaining": "400000",
         "input-tokens-reset": "2025-05-13T14:20:03Z",
         "output-tokens-limit": "80000", "output-tokens-remaining": "80000",
         "output-tokens-reset": "2025-05-13T14:20:03Z",
         "tokens-limit": "480000", "tokens-remaining": "480000", "tokens-reset": "2025-05-13T14:20:03Z"},
    ),
    (
        "anthropic", {"rpm": 6, "tpm": 1000}, "anthropic-ratelimit-",
        {"requests-limit": "6", "requests-remaining": "5", "requests-reset": "2025-05-13T14:20:13Z",
         "tokens-limit": "1000", "tokens-remaining": "1000", "tokens-reset": "2025-05-13T14:20:04Z"},
    ),
    ("gemini", {"rpm": 60, "tpm": 6000, "rpd": 20}, "", {"content-type": "application/json; charset=UTF-8"}),
    (
        "groq", {"rpm": 30, "rpd": 14_400, "tpm": 6000}, "x-ratelimit-",
        {"limit-requests": "14400", "remaining-requests": "14399", "reset-requests": "6s",
         "limit-tokens": "6000", "remaining-tokens": "5986", "reset-tokens": "140ms"},
    ),
    (
        "mistral", {"rpm": 360, "tpm": 2_000_000}, "x-ratelimit-",
        {"limit-req-10-second": "60", "remaining-req-10-second": "59", "limit-tokens-minute": "2000000",
         "remaining-tokens-minute": "1999966", "limit-tokens-month": "10000000000",
         "remaining-tokens-month": "9999999966", "tokens-query-cost": "34"},
    ),
    ("deepseek", {"rpm": 60, "tpm": 6000}, "x-ratelimit-", {}),
    ("together", {"rpm": 120, "tpm": 6000}, "x-ratelimit-", {"limit": "2", "remaining": "1", "reset": "1"}),
    ("together", {"rpm": 120, "tpm": 6000}, "x-tokenlimit-", {"limit": "100", "remaining": "86", "reset": "1"}),
    ("openrouter", {"rpm": 20, "rpd": 50}, "", {"content-type": "application/json"}),
    ("ollama", {"rpm": 20, "tpm": 500}, "", {"content-type": "application/json"}),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "fields", "prefix", "headers"), HEADERS)
def test_headers_of_an_answer(dialect: str, fields: dict[str, Any], prefix: str, headers: dict[str, str]) -> None:
    """All headers with the prefix, and no others, to the letter."""
    decision = Asking(dialect, **fields)()
    assert decision.status == 200
    found = {name.removeprefix(prefix): value for name, value in decision.headers.items() if name.startswith(prefix)}
    assert found == headers


IDS: list[tuple[str, set[str]]] = [
    ("azure", {"x-request-id", "apim-request-id", "x-ms-region", "x-ms-deployment-name", "x-ms-is-spilled-over"}),
    ("anthropic", {"request-id", "anthropic-organization-id"}),
    ("groq", {"x-request-id", "x-groq-region"}),
    ("mistral", {"mistral-correlation-id"}),
]


@pytest.mark.parametrize(("dialect", "names"), IDS, ids=[row[0] for row in IDS])
def test_other_headers(dialect: str, names: set[str]) -> None:
    """The headers that do not depend on limits, without OpenAI's."""
    headers = Asking(dialect, headers=False)().headers
    assert set(headers) == {"content-type", *names}


def test_the_readme_has_every_dialect() -> None:
    """The table has a row for each, with what its base URL ends in."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme.split("## The simulated provider\n", 1)[1].split("\n## ", 1)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))
    assert list(rows) == list(DIALECTS)
    for name, base in rows.items():
        assert base.startswith(f"`{load(name).base}`" if load(name).base else "nothing")


def test_groq_spells_a_binary_fraction() -> None:
    """Three requests of 14,400 a day, the first 0.6 s ago: 17.4 s, as recorded one nanosecond less."""
    ask = Asking("groq", rpd=14_400)
    ask(0.0)
    ask(0.6)
    assert ask(0.6).headers["x-ratelimit-reset-requests"] == "17.399999999s"


GATEWAY_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
AZURE_LIMITED = (
    "Requests to the Creates a completion for the chat message Operation under Azure OpenAI API version 2024-10-21 "
    "have exceeded {} rate limit of your current OpenAI S0 pricing tier. Please retry after {}. Please go here: "
    "https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit."
)
CLAUDE_LIMITED = (
    "This request would exceed your organization's rate limit of {} per minute (org: "
    "00000000-0000-4000-8000-000000000000, model: gpt-4o). For details, refer to: "
    "https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce "
    "the prompt length or the maximum tokens requested, or try again later."
)
GROQ_WHERE = "for model `gpt-4o` in organization `org_simulated` service tier `on_demand` on"
GROQ_UPGRADE = "Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing"
GEMINI_EXCEEDED = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, head over to: https://ai.google.dev/gemini-api/docs/rate-limits. \n* Quota exceeded for metric: "
    "generativelanguage.googleapis.com/{metric}, limit: {limit}, model: gpt-4o\nPlease retry in {wait}."
)


def gemini(metric: str, quota: str, limit: int, wait: str) -> Any:
    google = "type.googleapis.com/google.rpc."
    violation = {
        "quotaMetric": f"generativelanguage.googleapis.com/{metric}",
        "quotaId": quota,
        "quotaDimensions": {"location": "global", "model": "gpt-4o"},
        "quotaValue": str(limit),
    }
    details = [
        {"@type": f"{google}QuotaFailure", "violations": [violation]},
        {"@type": f"{google}RetryInfo", "retryDelay": wait},
    ]
    words = GEMINI_EXCEEDED.format(metric=metric, limit=limit, wait=wait)
    return [{"error": {"code": 429, "message": words, "status": "RESOURCE_EXHAUSTED", "details": details}}]


def claude(kind: str, message: str, **details: Any) -> Any:
    return {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": "…"}


def told(message: str, kind: str | None, code: str | None, param: str | None = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def router(status: int, kind: str, message: str, retryable: bool, wait_s: int | None = None, **metadata: Any) -> Any:
    availability = {"code": kind, "retryable": retryable, **({} if wait_s is None else {"retry_after": wait_s})}
    metadata = {"error_type": kind, "provider_code": None, **metadata}
    return {
        "error": {"message": message, "code": status, "metadata": metadata, "availability": availability},
        "user_id": "user_simulated",
    }


# The second of two requests at 12 s after the start: status, waits in its headers, body.
REFUSED: list[tuple[str, str, dict[str, Any], int, dict[str, str], Any]] = [
    ("azure: requests", "azure", {"rpm": 6}, 429, {"retry-after-ms": "8000", "retry-after": "8"},
     {"error": {"code": "429", "message": AZURE_LIMITED.format("call", "8 seconds")}}),
    ("azure: tokens", "azure", {"tpm": 600}, 429, {"retry-after-ms": "48000", "retry-after": "48"},
     {"error": {"code": "429", "message": AZURE_LIMITED.format("token", "48 seconds")}}),
    ("azure: too large", "azure", {"tpm": 100}, 429, {},
     {"error": {"code": "429", "message": AZURE_LIMITED.format("token", "60 seconds")}}),
    ("azure: money", "azure", {"quota_after": 0}, 429, {},
     told("You exceeded your current quota, please check your plan and billing details. For more information on this "
          "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
          "insufficient_quota", "insufficient_quota")),
    ("azure: model", "azure", {"models": ("x",)}, 404, {},
     {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist. If you "
                "created the deployment within the last 5 minutes, please wait a moment and try again."}}),
    ("anthropic: requests", "anthropic", {"rpm": 1}, 429, {"retry-after": "60"},
     claude("rate_limit_error", CLAUDE_LIMITED.format("1 requests"))),
    ("anthropic: input", "anthropic", {"itpm": 12}, 429, {},
     claude("rate_limit_error", CLAUDE_LIMITED.format("12 input tokens"))),
    ("anthropic: money", "anthropic", {"quota_after": 0}, 429, {},
     claude("rate_limit_error", "You have reached your API usage limits: your organization has crossed its monthly API "
            "usage threshold, set based on your organization's API tier. You will regain access on 2025-06-01 at 00:00 "
            "UTC.", details={"error_code": "enforced_spend_limit_reached"})),
    ("anthropic: model", "anthropic", {"models": ("x",)}, 404, {}, claude("not_found_error", "model: gpt-4o")),
    ("anthropic: crowded", "anthropic", {"slots": 1}, 529, {},
     {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ("anthropic: context", "anthropic", {"context_length": 8}, 400, {},
     claude("invalid_request_error", "prompt is too long: 17 tokens > 8 maximum")),
    ("gemini: minute", "gemini", {"rpm": 1}, 429, {},
     gemini("generate_content_free_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", 1, "60s")),
    ("gemini: input tokens", "gemini", {"tpm": 20}, 429, {},
     gemini("generate_content_free_tier_input_token_count",
            "GenerateContentInputTokensPerModelPerMinute-FreeTier", 20, "24s")),
    # 14:20:15.4 UTC is 06:20:15.4 in California: 63,584.6 s before midnight. Told are the seconds of it.
    ("gemini: day", "gemini", {"rpd": 1}, 429, {},
     gemini("generate_content_free_tier_requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier", 1, "44.6s")),
    ("gemini: crowded", "gemini", {"slots": 1}, 503, {},
     [{"error": {"code": 503, "message": "The model is overloaded. Please try again later.",
                 "status": "UNAVAILABLE"}}]),
    ("gemini: model", "gemini", {"models": ("x",)}, 404, {},
     [{"error": {"code": 404, "message": "models/gpt-4o is not found for API version v1main, or is not supported for "
                 "generateContent.", "status": "NOT_FOUND"}}]),
    ("groq: requests", "groq", {"rpd": 1}, 429, {"retry-after": "86400"},
     {"error": {"message": f"Rate limit reached {GROQ_WHERE} requests per day (RPD): Limit 1, Used 1, Requested 1. "
                f"Please try again in 24h0m0s. {GROQ_UPGRADE}", "type": "requests", "code": "rate_limit_exceeded"}}),
    ("groq: tokens", "groq", {"tpm": 20}, 429, {"retry-after": "24"},
     {"error": {"message": f"Rate limit reached {GROQ_WHERE} tokens per minute (TPM): Limit 20, Used 14, Requested 14. "
                f"Please try again in 24s. {GROQ_UPGRADE}", "type": "tokens", "code": "rate_limit_exceeded"}}),
    ("groq: too large", "groq", {"tpm": 10}, 413, {},
     {"error": {"message": f"Request too large {GROQ_WHERE} tokens per minute (TPM): Limit 10, Requested 14, please "
                f"reduce your message size and try again. {GROQ_UPGRADE}", "type": "tokens",
                "code": "rate_limit_exceeded"}}),
    ("mistral: requests", "mistral", {"rpm": 6}, 429, {"retry-after": "8"},
     {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "param": None,
      "code": "1300"}),
    ("mistral: model", "mistral", {"models": ("x",)}, 400, {},
     {"object": "error", "message": "Invalid model: gpt-4o", "type": "invalid_model", "param": None, "code": "1500"}),
    ("deepseek: crowded", "deepseek", {"slots": 1}, 429, {},
     told("Your current concurrency is 2, which exceeds your concurrency limit of 1.", "rate_limit_error",
          "rate_limit_exceeded")),
    ("deepseek: money", "deepseek", {"quota_after": 1}, 402, {},
     told("Insufficient Balance", "unknown_error", "invalid_request_error")),
    ("together: requests", "together", {"rpm": 60}, 429, {"retry-after": "1"},
     told("You have reached the rate limit specific to this model gpt-4o. The maximum rate limit for this model is 60 "
          "queries per minute. This limit differs from the general rate limits published at Together AI rate limits "
          "documentation (https://docs.together.ai/docs/rate-limits).", "model_rate_limit", None)),
    ("together: crowded", "together", {"slots": 1}, 503, {},
     told("The server is overloaded with other requests. Sorry about that! Please retry after a while.",
          "service_unavailable_error", "server_is_overloaded")),
    ("openrouter: minute", "openrouter", {"rpm": 1}, 429,
     {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1747146075400",
      "retry-after": "60"},
     router(429, "rate_limit_exceeded", "Rate limit exceeded: free-models-per-min. ", True, 60,
            headers={"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1747146075400"})),
    # A day ends at midnight UTC, 34,784.6 s later.
    ("openrouter: day", "openrouter", {"rpd": 1}, 429,
     {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1747180800000",
      "retry-after": "34785"},
     router(429, "rate_limit_exceeded", "Rate limit exceeded: free-models-per-day. ", True, 34_785,
            headers={"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1747180800000"})),
    ("openrouter: money", "openrouter", {"quota_after": 1}, 402, {},
     router(402, "payment_required",
            "Insufficient credits. Add more using https://openrouter.ai/settings/credits", False)),
    ("ollama: crowded", "ollama", {"queue": 0}, 503, {},
     told("server busy, please try again.  maximum pending requests exceeded", "api_error", None)),
    ("ollama: model", "ollama", {"models": ("x",)}, 404, {},
     told('model "gpt-4o" not found, try pulling it first', "not_found_error", None)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "fields", "status", "waits", "body"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refusals(dialect: str, fields: dict[str, Any], status: int, waits: dict[str, str], body: Any) -> None:
    """Status, the headers that tell a wait, and the body, to the letter."""
    ask = Asking(dialect, **fields)
    ask(12.0)
    decision = ask(12.0)
    document = json.loads(decision.body)
    if isinstance(document, dict) and "request_id" in document:
        assert document["request_id"] == decision.headers["request-id"]
        document["request_id"] = "…"
    assert (decision.status, document) == (status, body)
    plain = ("retry-after", "retry-after-ms", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    found = {name: value for name, value in decision.headers.items() if name in plain}
    if dialect != "together":  # whose headers of every answer have such names
        assert found == waits
    else:
        assert found.get("retry-after") == waits.get("retry-after")


KEYS: list[tuple[str, dict[str, str], int, Any]] = [
    ("azure", {"api-key": "wrong"}, 401, {"error": {"code": "401", "message": GATEWAY_DENIED}}),
    ("anthropic", {"x-api-key": "wrong"}, 401, claude("authentication_error", "invalid x-api-key")),
    ("anthropic", {}, 401, claude("authentication_error", "x-api-key header is required")),
    ("groq", {"authorization": "Bearer wrong"}, 401,
     {"error": {"message": "Invalid API Key", "type": "invalid_request_error", "code": "invalid_api_key"}}),
    ("mistral", {}, 401,
     {"object": "error", "message": "Unauthorized", "type": "unauthorized", "param": None, "code": None}),
    ("deepseek", {"authorization": "Bearer sk-a-wrong-key"}, 401,
     told("Authentication Fails, Your api key: ****-key is invalid", "authentication_error", "invalid_request_error")),
    ("openrouter", {}, 401, router(401, "authentication", "No auth credentials found", False)),
    ("gemini", {"authorization": "Bearer wrong"}, 400,
     [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                 "status": "INVALID_ARGUMENT",
                 "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                              "domain": "googleapis.com",
                              "metadata": {"service": "generativelanguage.googleapis.com"}}]}}]),
]  # fmt: skip
RIGHT = {"azure": "api-key", "anthropic": "x-api-key"}


@pytest.mark.parametrize(("dialect", "headers", "status", "body"), KEYS)
def test_keys(dialect: str, headers: dict[str, str], status: int, body: Any) -> None:
    """Each dialect's place for the key, and what a wrong one hears; the right one passes."""
    ask = Asking(dialect, key="right", rpm=6)
    version = {"anthropic-version": "2023-06-01"}
    decision = ask(headers={**version, **headers}, authorization=headers.get("authorization"), query="api-version=1")
    document = json.loads(decision.body)
    if isinstance(document, dict) and "request_id" in document:
        document["request_id"] = "…"
    assert (decision.status, decision.refused, document) == (status, "key", body)
    name = RIGHT.get(dialect, "authorization")
    right = {**version, name: "right" if name in RIGHT.values() else "Bearer right"}
    assert ask(headers=right, authorization=right.get("authorization"), query="api-version=1").status == 200


OBJECTIONS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("a version must be named", "anthropic", {"headers": {}}, 400, "anthropic-version: header is required"),
    ("a classic path needs one too", "azure", {"headers": {}}, 404, "Resource not found"),
    ("more than 32 MB", "anthropic", {"body": b" " * 33_554_433}, 413, "Request exceeds the maximum allowed"),
    ("no such path", "anthropic", {"path": "/v1/chat/completions"}, 404, "Not Found"),
    ("no such operation", "azure", {"path": "/openai/deployments/x/moderations"}, 404, "Resource not found"),
    ("no maximum", "anthropic", {"body": b'{"model":"m","messages":[]}'}, 400, "max_tokens: Field required"),
    ("no messages", "mistral", {"body": b'{"model":"m"}'}, 422, "Missing required parameter"),
    ("no messages", "deepseek", {"body": b'{"model":"m"}'}, 422, "Missing required parameter"),
    ("wrong types", "gemini", {"body": b'{"model":5}'}, 400, "Could not use the JSON body"),
    ("another method", "groq", {"method": "GET"}, 405, "Not allowed to GET"),
    ("a long prompt", "together", {"body": request("x" * 900)}, 403, "tokens must be <= 100"),
]


@pytest.mark.parametrize(
    ("dialect", "options", "status", "words"), [r[1:] for r in OBJECTIONS], ids=[f"{r[1]}: {r[0]}" for r in OBJECTIONS]
)
def test_objections(dialect: str, options: dict[str, Any], status: int, words: str) -> None:
    """What is wrong with a request itself, in each dialect's status."""
    decision = Asking(dialect, context_length=100)(**options)
    assert decision.status == status
    assert words in decision.body.decode()


def test_azure_reads_the_model_in_the_path_or_in_the_body() -> None:
    """Classic paths name the deployment, escaped; v1 paths have the model in the body, and no version."""
    ask = Asking("azure")
    body = json.dumps({"prompt": "hi", "max_tokens": 10, "best_of": 3}).encode()
    decision = ask(body=body, path="/openai/deployments/my%20model/completions", headers={}, query="api-version=1")
    assert (decision.status, decision.model, decision.charged) == (200, "my model", 1 + 3 * 10)
    decision = ask(body=b'{"input":"hi"}', path="/openai/deployments/e/embeddings")
    assert json.loads(decision.body)["model"] == "e"
    decision = ask(path="/openai/v1/chat/completions", headers={})
    assert (decision.status, decision.model) == (200, "gpt-4o")
    assert ask(path="/openai/v1/models", method="GET").status == 200


def test_an_anthropic_message() -> None:
    """The shape of an answer; its usage has no total, and max_tokens ends it."""
    ask = Asking("anthropic")
    decision = ask(body=request("hi", system="Be brief.", max_tokens=3))
    document = json.loads(decision.body)
    assert document["content"] == [{"type": "text", "text": "Simulated answer to: hi"}]
    assert (document["type"], document["role"], document["stop_reason"]) == ("message", "assistant", "max_tokens")
    assert document["usage"] == {
        "input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 3, "service_tier": "standard",
    }  # fmt: skip
    assert decision.usage == 13
    parts = [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image", "source": {}}]}]
    assert "answer to: see" in ask(body=request(messages=parts)).body.decode()


USAGES = [
    ("groq", {"queue_time", "prompt_time", "completion_time", "total_time"}, True),
    ("deepseek", {"prompt_cache_hit_tokens", "prompt_cache_miss_tokens"}, True),
    ("openrouter", {"cost"}, True),
    ("mistral", set(), False),
    ("ollama", set(), False),
]


@pytest.mark.parametrize(("dialect", "more", "details"), USAGES)
def test_usages(dialect: str, more: set[str], details: bool) -> None:
    """The three counts, and what each provider adds or leaves out."""
    usage = json.loads(Asking(dialect)().body)["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    named = {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert set(usage) - named - more == ({"prompt_tokens_details", "completion_tokens_details"} if details else set())
    assert more <= set(usage)


def test_deepseek_keeps_a_waiting_connection_alive() -> None:
    """What waits 2.5 s in the queue gets three blank lines before its JSON, what does not wait gets none."""
    ask = Asking("deepseek", slots=1, queue=5, latency="2.5")
    first, second = ask(), ask()
    assert first.body.startswith(b"{")
    assert second.body.startswith(b"\n\n\n{")
    assert json.loads(second.body) == json.loads(first.body)


def test_an_error_inside_an_answer() -> None:
    """OpenRouter's provider may fail when the status is out already."""
    decision = Asking("openrouter", faults=("error200=1",))()
    error = json.loads(decision.body)["error"]
    assert (decision.status, error["code"], error["message"]) == (200, 502, "Provider returned error")


def test_azure_filters() -> None:
    """The content filter is a 400 with its verdicts."""
    decision = Asking("azure", faults=("filter=1",))()
    error = json.loads(decision.body)["error"]
    assert (decision.status, error["code"], error["param"]) == (400, "content_filter", "prompt")
    assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert error["innererror"]["content_filter_result"]["hate"] == {"filtered": True, "severity": "high"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_good_answer_may_look_odd(dialect: str) -> None:
    """A Retry-After on a 200, and blank lines before the JSON: still paid, still the answer, indented or not."""
    plain = Asking(dialect, pretty=True)()
    for fault, pretty in (("retry200", False), ("blank", False), ("blank", True)):
        decision = Asking(dialect, faults=(f"{fault}=1",), pretty=pretty)()
        assert (decision.status, decision.usage) == (200, plain.usage)
        assert json.loads(decision.body) == json.loads(plain.body)
        assert (decision.headers.get("retry-after") == "53") == (fault == "retry200")
        assert decision.body.startswith(b"\n\n\n") == (fault == "blank")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_errors_have_one_shape(dialect: str) -> None:
    """Every fault that is an error comes in the dialect's own shape, with the dialect's own wait if any."""
    shapes = set()
    for fault in ("429", "500", "503", "529", "408", "409", "400", "context", "413", "401", "quota", "filter"):
        decision = Asking(dialect, faults=(f"{fault}=1",))()
        document = json.loads(decision.body)
        assert 400 <= decision.status < 600
        shapes.add(type(document))
        inner = document[0] if isinstance(document, list) else document
        assert inner.get("object") == "error" if dialect == "mistral" else "error" in inner
        if dialect == "anthropic":
            assert inner["type"] == "error"
        if dialect in ("gemini", "openrouter"):
            assert inner["error"]["code"] == decision.status
    assert shapes == {list if dialect == "gemini" else dict}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_are_deterministic(dialect: str) -> None:
    """The same seed, times and requests give the same bytes, whatever goes wrong; another seed others."""

    def trace(seed: int) -> list[tuple[int, dict[str, str], bytes, float]]:
        faults = ("any=30%", "filter=5%", "blank=5%", "retry200=5%", "quota=3%")
        ask = Asking(dialect, seed=seed, rpm=300, tpm=8000, latency="0.1-3", faults=faults)
        bodies = [request(f"job {k % 12}") for k in range(60)]
        decisions = [ask(k / 10, body) for k, body in enumerate(bodies)]
        return [(d.status, d.headers, d.body, d.latency_s) for d in decisions]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_who_waits_as_told_is_let_in(dialect: str) -> None:
    """After the wait of a refusal by the minute, nothing else being sent, the same request passes."""
    ask = Asking(dialect, rpm=60, tpm=1200, charge_refused=True, latency="0")
    now_s = 3.0
    for k in range(200):
        decision = ask(now_s, request(f"{k}"))
        if decision.status != 200:
            break
    assert decision.refused in ("rpm", "tpm")
    limits = ask.provider.limits_of("gpt-4o")
    wait_s = max(window.wait_s(now_s, 1) for window in limits.windows.values())
    if "retry-after" in decision.headers:
        assert float(decision.headers["retry-after"]) >= wait_s
        wait_s = float(decision.headers["retry-after"])
    else:
        assert dialect in ("gemini", "deepseek", "ollama")
        wait_s = 60.0
    assert ask(now_s + wait_s, request("again")).status == 200


def test_all_faults_work_in_all_dialects() -> None:
    """No kind of fault is forgotten by a dialect, whatever the limits and the wire."""
    for dialect in DIALECTS:
        usual = load(dialect)
        assert usual.base.startswith(usual.root.rstrip("/")) or not usual.base
        for fault in FAULTS:
            decision = Asking(dialect, faults=(f"{fault}=1",))()
            assert decision.fault == fault
            assert decision.admitted
