"""DeepSeek: no rate limits, but a cap of requests in flight; blank lines keep a waiting connection alive.

The cap (`--slots`) is 500 unless another is given, that of the larger model. What waits in the queue gets a
blank line for each second of waiting, before its JSON. Limits of requests or tokens are enforced when they
are set, but not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchproc.simulator import refusals
from batchproc.simulator.answers import ENDPOINTS, with_usage
from batchproc.simulator.asked import Asked
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.dialects.openai import OpenAI
from batchproc.simulator.limits import Refusal

_MOST_LINES = 600  # it hangs up after ten minutes of waiting


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    return {**usage, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": usage["prompt_tokens"]}


_CHAT = (ENDPOINTS["/v1/chat/completions"][0], with_usage(ENDPOINTS["/v1/chat/completions"][1], _usage))
_ENDPOINTS: Mapping[str, Endpoint] = {"/chat/completions": _CHAT, "/v1/chat/completions": _CHAT}


class DeepSeek(OpenAI):
    """The chat of DeepSeek, with and without `/v1`."""

    base = ""
    root = "/"
    charge = "prompt"
    slots = 500
    endpoints = _ENDPOINTS
    models_path = "/models"
    finishes = True

    def add_origin(self, decision: Decision) -> None:
        """Nothing."""

    def add_limits(self, headers: dict[str, str], limits: object, now_s: float) -> None:
        """Nothing: there are none to tell."""

    def add_wait(self, headers: dict[str, str], wait_s: float) -> None:
        """Nothing: no wait is told."""

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def finish(self, decision: Decision, asked: Asked) -> None:
        """Blank lines before what had to wait."""
        if decision.waited_s > 0:
            decision.body = b"\n" * (1 + min(_MOST_LINES, int(decision.waited_s))) + decision.body

    def _error(self, message: str, kind: str) -> bytes:
        return refusals.error_body(message, kind, "invalid_request_error")

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401 with the end of the key."""
        if call.authorization == f"Bearer {key}":
            return None
        given = (call.authorization or "").removeprefix("Bearer").strip()
        shown = f"****{given[-4:] if len(given) > 8 else ''}"
        return 401, self._error(f"Authentication Fails, Your api key: {shown} is invalid", "authentication_error")

    def malformed(self, decision: Decision, message: str, code: str | None, param: str | None) -> Words:
        """422."""
        return 422, self._error(message, "invalid_request_error")

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """400."""
        return 400, self._error("Model Not Exist", "invalid_request_error")

    def busy(self, decision: Decision, places: int) -> Words:
        """429: the only limit there is."""
        words = f"Your current concurrency is {places + 1}, which exceeds your concurrency limit of {places}."
        return 429, refusals.error_body(words, "rate_limit_error", "rate_limit_exceeded")

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """402 Insufficient Balance."""
        return 402, self._error("Insufficient Balance", "unknown_error")

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 without numbers."""
        words = "Rate Limit Reached. Please pace your requests reasonably."
        return 429, refusals.error_body(words, "rate_limit_error", "rate_limit_exceeded")
