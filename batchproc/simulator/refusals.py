"""Error bodies and headers in the provider's own words.

The texts are those of real answers of OpenAI's API (recorded traffic, 2024 to 2026); durations are spelt as
Go spells them, cut to whole milliseconds. Every body is `{"error": {"message", "type", "param", "code"}}`.
"""

from __future__ import annotations

import math

from msgspec import json

from batchproc.simulator.limits import ModelLimits, Refusal
from batchproc.simulator.windows import Window

ORGANIZATION = "org-simulated"
ORIGIN = {"openai-organization": ORGANIZATION, "openai-version": "2020-10-01"}

_PER = {
    "rpm": "requests per min (RPM)",
    "tpm": "tokens per min (TPM)",
    "rpd": "requests per day (RPD)",
    "tpd": "tokens per day (TPD)",
}
_LEARN_MORE = "Visit https://platform.openai.com/account/rate-limits to learn more."


def go_duration(seconds: float) -> str:
    """Spell a duration as Go does: `0s`, `12ms`, `8.64s`, `6m0s`, `1h2m3s`; below a millisecond is `0s`."""
    total_ms = math.floor(max(0.0, seconds) * 1000 + 1e-6)
    if total_ms < 1000:
        return f"{total_ms}ms" if total_ms else "0s"
    minutes, ms = divmod(total_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, rest = divmod(ms, 1000)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    text = f"{whole}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def exact_duration(seconds: float) -> str:
    """Spell a duration to the nanosecond, as Go does with a binary fraction: `130ms`, `17.399999999s`."""
    total_ns = math.floor(max(0.0, seconds) * 1e9)
    if not total_ns:
        return "0s"
    if total_ns < 1_000_000_000:
        return f"{_decimal(total_ns, 1_000_000)}ms" if total_ns >= 1_000_000 else f"{_decimal(total_ns, 1_000)}µs"
    minutes, ns = divmod(total_ns, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(ns, 1_000_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def retry_after(wait_s: float) -> str:
    """Retry-After: whole seconds, rounded up, at least 1 (OpenAI's specification, TooManyRequests)."""
    return str(max(1, math.ceil(wait_s - 1e-9)))


def error_body(message: str, kind: str | None, code: str | None, param: str | None = None) -> bytes:
    """An error of the API: `kind` is its `type`."""
    return json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def rate_limited(model: str, refusal: Refusal, organization: str = ORGANIZATION) -> bytes:
    """The 429 of a limit, with its numbers; the wait is (used + requested - limit) / limit * window.

    What asks for more than the whole limit is "too large", and no wait is named.
    """
    where = f"for {model} in organization {organization} on {_PER[refusal.dimension]}"
    if refusal.too_large:
        message = (
            f"Request too large {where}: Limit {refusal.limit}, Requested {refusal.requested}. "
            f"The input or output tokens must be reduced in order to run successfully. {_LEARN_MORE}"
        )
    else:
        message = (
            f"Rate limit reached {where}: Limit {refusal.limit}, Used {refusal.used}, "
            f"Requested {refusal.requested}. Please try again in "
            f"{go_duration(max(0.001, refusal.wait_s))}. {_LEARN_MORE}"
        )
    kind = "requests" if refusal.dimension[0] == "r" else "tokens"
    return error_body(message, kind, "rate_limit_exceeded")


def insufficient_quota() -> bytes:
    """The 429 that no waiting mends: the money is gone."""
    return error_body(
        "You exceeded your current quota, please check your plan and billing details. For more information "
        "on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        "insufficient_quota",
    )


def invalid_key(key: str) -> bytes:
    """The 401 of a wrong key. A long key is shown as OpenAI shows it: its two ends, stars between them."""
    shown = key if len(key) <= 8 else f"{key[:4]}{'*' * (len(key) - 8)}{key[-4:]}"
    return error_body(
        f"Incorrect API key provided: {shown}. "
        "You can find your API key at https://platform.openai.com/account/api-keys.",
        "invalid_request_error",
        "invalid_api_key",
    )


def no_key() -> bytes:
    """The 401 of a request without any key."""
    return error_body(
        "You didn't provide an API key. You need to provide your API key in an Authorization header using "
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        "invalid_request_error",
        None,
    )


def model_not_found(path: str, model: str) -> tuple[int, bytes]:
    """404 for an unknown model; /responses says 400 and names the parameter."""
    if path == "/v1/responses":
        message = f"The requested model '{model}' does not exist."
        return 400, error_body(message, "invalid_request_error", "model_not_found", "model")
    message = f"The model `{model}` does not exist or you do not have access to it."
    return 404, error_body(message, "invalid_request_error", "model_not_found")


def context_length_exceeded(length: int, tokens: int) -> bytes:
    """The 400 of a prompt of `tokens` tokens for a model that reads `length`."""
    return error_body(
        f"This model's maximum context length is {length} tokens. However, your messages resulted in "
        f"{tokens} tokens. Please reduce the length of the messages.",
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    )


def content_refused() -> bytes:
    """The 400 of a prompt that a filter refuses."""
    message = "Your request was rejected as a result of our safety system."
    return error_body(message, "invalid_request_error", "content_policy_violation")


def no_such_url(method: str, path: str) -> bytes:
    """The 404 of a path the API does not have."""
    return error_body(f"Invalid URL ({method} {path})", "invalid_request_error", None)


def wrong_method(method: str) -> bytes:
    """The 405 of a path that takes another method."""
    message = f"Not allowed to {method} this path. (HINT: Perhaps you meant to use a different HTTP method?)"
    return error_body(message, "invalid_request_error", "method_not_supported")


_SORRY = "The server had an error while processing your request. Sorry about that!"
_OVERLOADED = "The server is overloaded with other requests. Sorry about that! Please retry after a while."


def server_error() -> bytes:
    """The body of a 500."""
    return error_body(_SORRY, "server_error", None)


def overloaded() -> bytes:
    """The body of a 503."""
    return error_body(_OVERLOADED, "service_unavailable_error", "server_is_overloaded")


def html_page(title: str) -> bytes:
    """What a proxy in front of the API says when it cannot reach it."""
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    return (page + "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n").encode()


def add_limit_headers(headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
    """Add x-ratelimit-limit, -remaining and -reset for requests and for tokens, where there are limits.

    A reset is the time until the window is full again, not until one more request passes (recorded).
    """
    if limits.shown_requests is not None:
        _add(headers, "requests", limits.shown_requests, now_s)
    if limits.shown_tokens is not None:
        _add(headers, "tokens", limits.shown_tokens, now_s)


def _add(headers: dict[str, str], what: str, window: Window, now_s: float) -> None:
    headers[f"x-ratelimit-limit-{what}"] = str(window.limit)
    headers[f"x-ratelimit-remaining-{what}"] = str(window.remaining(now_s))
    headers[f"x-ratelimit-reset-{what}"] = go_duration(window.reset_s(now_s))
