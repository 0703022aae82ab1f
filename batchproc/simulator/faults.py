"""What goes wrong and when: decided by the request and how often it was sent, never by chance or order.

Lasting faults condemn a request: whether one strikes depends on the seed and the request alone, so every
attempt and every run sees it. Passing faults are drawn anew for each attempt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from batchproc.errors import UsageError

#: Every kind of fault, and what the client sees.
FAULTS = {
    "429": "a rate limit out of nowhere, with a Retry-After of 1 s",
    "500": "500 server_error",
    "502": "502 with an HTML page",
    "503": "503, overloaded",
    "529": "529, overloaded",
    "408": "408, request timeout",
    "409": "409, lock timeout",
    "reset": "the connection is reset before the answer",
    "cut": "the connection ends in the middle of the body",
    "hang": "no answer, ever",
    "drip": "the body at one byte every 0.2 s",
    "empty": "200 with an empty body",
    "null": "200 with the body `null`",
    "list": "200 with the body `[]`",
    "html200": "200 with an HTML page",
    "truncated": "200 with half a JSON document, its length said rightly",
    "error200": "200 with an error object",
    "nochoices": "200 without a choice, vector or output",
    "slow": "an answer that takes twenty times its latency",
    "quota": "429 insufficient_quota: the money is gone",
    "401": "401 invalid_api_key",
    "400": "400, a bad request (lasting)",
    "context": "400 context_length_exceeded (lasting)",
    "redirect": "302 to another host (lasting)",
    "413": "413, the request is too large (lasting)",
    "filter": "400, a filter refuses the prompt (lasting)",
    "retry200": "a good answer with a Retry-After",
    "blank": "a good answer after blank lines",
}
LASTING = ("400", "context", "redirect", "413", "filter")

#: What `any` stands for: all that a repeated request gets over, and that takes no longer than an answer.
ANY = (
    "429", "500", "502", "503", "529", "408", "409", "reset", "cut",
    "empty", "null", "list", "html200", "truncated", "error200", "nochoices",
)  # fmt: skip


def _probability(text: str) -> float:
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return -1.0
    return value


def parse_faults(texts: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """Read `KIND=PROBABILITY` (`500=5%`, `reset=0.02`, `any=25%`) into kinds and probabilities from 0 to 1.

    Raises `UsageError` for an unknown kind, a bad probability, or more than 1 in all.
    """
    found: dict[str, float] = {}
    for text in texts:
        kind, equals, number = text.partition("=")
        kind = kind.strip().lower()
        if kind not in FAULTS and kind != "any":
            raise UsageError(f"`{kind}` is not a kind of fault", f"use `any`, {', '.join(FAULTS)}")
        share = _probability(number.strip())
        if not equals or not 0.0 <= share <= 1.0:
            raise UsageError(f"`{text}` has no probability", f"write `{kind}=5%` or `{kind}=0.05`")
        for name in ANY if kind == "any" else (kind,):
            found[name] = found.get(name, 0.0) + (share / len(ANY) if kind == "any" else share)
    if sum(found.values()) > 1.0 + 1e-9:
        raise UsageError("the faults' probabilities add up to more than 100%", "lower some of them")
    return tuple(found.items())


def uniform(digest: str, purpose: str, attempt: int = 0) -> float:
    """A number from 0 to 1 that depends on its arguments only."""
    drawn = hashlib.blake2b(f"{digest}\0{purpose}\0{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") / 2**64


class Faults:
    """The faults of a simulated provider, by kind with their probabilities from 0 to 1."""

    __slots__ = ("_lasting", "_passing", "any")

    def __init__(self, shares: Sequence[tuple[str, float]]) -> None:
        self._lasting = [(kind, share) for kind, share in shares if kind in LASTING and share > 0]
        self._passing = [(kind, share) for kind, share in shares if kind not in LASTING and share > 0]
        #: Whether anything can go wrong at all.
        self.any = bool(self._lasting or self._passing)

    def strike(self, digest: str, attempt: int) -> str | None:
        """The fault that befalls the request's attempt (from 0), or None.

        The probabilities of passing faults hold among the requests that no lasting fault condemns.
        """
        if self._lasting:
            kind = _pick(self._lasting, uniform(digest, "lasting"))
            if kind is not None:
                return kind
        if self._passing:
            return _pick(self._passing, uniform(digest, "passing", attempt))
        return None


def _pick(shares: Sequence[tuple[str, float]], u: float) -> str | None:
    for kind, share in shares:
        u -= share
        if u < 0:
            return kind
    return None
