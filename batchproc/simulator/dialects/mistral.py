"""Mistral: requests per ten seconds, tokens of the minute and the month, charged when the answer ends.

Recorded in 2025: what remains is the limit less what answers really used, and a header tells the cost of this
one. Errors are flat. No header tells when anything is reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from msgspec import json

from batchproc.simulator.answers import ENDPOINTS, plain_usage, with_usage
from batchproc.simulator.asked import Asked
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.dialects.openai import JSON, OpenAI, Told
from batchproc.simulator.limits import TOKENS, Dimension, LimitSpec, ModelLimits, Refusal
from batchproc.simulator.windows import DAY_S, MINUTE_S

_MONTH_S = 30 * DAY_S
_TOKENS_A_MONTH = 10_000_000_000  # as recorded
_REMAINING = ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-remaining-tokens-month")
_SHOWN = {"rpm": "req-10-second", "tpm": "tokens-minute", "tokens_month": "tokens-month"}


def _error(message: object, kind: str, code: str | None, param: str | None = None) -> bytes:
    return json.encode({"object": "error", "message": message, "type": kind, "param": param, "code": code})


_ENDPOINTS: Mapping[str, Endpoint] = {
    path: (read, with_usage(make, plain_usage))
    for path, (read, make) in ENDPOINTS.items()
    if path in ("/v1/chat/completions", "/v1/embeddings")
}


class Mistral(OpenAI):
    """La Plateforme."""

    window = "fixed"
    charge = "postpaid"
    endpoints = _ENDPOINTS
    finishes = True

    def dimensions(self, spec: LimitSpec) -> list[Dimension]:
        """Requests of a minute as a sixth of them in ten seconds; and a month's tokens."""
        found = [
            replace(d, limit=max(1, d.limit // 6), window_s=MINUTE_S / 6) if d.name == "rpm" else d
            for d in spec.dimensions()
        ]
        return [*found, Dimension("tokens_month", TOKENS, _TOKENS_A_MONTH, _MONTH_S, "fixed")]

    def greeting(self, digest: str) -> dict[str, str]:
        """The type and the id that correlates."""
        return {"content-type": JSON, "mistral-correlation-id": digest[32:]}

    def add_origin(self, decision: Decision) -> None:
        """Nothing."""

    def add_limits(self, headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
        """Limit and what remains of each."""
        for name, shown in _SHOWN.items():
            if name in limits.windows:
                window = limits.windows[name]
                headers[f"x-ratelimit-limit-{shown}"] = str(window.limit)
                headers[f"x-ratelimit-remaining-{shown}"] = str(window.remaining(now_s))

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def finish(self, decision: Decision, asked: Asked) -> None:
        """Tell the cost of an answer, and take it off what remains: headers are written when it is known."""
        if not decision.usage:
            return
        for name in _REMAINING:
            if name in decision.headers:
                decision.headers[name] = str(max(0, int(decision.headers[name]) - decision.usage))
                decision.headers["x-ratelimit-tokens-query-cost"] = str(decision.usage)

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """Flat."""
        return _error(told.message, told.type or "internal_server_error", told.code, told.param)

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401 without a word about the key."""
        if call.authorization == f"Bearer {key}":
            return None
        return 401, _error("Unauthorized", "unauthorized", None)

    def malformed(self, decision: Decision, message: str, code: str | None, param: str | None) -> Words:
        """422 with the place of what is wrong."""
        detail = {"type": code or "value_error", "loc": ["body", *([param] if param else [])], "msg": message}
        return 422, _error({"detail": [detail]}, "invalid_request_error", None)

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """400 invalid_model."""
        return 400, _error(f"Invalid model: {model}", "invalid_model", "1500")

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """402."""
        return 402, _error("You have reached your workspace spending limit.", "payment_required", None)

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 without numbers."""
        what = "Requests rate" if refusal.dimension[0] == "r" else "Rate"
        return 429, _error(f"{what} limit exceeded", "rate_limited", "1300")
