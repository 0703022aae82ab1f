"""OpenAI: the dialect that most others are variations of."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from batchproc.simulator import answers, outcomes, refusals
from batchproc.simulator.asked import Asked
from batchproc.simulator.decision import Decision
from batchproc.simulator.dialect import Call, Endpoint, Words
from batchproc.simulator.limits import Dimension, LimitSpec, ModelLimits, Refusal
from batchproc.simulator.outcomes import Spoiled

JSON = "application/json"


class Told(Struct, gc=False):
    """An error in OpenAI's shape, taken apart."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None


class _Error(Struct, gc=False):
    error: Told


_read_error = msgspec.json.Decoder(_Error).decode


class OpenAI:
    """OpenAI's own words.

    A dialect derived from this one overrides what differs. Where it only has another shape for errors, `shape`
    is enough: all words below pass through `put`, which hands them to it.
    """

    base = "/v1"
    root = "/v1"
    window = "bucket"
    charge = "documented"
    slots: int | None = None
    queue = 0
    endpoints: Mapping[str, Endpoint] = answers.ENDPOINTS
    models_path = "/v1/models"
    guarded = False
    finishes = False

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s

    def route(self, path: str) -> Endpoint | None:
        """None: all paths are in the table."""
        return None

    def dimensions(self, spec: LimitSpec) -> list[Dimension]:
        """The limits as they are set."""
        return spec.dimensions()

    # Headers.

    def greeting(self, digest: str) -> dict[str, str]:
        """The type and x-request-id."""
        return {"content-type": JSON, "x-request-id": answers.request_id_of(digest)}

    def add_origin(self, decision: Decision) -> None:
        """The organization and the version of the API."""
        decision.headers.update(refusals.ORIGIN)

    def add_limits(self, headers: dict[str, str], limits: ModelLimits, now_s: float) -> None:
        """Add x-ratelimit-…, with durations until the windows are full."""
        refusals.add_limit_headers(headers, limits, now_s)

    def add_refusal(self, headers: dict[str, str], refusal: Refusal, limits: ModelLimits, now_s: float) -> None:
        """Nothing but what every answer has."""

    def add_wait(self, headers: dict[str, str], wait_s: float) -> None:
        """Add Retry-After in whole seconds."""
        headers["retry-after"] = refusals.retry_after(wait_s)

    def add_latency(self, headers: dict[str, str], latency_s: float) -> None:
        """Add openai-processing-ms."""
        headers["openai-processing-ms"] = str(int(latency_s * 1000))

    # Words.

    def shape(self, decision: Decision, status: int, told: Told) -> bytes:
        """The body of an error, in this dialect's shape."""
        return refusals.error_body(told.message, told.type, told.code, told.param)

    def put(self, decision: Decision, status: int, body: bytes) -> Words:
        """Put OpenAI's words into this dialect's shape; nothing is to be done where that is the same."""
        if type(self).shape is OpenAI.shape:
            return status, body
        return status, self.shape(decision, status, _read_error(body).error)

    def wrong_key(self, call: Call, key: str, decision: Decision) -> Words | None:
        """401, unless the Authorization header is `Bearer` and the key."""
        if call.authorization == f"Bearer {key}":
            return None
        given = (call.authorization or "").removeprefix("Bearer").strip()
        return self.put(decision, 401, refusals.invalid_key(given) if given else refusals.no_key())

    def objection(self, call: Call, decision: Decision) -> Words | None:
        """None."""
        return None

    def no_such_path(self, decision: Decision, method: str) -> Words:
        """404."""
        return self.put(decision, 404, refusals.no_such_url(method, decision.path))

    def wrong_method(self, decision: Decision, method: str) -> Words:
        """405."""
        return self.put(decision, 405, refusals.wrong_method(method))

    def malformed(self, decision: Decision, message: str, code: str | None, param: str | None) -> Words:
        """400."""
        return self.put(decision, 400, refusals.error_body(message, "invalid_request_error", code, param))

    def unknown_model(self, decision: Decision, model: str) -> Words:
        """404, or 400 from /responses."""
        return self.put(decision, *refusals.model_not_found(decision.path, model))

    def busy(self, decision: Decision, places: int) -> Words:
        """503."""
        return self.put(decision, 503, refusals.overloaded())

    def no_money(self, decision: Decision, now_s: float) -> Words:
        """429 insufficient_quota."""
        return self.put(decision, 429, refusals.insufficient_quota())

    def limited(self, decision: Decision, model: str, refusal: Refusal, now_s: float) -> Words:
        """429 with the limit's numbers."""
        return self.put(decision, 429, refusals.rate_limited(model, refusal))

    def too_long(self, decision: Decision, length: int, tokens: int) -> Words:
        """400 context_length_exceeded."""
        return self.put(decision, 400, refusals.context_length_exceeded(length, tokens))

    # Faults.

    def own_fault(self, decision: Decision, fault: str, now_s: float) -> Words | None:
        """A fault this dialect has its own words for; None for all others."""
        return None

    def spoil(self, decision: Decision, fault: str, asked: Asked, rpm: int | None, now_s: float) -> Spoiled:
        """A fault in OpenAI's words and this dialect's shape, unless it has its own words for it."""
        spoiled = outcomes.spoil(fault, asked, decision.body, rpm)
        if type(self) is OpenAI:
            return spoiled
        words = self._fault(decision, fault, asked, rpm, now_s)
        if words is None:
            if fault not in outcomes.WORDED:
                return spoiled
            words = self.put(decision, spoiled.status, spoiled.body)
        headers = dict(spoiled.headers)
        if headers.pop("retry-after", None):
            self.add_wait(headers, 1.0)
        return Spoiled(*words, headers)

    def _fault(self, decision: Decision, fault: str, asked: Asked, rpm: int | None, now_s: float) -> Words | None:
        own = self.own_fault(decision, fault, now_s)
        if own is not None:
            return own
        if fault == "429" and rpm is not None:  # with no limit to name, the words of OpenAI's that names none
            return self.limited(decision, asked.model, Refusal("rpm", rpm, rpm, 1, 1.0), now_s)
        if fault == "quota":
            return self.no_money(decision, now_s)
        if fault == "401":
            call = Call("POST", decision.path, "", {}, "Bearer sk-revoked-key", 0)
            return self.wrong_key(call, "", decision)
        if fault == "context":
            longer = max(8192, asked.prompt_tokens - 893)
            return self.too_long(decision, longer, longer + 893)
        return None

    def finish(self, decision: Decision, asked: Asked) -> None:
        """Leave the answer as it is."""

    def models(self, names: tuple[str, ...]) -> bytes:
        """A list of models."""
        return answers.models(names)
