"""Groq: request headers tell the day, token headers the minute, and too large a request is a 413.

Durations are written as Go writes binary fractions (`17.399999999s`, recorded). The words of its errors are
those of published logs.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import json

from batchproc.simulator.answers import ENDPOINTS, with_usage
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.dialects.openai import OpenAI, Told
from batchproc.simulator.limits import ModelLimits, Refusal
from batchproc.simulator.refusals import exact_duration

_BASE = "/openai/v1"
_PER = {"m": "minute", "d": "day"}
_UPGRADE = "Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing"
_TIMES = {"queue_time": 0.01, "prompt_time": 0.002, "completion_time": 0.05, "total_time": 0.052}


_ENDPOINTS: Mapping[str, Endpoint] = {
    f"/openai{path}": (read, with_usage(make, lambda usage: {**usage, **_TIMES}))
    for path, (read, make) in ENDPOINTS.items()
}


class Groq(OpenAI):
    """GroqCloud."""

    base = _BASE
    root = "/openai/"
    charge = "prompt"
    endpoints = _ENDPOINTS
    models_path = f"{_BASE}/models"

    def add_origin(self, decision: Decision) -> None:
        """The region."""
        decision.headers["x-groq-region"] = "dls"

    def add_limits(self, headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
        """Requests of the day, tokens of the minute; a limit that is not set is not shown."""
        for what, name in (("requests", "rpd"), ("tokens", "tpm")):
            if name in limits.windows:
                window = limits.windows[name]
                headers[f"x-ratelimit-limit-{what}"] = str(window.limit)
                headers[f"x-ratelimit-remaining-{what}"] = str(window.remaining(now_s))
                headers[f"x-ratelimit-reset-{what}"] = exact_duration(window.reset_s(now_s))

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """OpenAI's shape without `param`, and without a code where there is none."""
        error = {"message": told.message, "type": told.type}
        if told.code is not None:
            error["code"] = told.code
        return json.encode({"error": error})

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429, or 413 for what no waiting mends."""
        what = {"r": "requests", "t": "tokens", "i": "input tokens", "o": "output tokens"}[refusal.dimension[0]]
        where = (
            f"for model `{model}` in organization `org_simulated` service tier `on_demand` on {what} per "
            f"{_PER[refusal.dimension[-1]]} ({refusal.dimension.upper()}): Limit {refusal.limit}"
        )
        kind = "requests" if refusal.dimension[0] == "r" else "tokens"
        if refusal.too_large:
            message = (
                f"Request too large {where}, Requested {refusal.requested}, please reduce your message size and try "
                f"again. {_UPGRADE}"
            )
            return 413, self.shape(decision, 413, Told(message, kind, None, "rate_limit_exceeded"))
        message = (
            f"Rate limit reached {where}, Used {refusal.used}, Requested {refusal.requested}. Please try again in "
            f"{exact_duration(max(0.001, refusal.wait_s))}. {_UPGRADE}"
        )
        return 429, self.shape(decision, 429, Told(message, kind, None, "rate_limit_exceeded"))

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401 without a word about the key."""
        if call.authorization == f"Bearer {key}":
            return None
        told = Told("Invalid API Key", "invalid_request_error", None, "invalid_api_key")
        return 401, self.shape(decision, 401, told)
