"""The simulated provider as a pure function: the time, a request and all that came before in, an answer out.

In this order a request meets the key, the path, its own shape, the model's name, the slots and their queue,
the money, the limits, the context length and the faults. From the limits on it is charged, whatever becomes
of it: "unsuccessful requests contribute to your per-minute limit" (OpenAI, rate limits guide), and a 400 was
recorded as charged. How all this looks is the dialect's.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

import msgspec

from batchproc.simulator.answers import digest_of
from batchproc.simulator.asked import Asked, Malformed
from batchproc.simulator.charge import SETTLED_MODES, charge_tokens, settle_amounts
from batchproc.simulator.decision import Decision, end
from batchproc.simulator.dialect import Call
from batchproc.simulator.dialects import load
from batchproc.simulator.faults import Faults, parse_faults, uniform
from batchproc.simulator.latency import parse_latency
from batchproc.simulator.limits import Amounts, ModelLimits
from batchproc.simulator.settings import SimulatorSettings
from batchproc.simulator.slots import Slots

_SLOW = 20  # times the latency of a `slow` answer
_SHOWN_MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")
_NEW_YEAR_2026_S = 1_767_225_600.0  # the date of virtual time


class Provider:
    """State of the simulated provider: windows by model, requests seen, requests admitted, slots in use.

    `started_s` is the date at which its clock shows 0, in seconds since 1970: some headers tell dates.
    """

    def __init__(self, settings: SimulatorSettings, started_s: float = _NEW_YEAR_2026_S) -> None:
        self.settings = settings
        self.dialect = load(settings.dialect, started_s)
        self._limits: dict[str, ModelLimits] = {}
        self._latency = parse_latency(settings.latency)
        self._constant = self._latency.constant
        self._faults = Faults(parse_faults(settings.faults))
        # Counting every body costs memory, so only where an answer or the ledger depends on it.
        self._counts = self._faults.any or settings.ledger is not None
        self._seen: dict[str, int] = {}
        self._guarded = settings.key is not None or self.dialect.guarded
        self._slots = None if settings.slots is None else Slots(settings.slots, settings.queue or 0)
        self._postpaid = settings.charge == "postpaid"
        apart = settings.itpm is not None or settings.otpm is not None
        self._settles = apart or settings.charge in SETTLED_MODES
        self._ends: list[tuple[float, int, float, ModelLimits, Amounts]] = []  # a heap of answers that go on
        self.admitted = 0

    def decide(
        self,
        now_s: float,
        path: str,
        body: bytes,
        *,
        method: str = "POST",
        authorization: str | None = None,
        in_flight: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Decision:
        """Decide about a request that arrives at `now_s`, which must not go backwards.

        `path` begins with the dialect's root, such as `/v1`; `authorization` is the value of that header,
        `headers` are all of them, found by lower-case names. `in_flight` is how many other requests are being
        answered: whoever knows it says so, and then a server without a queue refuses by that number; else by
        how long its own answers take.
        """
        if self._ends:
            self.settle(now_s)
        dialect = self.dialect
        digest = digest_of(self.settings.seed, path, body)
        decision = Decision(200, dialect.greeting(digest), b"", digest=digest, path=path)
        if self._guarded and self._stopped(decision, Call(method, path, query, headers, authorization, len(body))):
            return decision
        endpoint = dialect.endpoints.get(path) or dialect.route(path)
        if endpoint is None:
            return self._other(decision, method, path)
        if method != "POST":
            return end(decision, *dialect.wrong_method(decision, method))
        read, make = endpoint
        try:
            asked = read(body)
        except Malformed as bad:
            return end(decision, *dialect.malformed(decision, bad.message, bad.code, bad.param))
        except msgspec.MsgspecError as bad:
            return end(decision, *dialect.malformed(decision, f"Could not use the JSON body: {bad}", None, None))
        decision.model = asked.model
        # Only an actual charge must know the answer before the request is admitted.
        made = make(asked, digest) if self.settings.charge == "actual" else None
        if self._turned_away(decision, now_s, asked, 0 if made is None else made[1], in_flight):
            return decision
        decision.body, decision.usage = make(asked, digest) if made is None else made
        self._befall(decision, now_s, asked, in_flight)
        if self._settles:
            self._settle_later(decision, now_s, asked)
        if self.settings.pretty and decision.usage:
            blank = decision.body[: len(decision.body) - len(decision.body.lstrip())]
            decision.body = blank + msgspec.json.format(decision.body, indent=2)
        if dialect.finishes:
            dialect.finish(decision, asked)
        return decision

    def settle(self, now_s: float) -> None:
        """Charge what the answers that have ended by `now_s` really used."""
        ends = self._ends
        while ends and ends[0][0] <= now_s:
            ended_s, _, taken_s, limits, amounts = heappop(ends)
            limits.settle(ended_s, taken_s, amounts)

    def limits_of(self, model: str) -> ModelLimits:
        """The windows of a model; every model has its own."""
        limits = self._limits.get(model)
        if limits is None:
            spec = self.settings.limit_spec_of(model)
            limits = self._limits[model] = ModelLimits(spec, self.dialect.dimensions(spec))
        return limits

    def _stopped(self, decision: Decision, call: Call) -> bool:
        """Whether the envelope alone turns the request away: a wrong key, a header that is missing."""
        key = self.settings.key
        words = None if key is None else self.dialect.wrong_key(call, key, decision)
        if words is not None:
            decision.refused = "key"
        elif self.dialect.guarded:
            words = self.dialect.objection(call, decision)
        if words is None:
            return False
        end(decision, *words)
        return True

    def _other(self, decision: Decision, method: str, path: str) -> Decision:
        if path == self.dialect.models_path:
            if method != "GET":
                return end(decision, *self.dialect.wrong_method(decision, method))
            return end(decision, 200, self.dialect.models(self.settings.models or _SHOWN_MODELS))
        return end(decision, *self.dialect.no_such_path(decision, method))

    def _crowded(self, now_s: float, in_flight: int | None) -> bool:
        """Whether there is neither a slot nor a place to wait, where slots are counted."""
        if in_flight is not None and not self.settings.queue:
            return in_flight >= (self.settings.slots or 0)
        return self._slots is not None and self._slots.full(now_s)

    def _turned_away(self, decision: Decision, now_s: float, asked: Asked, used: int, in_flight: int | None) -> bool:
        """Whether the request is refused before it is worked on; the decision then says how."""
        settings, dialect = self.settings, self.dialect
        if settings.models and asked.model not in settings.models:
            end(decision, *dialect.unknown_model(decision, asked.model))
            return True
        if self._slots is not None and self._crowded(now_s, in_flight):
            decision.refused = "slots"
            end(decision, *dialect.busy(decision, (settings.slots or 0) + (settings.queue or 0)))
            return True
        if settings.quota_after is not None and self.admitted >= settings.quota_after:
            decision.refused = "quota"
            end(decision, *dialect.no_money(decision, now_s))
            return True
        limits = self.limits_of(asked.model)
        tokens = charge_tokens(settings.charge, asked, used)
        taken = needed = (1, tokens, asked.estimate, 0)
        if self._settles:  # what is charged at the end is let in while there is room for a token at all
            needed = (1, 1 if self._postpaid else tokens, asked.estimate, 1)
        refusal = limits.admit_amounts(now_s, needed, taken)
        dialect.add_origin(decision)
        if settings.headers:
            dialect.add_limits(decision.headers, limits, now_s)
        if refusal is None:
            self.admitted += 1
            decision.admitted = True
            decision.charged = tokens
            return False
        decision.refused = refusal.dimension
        if settings.headers:
            dialect.add_refusal(decision.headers, refusal, limits, now_s)
        if settings.retry_after and not refusal.too_large:
            dialect.add_wait(decision.headers, refusal.wait_s)
        end(decision, *dialect.limited(decision, asked.model, refusal, now_s))
        return True

    def _befall(self, decision: Decision, now_s: float, asked: Asked, in_flight: int | None) -> None:
        """Give an admitted request its latency, its place in the queue, and its fault if one strikes."""
        if self._counts:
            decision.attempt = self._seen.get(decision.digest, 0)
            self._seen[decision.digest] = decision.attempt + 1
        drawn = 0.0 if self._constant else uniform(decision.digest, "latency", decision.attempt)
        decision.latency_s = self._latency.draw_s(drawn)
        length = self.settings.context_length
        if length is not None and asked.prompt_tokens > length:
            end(decision, *self.dialect.too_long(decision, length, asked.prompt_tokens))
        elif self._faults.any:
            decision.fault = self._faults.strike(decision.digest, decision.attempt)
        if decision.fault == "slow":
            decision.latency_s *= _SLOW
        if self._slots is not None and (self.settings.queue or in_flight is None):
            decision.waited_s = self._slots.take(now_s, decision.latency_s)
            decision.latency_s += decision.waited_s
        self.dialect.add_latency(decision.headers, decision.latency_s)
        if decision.fault is not None and decision.fault != "slow":
            self._spoil(decision, decision.fault, asked, now_s)

    def _spoil(self, decision: Decision, fault: str, asked: Asked, now_s: float) -> None:
        spoiled = self.dialect.spoil(decision, fault, asked, self.settings.rpm, now_s)
        if spoiled.true:
            decision.body = spoiled.body
        elif spoiled.wire is None:
            end(decision, spoiled.status, spoiled.body)
        decision.wire = spoiled.wire
        decision.headers.update(spoiled.headers)
        if not self.settings.retry_after:
            for name in ("retry-after", "retry-after-ms"):
                decision.headers.pop(name, None)

    def _settle_later(self, decision: Decision, now_s: float, asked: Asked) -> None:
        """Note what is to be charged when the answer ends."""
        amounts = settle_amounts(self.settings.charge, asked, decision.usage)
        decision.charged += amounts[1]
        ends_s = now_s + decision.latency_s
        heappush(self._ends, (ends_s, self.admitted, now_s, self.limits_of(asked.model), amounts))
