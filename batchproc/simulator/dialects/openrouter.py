"""OpenRouter: no headers on success, numbers as codes, errors inside answers of status 200.

A refusal by its own limits tells when they are reset, in milliseconds since 1970, in the headers and again in
the body. Days are those of UTC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import json

from batchproc.simulator import refusals
from batchproc.simulator.answers import ENDPOINTS, with_usage
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.dialects.openai import OpenAI, Told
from batchproc.simulator.limits import Dimension, LimitSpec, ModelLimits, Refusal
from batchproc.simulator.windows import DAY_S

_BASE = "/api/v1"
_KINDS = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "moderation",
    408: "timeout",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
    502: "provider_error",
    503: "provider_unavailable",
    529: "provider_overloaded",
}
_AGAIN = (408, 429, 500, 502, 503, 529)
_PRICE = 1.5e-6  # dollars a token costs here


def _cost(usage: dict[str, Any]) -> dict[str, Any]:
    return {**usage, "cost": round(usage["total_tokens"] * _PRICE, 9)}


def _error(status: int, message: str, wait_s: float | None = None, **metadata: Any) -> bytes:
    availability: dict[str, Any] = {"code": _KINDS.get(status, "error"), "retryable": status in _AGAIN}
    if wait_s is not None:
        availability["retry_after"] = int(refusals.retry_after(wait_s))
    error = {
        "message": message,
        "code": status,
        "metadata": {"error_type": _KINDS.get(status, "error"), "provider_code": None, **metadata},
        "availability": availability,
    }
    return json.encode({"error": error, "user_id": "user_simulated"})


_ENDPOINTS: Mapping[str, Endpoint] = {
    f"/api{path}": (read, with_usage(make, _cost))
    for path, (read, make) in ENDPOINTS.items()
    if path != "/v1/responses"
}


class OpenRouter(OpenAI):
    """openrouter.ai."""

    base = _BASE
    root = "/api/"
    charge = "prompt"
    endpoints = _ENDPOINTS
    models_path = f"{_BASE}/models"

    def dimensions(self, spec: LimitSpec) -> list[Dimension]:
        """Days of UTC."""
        midnight_s = -(self.started_s % DAY_S)
        return [replace(d, kind="fixed", phase_s=midnight_s) if d.window_s == DAY_S else d for d in spec.dimensions()]

    def greeting(self, digest: str) -> dict[str, str]:
        """The type alone."""
        return {"content-type": "application/json"}

    def add_origin(self, decision: Decision) -> None:
        """Nothing."""

    def add_limits(self, headers: dict[str, str], limits: object, now_s: float) -> None:
        """Nothing: only refusals tell."""

    def _told(self, limit: int, wait_s: float, now_s: float) -> dict[str, str]:
        reset_ms = 0 if math.isinf(wait_s) else math.ceil((self.started_s + now_s + wait_s) * 1000 - 1e-3)
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset_ms)}

    def add_refusal(self, headers: dict[str, str], refusal: Refusal, limits: ModelLimits, now_s: float) -> None:
        """The limit, and when there is room again."""
        told = self._told(refusal.limit, refusal.wait_s, now_s)
        headers.update({name.lower(): value for name, value in told.items()})

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """A number as code; an error inside a 200 is the 502 of somebody else."""
        if status == 200:
            return _error(502, "Provider returned error", raw=told.message, provider_name="Simulated")
        return _error(status, told.message)

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401 without a word about the key."""
        if call.authorization == f"Bearer {key}":
            return None
        return 401, _error(401, "User not found." if call.authorization else "No auth credentials found")

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """400."""
        return 400, _error(400, f"{model} is not a valid model ID")

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """402."""
        words = "Insufficient credits. Add more using https://openrouter.ai/settings/credits"
        return 402, _error(402, words)

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 of the platform, its headers repeated in the body."""
        per = "day" if refusal.dimension.endswith("d") else "min"
        told = self._told(refusal.limit, refusal.wait_s, now_s)
        wait_s = None if refusal.too_large else refusal.wait_s
        return 429, _error(429, f"Rate limit exceeded: free-models-per-{per}. ", wait_s, headers=told)
