"""Anthropic: messages, three buckets, dates as resets.

Requests, input tokens and output tokens have limits of their own. Input is estimated at the start and corrected
when the answer ends, output is charged as it really was; the request's max_tokens does not count (Anthropic,
rate limits). A combined limit of tokens is shown where one is set, else the sum of both. What remains of
tokens is rounded to thousands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, json

from batchproc.simulator.answers import echo, request_id_of
from batchproc.simulator.asked import Asked, Malformed, Message, Part, weigh_all
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.dialects.openai import JSON, OpenAI, Told
from batchproc.simulator.limits import ModelLimits, Refusal
from batchproc.simulator.windows import Window

_MOST_BYTES = 32 * 1024 * 1024  # of a message request (Anthropic, errors)
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
_COUNTED = {"r": "requests", "i": "input tokens", "o": "output tokens", "t": "tokens"}
_LIMITED = (
    "This request would exceed your organization's rate limit of {limit:,} {what} per {per} (org: "
    "00000000-0000-4000-8000-000000000000, model: {model}). For details, refer to: "
    "https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce "
    "the prompt length or the maximum tokens requested, or try again later."
)
_SPENT = (
    "You have reached your API usage limits: your organization has crossed its monthly API usage threshold, set "
    "based on your organization's API tier. You will regain access on {date} at 00:00 UTC."
)


class _Messages(Struct, gc=False):
    model: str | None = None
    messages: list[Message] | None = None
    max_tokens: int | None = None
    system: str | list[Part] | None = None
    stream: bool | None = None


_read = json.Decoder(_Messages).decode


def read_messages(body: bytes) -> Asked:
    """Read the body of /v1/messages; the system prompt counts as a message."""
    asked = _read(body)
    for name in ("model", "messages", "max_tokens"):
        if getattr(asked, name) is None:
            raise Malformed(f"{name}: Field required")
    if asked.stream:
        raise Malformed("stream: The simulated provider does not stream.")
    messages = list(asked.messages or ())
    if asked.system is not None:
        messages.insert(0, Message("system", asked.system))
    tokens, text = weigh_all(messages)
    return Asked(asked.model or "", (text,), tokens, tokens - tokens // 16 + 3, asked.max_tokens)


def message(asked: Asked, digest: str) -> tuple[bytes, int]:
    """Answer /v1/messages with one block of text."""
    text = echo(asked.texts[0])
    output, reason = len(text) // 4 + 1, "end_turn"
    if asked.cap is not None and asked.cap < output:
        output, reason = max(asked.cap, 0), "max_tokens"
    body = {
        "id": f"msg_{digest[:24]}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": asked.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output,
            "service_tier": "standard",
        },
    }
    return json.encode(body), asked.prompt_tokens + output


def _shown(remaining: int) -> str:
    return str(math.floor(remaining / 1000 + 0.5) * 1000)


_ENDPOINTS: Mapping[str, Endpoint] = {"/v1/messages": (read_messages, message)}


class Anthropic(OpenAI):
    """The Messages API."""

    charge = "corrected"
    endpoints = _ENDPOINTS
    guarded = True

    def greeting(self, digest: str) -> dict[str, str]:
        """The type and request-id."""
        return {"content-type": JSON, "request-id": request_id_of(digest)}

    def add_origin(self, decision: Decision) -> None:
        """The organization's id."""
        decision.headers["anthropic-organization-id"] = "00000000-0000-4000-8000-000000000000"

    def _date(self, now_s: float) -> str:
        """RFC 3339, whole seconds, UTC."""
        return datetime.fromtimestamp(self.started_s + now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def add_limits(self, headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
        """Limit, what remains and the date when all is there again, for each limit and for tokens together."""
        if limits.shown_requests is not None:
            window = limits.shown_requests
            self._add(headers, "requests", window.limit, str(window.remaining(now_s)), now_s + window.reset_s(now_s))
        split: list[Window] = []
        for what, name in (("input-tokens", "itpm"), ("output-tokens", "otpm")):
            if name in limits.windows:
                window = limits.windows[name]
                split.append(window)
                self._add(headers, what, window.limit, _shown(window.remaining(now_s)), now_s + window.reset_s(now_s))
        whole = [limits.shown_tokens] if limits.shown_tokens is not None else split
        if whole:
            # Recorded: the sum of both, with the earlier of their dates.
            remaining = _shown(sum(window.remaining(now_s) for window in whole))
            reset_s = min(window.reset_s(now_s) for window in whole)
            self._add(headers, "tokens", sum(window.limit for window in whole), remaining, now_s + reset_s)

    def _add(self, headers: dict[str, str], what: str, limit: int, remaining: str, reset_s: float) -> None:
        headers[f"anthropic-ratelimit-{what}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{what}-remaining"] = remaining
        headers[f"anthropic-ratelimit-{what}-reset"] = self._date(reset_s)

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def _error(self, decision: Decision, kind: str, message: str, code: str | None = None) -> bytes:
        error: dict[str, Any] = {"type": kind, "message": message}
        if code is not None:
            error["details"] = {"error_code": code}
        return json.encode({"type": "error", "error": error, "request_id": request_id_of(decision.digest)})

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """An error within an error; its type follows from the status."""
        return self._error(decision, _TYPES.get(status, "api_error"), told.message)

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401, unless the key is in x-api-key."""
        given = (call.headers or {}).get("x-api-key")
        if given == key and key:
            return None
        words = "invalid x-api-key" if given else "x-api-key header is required"
        return 401, self._error(decision, "authentication_error", words)

    def objection(self, call: Call, decision: Decision) -> Words | None:
        """The version must be named, and 32 MB is the most."""
        if call.headers is not None and not call.headers.get("anthropic-version"):
            return 400, self._error(decision, "invalid_request_error", "anthropic-version: header is required")
        if call.length > _MOST_BYTES:
            words = "Request exceeds the maximum allowed number of bytes."
            return 413, self._error(decision, "request_too_large", words)
        return None

    def no_such_path(self, decision: Decision, method: str) -> Words:
        """404."""
        return 404, self._error(decision, "not_found_error", "Not Found")

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """404, naming the model."""
        return 404, self._error(decision, "not_found_error", f"model: {model}")

    def busy(self, decision: Decision, places: int) -> Words:
        """529: overloaded, for all users."""
        return 529, _OVERLOADED

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """429 with a code of its own, and nothing in the headers to wait for."""
        today = datetime.fromtimestamp(self.started_s + now_s, UTC)
        first = today.replace(year=today.year + today.month // 12, month=today.month % 12 + 1, day=1)
        words = _SPENT.format(date=first.strftime("%Y-%m-%d"))
        return 429, self._error(decision, "rate_limit_error", words, "enforced_spend_limit_reached")

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 with the limit, but without what is used of it."""
        per = "day" if refusal.dimension.endswith("d") else "minute"
        what = _COUNTED[refusal.dimension[0]]
        words = _LIMITED.format(limit=refusal.limit, what=what, per=per, model=model)
        return 429, self._error(decision, "rate_limit_error", words)

    def too_long(self, decision: Decision, length: int, tokens: int) -> Words:
        """400 with both numbers."""
        words = f"prompt is too long: {tokens} tokens > {length} maximum"
        return 400, self._error(decision, "invalid_request_error", words)

    def own_fault(self, decision: Decision, fault: str, now_s: float) -> Words | None:
        """Overload is 529, whichever of both is asked for; too large a request is named so."""
        if fault in ("503", "529"):
            return 529, _OVERLOADED
        if fault == "500":
            return 500, self._error(decision, "api_error", "Internal server error")
        if fault == "413":
            words = "Request exceeds the maximum allowed number of bytes."
            return 413, self._error(decision, "request_too_large", words)
        return None
