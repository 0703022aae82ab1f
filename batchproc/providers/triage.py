"""Which error answer is retried, given up, or ends the run.

What an error says of itself (its code, its type, then its message) goes before its status, because a 429 can mean
«wait a second», «this can never pass», «too much at once» and «there is no money left». Sources: the providers' guides
on rate limits and error codes, OpenAI's and Anthropic's API descriptions, recorded answers.
"""

from __future__ import annotations

import re

from msgspec import Struct

from batchproc.model import Fault, FaultKind, Reply
from batchproc.providers import refusals
from batchproc.providers.errorbody import ErrorBody
from batchproc.providers.headers import reset_s
from batchproc.providers.ietf import standard_wait_s
from batchproc.providers.midnight import PACIFIC, until_midnight_s
from batchproc.providers.presets import COMPATIBLE, Preset
from batchproc.providers.waits import wait_s

_TOO_LARGE = re.compile(r"request too large for", re.IGNORECASE)
_NEVER = re.compile(r"too large to process", re.IGNORECASE)  # llama.cpp says so with a 500
# OpenAI, Groq: «on tokens per min (TPM): Limit 30000, Requested 80715»; 2023: «Limit: 20.000000 / min.»
_LIMIT = re.compile(r"on (?P<what>requests|tokens) per (?P<per>min|day)(?:ute)?\b[^:]*?[:.] Limit:? (?P<limit>\d+)")
# Anthropic: «your organization's rate limit of 30,000 input tokens per minute»
_LIMIT_OF = re.compile(
    r"\bof (?P<limit>\d[\d,]{0,20}) (?P<what>requests|tokens|input tokens|output tokens) per (?P<per>minute|day)\b"
)
_REQUESTED = re.compile(r"Requested:? (\d+)")
_DAILY = re.compile(r"\bper[- ]day\b|\bdaily (?:rate |request |token )?(?:limit|quota)", re.IGNORECASE)
_OVERLOADED_CODES = frozenset({"server_is_overloaded", "overloaded_error", "engine_overloaded"})
_RAMP_CODES = frozenset({"slow_down", "ramp_limit_exceeded"})  # less than the limits, but more than shortly before
# «Your current concurrency is 40, which exceeds your concurrency limit of 39» (DeepSeek), and Anthropic's for a ramp
_CROWDED = re.compile(r"\bconcurren(?:t|cy)\b|\bin[- ]flight\b|usage increase rate", re.IGNORECASE)
_TRIED_AGAIN = frozenset({FaultKind.SERVER, FaultKind.OVERLOADED, FaultKind.RATE_LIMITED})
_RETRIED = frozenset({408, 409, 425, 498})


class _Verdict(Struct, frozen=True):
    """The kind of fault, and what the error tells of the limit."""

    kind: FaultKind
    limit: tuple[str, int] | None = None
    requested: int | None = None
    daily: bool = False


def triage(
    reply: Reply, error: ErrorBody, wall: float, preset: Preset = COMPATIBLE, status: int | None = None
) -> Fault:
    """Classify an error answer; `status` is another than the reply's where the body says so. `wall` is Unix time."""
    if status is None:
        status = reply.status
    message = error.message or _status_text(reply)
    verdict = _verdict(reply, error, preset, status)
    return Fault(
        verdict.kind,
        _code(verdict.kind, error, status),
        message[:4000],
        wait_s=_wait_s(reply, error, message, verdict, preset, wall),
        daily=verdict.daily,
        limit=verdict.limit,
        requested=verdict.requested,
        status=reply.status,
        request_id=request_id(reply, preset) or error.request_id,
        body=reply.body,
        no_model=verdict.kind is FaultKind.REJECTED and refusals.no_model(status, error),
    )


def request_id(reply: Reply, preset: Preset) -> str | None:
    """The provider's own name for the request, from the headers."""
    for name in preset.request_ids:
        if (value := reply.headers.get(name)) is not None:
            # Bytes that are no UTF-8 arrive as lone surrogates.
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return None


