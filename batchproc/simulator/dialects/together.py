"""Together: limits measured by the second; above them 429, below them 503.

"60 RPM means 1 RPS": headers tell the second's share. A refusal by a limit is a 429; a server without room
(`--slots`) is a 503, whatever the rate.
"""

from __future__ import annotations

import math

from batchproc.simulator import refusals
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Words
from batchproc.simulator.dialects.openai import OpenAI
from batchproc.simulator.limits import ModelLimits, Refusal


def _a_second(limit: int, window_s: float) -> int:
    return max(1, math.floor(limit / window_s))


class Together(OpenAI):
    """Together's serverless models."""

    window = "quantized"
    charge = "prompt"

    def add_origin(self, decision: Decision) -> None:
        """Nothing."""

    def add_limits(self, headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
        """Share of the second, what remains of it, and whole seconds until it is there again."""
        for prefix, name in (("x-ratelimit", "rpm"), ("x-tokenlimit", "tpm")):
            window = limits.windows.get(name)
            if window is not None:
                share = _a_second(window.limit, window.window_s)
                headers[f"{prefix}-limit"] = str(share)
                headers[f"{prefix}-remaining"] = str(min(share, window.remaining(now_s)))
                headers[f"{prefix}-reset"] = str(math.ceil(window.reset_s(now_s) - 1e-9))

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401 without a word about the key."""
        if call.authorization == f"Bearer {key}":
            return None
        words = "Invalid API key provided. You can find your API key at https://api.together.xyz/settings/api-keys."
        return 401, refusals.error_body(words, "invalid_request_error", "invalid_api_key")

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 model_rate_limit, in the words of published logs."""
        what = "queries" if refusal.dimension[0] == "r" else "tokens"
        per = "day" if refusal.dimension.endswith("d") else "minute"
        message = (
            f"You have reached the rate limit specific to this model {model}. The maximum rate limit for this model is "
            f"{refusal.limit} {what} per {per}. This limit differs from the general rate limits published at Together "
            "AI rate limits documentation (https://docs.together.ai/docs/rate-limits)."
        )
        return 429, refusals.error_body(message, "model_rate_limit", None)

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """402: the spending limit."""
        return 402, refusals.error_body("Credit limit exceeded, please add credits.", "credit_limit", None)

    def too_long(self, decision: Decision, length: int, tokens: int) -> Words:
        """403."""
        message = f"Input validation error: `inputs` tokens must be <= {length}. Given: {tokens} `inputs` tokens."
        return 403, refusals.error_body(message, "invalid_request_error", None)
