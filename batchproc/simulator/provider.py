"""The simulated provider as a pure function: the time, a request and all that came before in, an answer out.

In this order a request meets the key, the path, its own shape, the model's name, the number in flight, the
money, the limits, the context length and the faults. From the limits on it is charged, whatever becomes of
it: "unsuccessful requests contribute to your per-minute limit" (OpenAI, rate limits guide), and a 400 was
recorded as charged.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from batchproc.simulator import refusals
from batchproc.simulator.answers import ENDPOINTS, digest_of, models, request_id_of
from batchproc.simulator.asked import Asked, Malformed
from batchproc.simulator.charge import charge_tokens
from batchproc.simulator.faults import Faults, parse_faults, uniform
from batchproc.simulator.latency import parse_latency
from batchproc.simulator.limits import ModelLimits
from batchproc.simulator.outcomes import spoil
from batchproc.simulator.settings import SimulatorSettings

JSON = "application/json"
_SLOW = 20  # times the latency of a `slow` answer
_SHOWN_MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


class Decision(Struct, gc=False):
    """What becomes of a request. `headers` have lower-case names; `latency_s` passes before anything is sent.

    `wire` says how the sending itself goes wrong: `reset`, `cut`, `hang` or `drip`; None is a whole answer.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    latency_s: float = 0.0
    wire: str | None = None
    digest: str = ""
    path: str = ""
    model: str | None = None
    admitted: bool = False
    charged: int = 0  # tokens charged to the limits
    refused: str | None = None  # the limit that refused: rpm, tpm, rpd, tpd, or `quota`, `slots`, `key`
    fault: str | None = None
    attempt: int = 0  # how often this request came before
    usage: int = 0  # total tokens a real answer reports, 0 for anything else


class Provider:
    """State of the simulated provider: windows by model, requests seen, requests admitted."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self._limits: dict[str, ModelLimits] = {}
        self._latency = parse_latency(settings.latency)
        self._constant = self._latency.constant
        self._faults = Faults(parse_faults(settings.faults))
        # Counting every body costs memory, so only where an answer or the ledger depends on it.
        self._counts = self._faults.any or settings.ledger is not None
        self._seen: dict[str, int] = {}
        self._authorization = None if settings.key is None else f"Bearer {settings.key}"
        self.admitted = 0

    def decide(
        self,
        now_s: float,
        path: str,
        body: bytes,
        *,
        method: str = "POST",
        authorization: str | None = None,
        in_flight: int = 0,
    ) -> Decision:
        """Decide about a request that arrives at `now_s` while `in_flight` others are being answered.

        `path` begins with `/v1`; `authorization` is the value of that header.
        """
        digest = digest_of(self.settings.seed, path, body)
        decision = Decision(200, {"content-type": JSON}, b"", digest=digest, path=path)
        decision.headers["x-request-id"] = request_id_of(digest)
        if self._authorization is not None and authorization != self._authorization:
            decision.refused = "key"
            key = (authorization or "").removeprefix("Bearer").strip()
            return _end(decision, 401, refusals.invalid_key(key) if key else refusals.no_key())
        endpoint = ENDPOINTS.get(path)
        if endpoint is None:
            return self._other(decision, method, path)
        if method != "POST":
            return _end(decision, 405, refusals.wrong_method(method))
        read, make = endpoint
        try:
            asked = read(body)
        except Malformed as bad:
            text = refusals.error_body(bad.message, "invalid_request_error", bad.code, bad.param)
            return _end(decision, 400, text)
        except msgspec.MsgspecError as bad:
            text = refusals.error_body(f"Could not use the JSON body: {bad}", "invalid_request_error", None)
            return _end(decision, 400, text)
        decision.model = asked.model
        # Only an actual charge must know the answer before the request is admitted.
        made = make(asked, digest) if self.settings.charge == "actual" else None
        if self._turned_away(decision, now_s, asked, 0 if made is None else made[1], in_flight):
            return decision
        decision.body, decision.usage = make(asked, digest) if made is None else made
        self._befall(decision, asked)
        if self.settings.pretty and decision.usage:
            decision.body = msgspec.json.format(decision.body, indent=2)
        return decision

    def _other(self, decision: Decision, method: str, path: str) -> Decision:
        if path == "/v1/models":
            if method != "GET":
                return _end(decision, 405, refusals.wrong_method(method))
            return _end(decision, 200, models(self.settings.models or _SHOWN_MODELS))
        return _end(decision, 404, refusals.no_such_url(method, path))

    def limits_of(self, model: str) -> ModelLimits:
        """The windows of a model; every model has its own."""
        limits = self._limits.get(model)
        if limits is None:
            limits = self._limits[model] = ModelLimits(self.settings.limit_spec_of(model))
        return limits

    def _turned_away(self, decision: Decision, now_s: float, asked: Asked, used: int, in_flight: int) -> bool:
        """Whether the request is refused before it is worked on; the decision then says how."""
        settings = self.settings
        if settings.models and asked.model not in settings.models:
            _end(decision, *refusals.model_not_found(decision.path, asked.model))
            return True
        if settings.slots is not None and in_flight >= settings.slots:
            decision.refused = "slots"
            _end(decision, 503, refusals.overloaded())
            return True
        if settings.quota_after is not None and self.admitted >= settings.quota_after:
            decision.refused = "quota"
            _end(decision, 429, refusals.insufficient_quota())
            return True
        limits = self.limits_of(asked.model)
        tokens = charge_tokens(settings.charge, asked, used)
        refusal = limits.admit(now_s, tokens)
        decision.headers.update(refusals.ORIGIN)
        if settings.headers:
            refusals.add_limit_headers(decision.headers, limits, now_s)
        if refusal is None:
            self.admitted += 1
            decision.admitted = True
            decision.charged = tokens
            return False
        decision.refused = refusal.dimension
        if settings.retry_after and not refusal.too_large:
            decision.headers["retry-after"] = refusals.retry_after(refusal.wait_s)
        _end(decision, 429, refusals.rate_limited(asked.model, refusal))
        return True

    def _befall(self, decision: Decision, asked: Asked) -> None:
        """Give an admitted request its latency, and its fault if one strikes."""
        if self._counts:
            decision.attempt = self._seen.get(decision.digest, 0)
            self._seen[decision.digest] = decision.attempt + 1
        drawn = 0.0 if self._constant else uniform(decision.digest, "latency", decision.attempt)
        decision.latency_s = self._latency.draw_s(drawn)
        length = self.settings.context_length
        if length is not None and asked.prompt_tokens > length:
            _end(decision, 400, refusals.context_length_exceeded(length, asked.prompt_tokens))
        elif self._faults.any:
            decision.fault = self._faults.strike(decision.digest, decision.attempt)
        if decision.fault == "slow":
            decision.latency_s *= _SLOW
        decision.headers["openai-processing-ms"] = str(int(decision.latency_s * 1000))
        if decision.fault is not None and decision.fault != "slow":
            spoiled = spoil(decision.fault, asked, decision.body, self.settings.rpm)
            if spoiled.wire is None:
                _end(decision, spoiled.status, spoiled.body)
            decision.wire = spoiled.wire
            decision.headers.update(spoiled.headers)
            if not self.settings.retry_after:
                decision.headers.pop("retry-after", None)


def _end(decision: Decision, status: int, body: bytes) -> Decision:
    """Make the decision one that is no real answer."""
    decision.status = status
    decision.body = body
    decision.usage = 0
    return decision
