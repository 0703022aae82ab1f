"""Azure OpenAI: deployments in the path, the key in `api-key`, waits in milliseconds, errors of the gateway.

Errors carry their status as a code in text. Resets are milliseconds until everything charged no longer counts,
by recordings of 2026; documents name no unit. The wording of a 429 is that of published logs: the operation
and the version in it vary. A request above the whole limit is told to wait like any other: nobody has
published anything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qs, unquote

from msgspec import json

from batchproc.simulator import refusals
from batchproc.simulator.answers import ENDPOINTS, chat, completion, embedding
from batchproc.simulator.asked import read_chat, read_completion, read_embedding
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.dialects.openai import OpenAI, Told
from batchproc.simulator.limits import ModelLimits, Refusal
from batchproc.simulator.windows import MINUTE_S, Window

_CLASSIC = "/openai/deployments/"
_V1 = "/openai/v1"
_REGION = "East US 2"
_OPERATIONS = {
    "chat/completions": (read_chat, chat, "Creates a completion for the chat message"),
    "completions": (read_completion, completion, "Creates a completion for the provided prompt, parameters"),
    "embeddings": (read_embedding, embedding, "Get a vector representation of a given input"),
}
_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)
_NO_DEPLOYMENT = (
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
    "please wait a moment and try again."
)
_FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry. To learn more about our content filtering policies please read our documentation: "
    "https://go.microsoft.com/fwlink/?linkid=2198766"
)
_FILTER_RESULT = {
    "hate": {"filtered": True, "severity": "high"},
    "jailbreak": {"detected": False, "filtered": False},
    "self_harm": {"filtered": False, "severity": "safe"},
    "sexual": {"filtered": False, "severity": "safe"},
    "violence": {"filtered": False, "severity": "safe"},
}


def _classic(path: str) -> tuple[str, str] | None:
    """The deployment and the operation of a classic path."""
    if not path.startswith(_CLASSIC):
        return None
    deployment, _, operation = path.removeprefix(_CLASSIC).partition("/")
    return (unquote(deployment), operation) if deployment else None


def _error(code: str, message: str) -> bytes:
    return json.encode({"error": {"code": code, "message": message}})


_ENDPOINTS: Mapping[str, Endpoint] = {f"/openai{path}": endpoint for path, endpoint in ENDPOINTS.items()}


class Azure(OpenAI):
    """Azure's classic paths, by deployment, and its v1 paths, by model."""

    base = ""
    root = "/openai/"
    window = "azure"
    charge = "azure"
    endpoints = _ENDPOINTS
    models_path = f"{_V1}/models"
    guarded = True

    def route(self, path: str) -> Endpoint | None:
        """The deployments: any name, three operations."""
        found = _classic(path)
        if found is None or found[1] not in _OPERATIONS:
            return None
        read, make, _ = _OPERATIONS[found[1]]
        return partial(read, model=found[0]), make

    def greeting(self, digest: str) -> dict[str, str]:
        """Ids in two headers, and the region."""
        gateway = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
        return {**super().greeting(digest), "apim-request-id": gateway, "x-ms-region": _REGION}

    def add_origin(self, decision: Decision) -> None:
        """The deployment, and that no other has helped out."""
        decision.headers["x-ms-deployment-name"] = decision.model or ""
        decision.headers["x-ms-is-spilled-over"] = "false"

    def add_limits(self, headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
        """Limit, what remains, the period in seconds and the reset in milliseconds."""
        for what, window in (("requests", limits.shown_requests), ("tokens", limits.shown_tokens)):
            if window is not None:
                self._add(headers, what, window, now_s)
        headers["x-ratelimit-abusepenalty-active"] = "False"

    def _add(self, headers: dict[str, str], what: str, window: Window, now_s: float) -> None:
        headers[f"x-ratelimit-limit-{what}"] = str(window.limit)
        headers[f"x-ratelimit-remaining-{what}"] = str(window.remaining(now_s))
        headers[f"x-ratelimit-renewalperiod-{what}"] = str(int(window.window_s))
        headers[f"x-ratelimit-reset-{what}"] = str(math.floor(window.reset_s(now_s) * 1000 + 1e-6))

    def add_wait(self, headers: dict[str, str], wait_s: float) -> None:
        """Both in milliseconds and in seconds."""
        headers["retry-after-ms"] = str(max(1, math.ceil(wait_s * 1000 - 1e-6)))
        super().add_wait(headers, wait_s)

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """The gateway's shape; behind it errors have that of OpenAI."""
        if status in (400, 404) and told.code is not None:
            return super().shape(decision, status, told)
        return _error("500" if status == 200 else str(status), told.message)

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401, unless the key is in api-key, or a token of Entra in its place."""
        given = (call.headers or {}).get("api-key")
        if key in (given, (call.authorization or "").removeprefix("Bearer ")) and key:
            return None
        return 401, _error("401", _DENIED)

    def objection(self, call: Call, decision: Decision) -> Words | None:
        """Classic paths need an api-version."""
        if _classic(call.path) is None or call.headers is None or parse_qs(call.query).get("api-version"):
            return None
        return 404, _error("404", "Resource not found")

    def no_such_path(self, decision: Decision, method: str) -> Words:
        """404 of the gateway."""
        return 404, _error("404", "Resource not found")

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """404 DeploymentNotFound."""
        return 404, _error("DeploymentNotFound", _NO_DEPLOYMENT)

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """429 insufficient_quota, in OpenAI's shape."""
        return 429, refusals.insufficient_quota()

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 with a code in text and the wait in words."""
        found = _classic(decision.path) or ("", decision.path.removeprefix(f"{_V1}/"))
        operation = _OPERATIONS[found[1]][2] if found[1] in _OPERATIONS else "Creates a model response"
        what = "call" if refusal.dimension[0] == "r" else "token"
        wait = refusals.retry_after(MINUTE_S if refusal.too_large else refusal.wait_s)
        message = (
            f"Requests to the {operation} Operation under Azure OpenAI API version 2024-10-21 have exceeded {what} "
            f"rate limit of your current OpenAI S0 pricing tier. Please retry after {wait} second"
            f"{'' if wait == '1' else 's'}. Please go here: https://aka.ms/oai/quotaincrease if you would like to "
            "further increase the default rate limit."
        )
        return 429, _error("429", message)

    def own_fault(self, decision: Decision, fault: str, now_s: float) -> Words | None:
        """The content filter, with its verdicts."""
        if fault != "filter":
            return None
        error = {
            "message": _FILTERED,
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _FILTER_RESULT},
        }
        return 400, json.encode({"error": error})
