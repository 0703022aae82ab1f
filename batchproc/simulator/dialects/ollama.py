"""Ollama: a few slots, a bounded queue, and no limits; a full queue is a 503.

One request is worked on at once and 512 wait, unless told otherwise, as with OLLAMA_NUM_PARALLEL and
OLLAMA_MAX_QUEUE. Error codes are null.
"""

from __future__ import annotations

from collections.abc import Mapping

from batchproc.simulator import refusals
from batchproc.simulator.answers import ENDPOINTS, plain_usage, with_usage
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Endpoint, Words
from batchproc.simulator.dialects.openai import JSON, OpenAI, Told

_BUSY = "server busy, please try again.  maximum pending requests exceeded"


_ENDPOINTS: Mapping[str, Endpoint] = {
    path: (read, with_usage(make, plain_usage)) for path, (read, make) in ENDPOINTS.items()
}


class Ollama(OpenAI):
    """Ollama's OpenAI-compatible paths."""

    charge = "prompt"
    slots = 1
    queue = 512
    endpoints = _ENDPOINTS

    def greeting(self, digest: str) -> dict[str, str]:
        """The type alone."""
        return {"content-type": JSON}

    def add_origin(self, decision: Decision) -> None:
        """Nothing."""

    def add_limits(self, headers: dict[str, str], limits: object, now_s: float) -> None:
        """Nothing."""

    def add_wait(self, headers: dict[str, str], wait_s: float) -> None:
        """Nothing."""

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Not told."""

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """OpenAI's shape, its code null."""
        return refusals.error_body(told.message, told.type, None, told.param)

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """404 with what to do about it."""
        return 404, refusals.error_body(f'model "{model}" not found, try pulling it first', "not_found_error", None)

    def busy(self, decision: Decision, places: int) -> Words:
        """503."""
        return 503, refusals.error_body(_BUSY, "api_error", None)

    def own_fault(self, decision: Decision, fault: str, now_s: float) -> Words | None:
        """503 is the full queue."""
        return self.busy(decision, 1) if fault == "503" else None
