"""Gemini below its OpenAI-compatible paths: no headers about limits, errors as a JSON array.

A wait stands in the body only, as RetryInfo. A daily refusal names the day in its quotaId, and a wait that
does not reach to the end of the day: 27 vain calls were recorded of a client that believed it. Days end at
midnight in California, here without its summer time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import json

from batchproc.simulator.answers import ENDPOINTS
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.dialects.openai import OpenAI, Told
from batchproc.simulator.limits import Dimension, LimitSpec, Refusal
from batchproc.simulator.windows import DAY_S, MINUTE_S

_BASE = "/v1beta/openai"
_PACIFIC_S = 8 * 3600.0  # how far California's winter clocks are behind UTC
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/google.rpc."
_EXCEEDED = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, head over to: https://ai.google.dev/gemini-api/docs/rate-limits. \n"
    "* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}\nPlease retry in {wait}."
)
_REQUESTS = ("generate_content_free_tier_requests", "GenerateRequestsPer{}PerProjectPerModel-FreeTier")
_TOKENS = ("generate_content_free_tier_input_token_count", "GenerateContentInputTokensPerModelPer{}-FreeTier")


def _error(status: int, message: str, details: list[dict[str, Any]] | None = None) -> bytes:
    error: dict[str, Any] = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    if details:
        error["details"] = details
    return json.encode([{"error": error}])


_ENDPOINTS: Mapping[str, Endpoint] = {
    f"{_BASE}/chat/completions": ENDPOINTS["/v1/chat/completions"],
    f"{_BASE}/embeddings": ENDPOINTS["/v1/embeddings"],
}


class Gemini(OpenAI):
    """Google's Gemini API, the part that is compatible with OpenAI's."""

    base = _BASE
    root = "/v1beta/"
    charge = "prompt"
    endpoints = _ENDPOINTS
    models_path = f"{_BASE}/models"

    def dimensions(self, spec: LimitSpec) -> list[Dimension]:
        """Days that end at midnight in California."""
        midnight_s = -((self.started_s - _PACIFIC_S) % DAY_S)
        return [replace(d, kind="fixed", phase_s=midnight_s) if d.window_s == DAY_S else d for d in spec.dimensions()]

    def greeting(self, digest: str) -> dict[str, str]:
        """The type alone."""
        return {"content-type": "application/json; charset=UTF-8"}

    def add_origin(self, decision: Decision) -> None:
        """Nothing."""

    def add_limits(self, headers: dict[str, str], limits: object, now_s: float) -> None:
        """Nothing: limits are not told."""

    def add_wait(self, headers: dict[str, str], wait_s: float) -> None:
        """Nothing: the wait is in the body."""

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """An array of one error."""
        return _error(500 if status == 200 else status, told.message)

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """400 API_KEY_INVALID, which elsewhere is a 401."""
        if call.authorization == f"Bearer {key}" and key:
            return None
        info = {
            "@type": f"{_TYPE}ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }
        return 400, _error(400, "API key not valid. Please pass a valid API key.", [info])

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """404 NOT_FOUND."""
        words = f"models/{model} is not found for API version v1main, or is not supported for generateContent."
        return 404, _error(404, words)

    def busy(self, decision: Decision, places: int) -> Words:
        """503 UNAVAILABLE."""
        return 503, _error(503, "The model is overloaded. Please try again later.")

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """402: prepaid money is used up."""
        return 402, _error(402, "Your prepay credits are depleted. Please add credits to continue.")

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 with the violated quota and how long to wait, both in its details."""
        daily = refusal.dimension.endswith("d")
        metric, quota = _REQUESTS if refusal.dimension[0] == "r" else _TOKENS
        metric = f"generativelanguage.googleapis.com/{metric}"
        # Of a day's wait the seconds to the next minute are told; of the impossible, a minute.
        wait_s = MINUTE_S if refusal.too_large else refusal.wait_s
        wait_s = wait_s % MINUTE_S or MINUTE_S if daily else wait_s
        wait = f"{math.ceil(wait_s * 10 - 1e-6) / 10:g}s"
        violation = {
            "quotaMetric": metric,
            "quotaId": quota.format("Day" if daily else "Minute"),
            "quotaDimensions": {"location": "global", "model": model},
            "quotaValue": str(refusal.limit),
        }
        details: list[dict[str, Any]] = [
            {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]},
            {"@type": f"{_TYPE}RetryInfo", "retryDelay": wait},
        ]
        words = _EXCEEDED.format(metric=metric, limit=refusal.limit, model=model, wait=wait)
        return 429, _error(429, words, details)

    def own_fault(self, decision: Decision, fault: str, now_s: float) -> Words | None:
        """500 in Google's words."""
        words = "An internal error has occurred. Please retry or report in https://developers.generativeai.google"
        if fault == "503":
            return self.busy(decision, 1)
        return (500, _error(500, words)) if fault == "500" else None