def _code(kind: FaultKind, error: ErrorBody, status: int) -> str:
    """The provider's own code; for what is retried an empty string where it gives none (Azure repeats the status)."""
    if error.code and not error.code.isdigit():
        return error.code
    if kind in _TRIED_AGAIN:
        return ""
    return error.type or f"http_{status}"


def _status_text(reply: Reply) -> str:
    if 300 <= reply.status < 400:
        return f"the server answered with a redirect ({reply.status}), which is never followed"
    return f"the server answered with status {reply.status}"


def _wait_s(
    reply: Reply, error: ErrorBody, message: str, verdict: _Verdict, preset: Preset, wall: float
) -> float | None:
    details = error.details
    if verdict.daily and details.quota is not None:
        return until_midnight_s(wall, PACIFIC)  # Gemini, whatever its delay of half a minute says
    said = wait_s(reply.headers, message, wall, details.wait_s)
    if said is not None or verdict.kind is not FaultKind.RATE_LIMITED:
        return said
    reset = details.reset
    if reset is None and preset.rates.daily_if_long:
        reset = reply.headers.get("x-ratelimit-reset")  # OpenRouter: told only where nothing remains
    said = reset_s(reset, wall) if reset is not None else standard_wait_s(reply.headers)
    if said is None and verdict.daily and (details.daily or "free-models" in message):
        return until_midnight_s(wall)  # OpenRouter's days are those of UTC
    return said


def _verdict(reply: Reply, error: ErrorBody, preset: Preset, status: int) -> _Verdict:
    waits = "retry-after" in reply.headers or "retry-after-ms" in reply.headers or error.details.wait_s is not None
    if status == 402 and waits:
        return _Verdict(FaultKind.RATE_LIMITED)  # OpenRouter: money that comes back by itself
    if refusals.refuses(status, error):
        return _Verdict(FaultKind.REFUSED)
    should_retry = reply.headers.get("x-should-retry", "").lower()
    told_not_to = should_retry == "false" or error.details.retryable is False
    if status == 429 or error.code == "rate_limit_exceeded":
        if refusals.refuses_for_the_month(reply, error):
            return _Verdict(FaultKind.REFUSED)
        return _rate(error, preset, told_not_to=told_not_to)
    if told_not_to or _NEVER.search(error.message):
        return _Verdict(FaultKind.REJECTED)
    named = {error.code, error.type}
    if named & _OVERLOADED_CODES or named & _RAMP_CODES or status in (503, 529):
        return _Verdict(FaultKind.OVERLOADED)
    told_to = should_retry == "true" or error.details.retryable is True
    retried = status >= 500 or status in _RETRIED or told_to
    return _Verdict(FaultKind.SERVER if retried else FaultKind.REJECTED)


def _rate(error: ErrorBody, preset: Preset, *, told_not_to: bool) -> _Verdict:
    message = error.message
    quota = error.details.quota
    if quota is not None:
        limit = (quota.what, quota.limit) if quota.limit else None
        return _Verdict(FaultKind.RATE_LIMITED, limit, daily=quota.daily)
    m = _LIMIT.search(message) or _LIMIT_OF.search(message)
    size = int(m["limit"].replace(",", "")) if m is not None else 0
    limit = (m["what"].replace(" ", "_"), size) if m is not None and size > 0 else None
    daily = m["per"] == "day" if m is not None else error.details.daily or _DAILY.search(message) is not None
    r = _REQUESTED.search(message)
    requested = int(r[1]) if r is not None else None
    over = limit is not None and limit[0] == "tokens" and requested is not None and requested > limit[1]
    if over or _TOO_LARGE.search(message):
        return _Verdict(FaultKind.TOO_LARGE, None if daily else limit, requested, daily)
    if told_not_to:
        return _Verdict(FaultKind.REJECTED)
    crowded = (preset.crowds and m is None) or error.code in _RAMP_CODES or _CROWDED.search(message) is not None
    if crowded and not daily:
        return _Verdict(FaultKind.OVERLOADED)
    return _Verdict(FaultKind.RATE_LIMITED, limit, requested, daily)
