"""What a fault makes of an answer: another status, another body, or an answer that breaks on the wire."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from batchproc.simulator import refusals
from batchproc.simulator.asked import Asked

#: Where the redirect fault points. The server counts who goes there; no client should.
ELSEWHERE = "/simulator/elsewhere"

_HTML = {"content-type": "text/html"}
_SPURIOUS_WAIT_S = 1.0


class Spoiled(Struct, frozen=True, gc=False):
    """An answer after a fault. With `wire` set the true answer is sent, but not properly."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    wire: str | None = None  # reset, cut, hang, drip
    true: bool = False  # still the answer that was asked for


def _spurious_limit(model: str, rpm: int | None) -> Spoiled:
    """A 429 without cause. It names the true limit or none, so that nobody learns a wrong one."""
    limit = "." if rpm is None else f" (RPM): Limit {rpm}, Used {rpm}, Requested 1."
    message = (
        f"Rate limit reached for {model} in organization {refusals.ORGANIZATION} on requests per min{limit} "
        f"Please try again in {refusals.go_duration(_SPURIOUS_WAIT_S)}."
    )
    body = refusals.error_body(message, "requests", "rate_limit_exceeded")
    return Spoiled(429, body, {"retry-after": refusals.retry_after(_SPURIOUS_WAIT_S)})


_ERRORS = {
    "500": Spoiled(500, refusals.server_error()),
    "502": Spoiled(502, refusals.html_page("502 Bad Gateway"), _HTML),
    "503": Spoiled(503, refusals.overloaded()),
    "529": Spoiled(529, refusals.error_body("Overloaded", "overloaded_error", None)),
    "408": Spoiled(408, refusals.error_body("Request timed out.", "timeout", None)),
    "409": Spoiled(409, refusals.error_body("Lock timeout. Please retry.", "conflict_error", None)),
    "empty": Spoiled(200, b""),
    "null": Spoiled(200, b"null"),
    "list": Spoiled(200, b"[]"),
    "html200": Spoiled(200, refusals.html_page("We will be right back"), _HTML),
    "error200": Spoiled(200, refusals.server_error()),
    "quota": Spoiled(429, refusals.insufficient_quota()),
    "401": Spoiled(401, refusals.invalid_key("sk-revoked-key")),
    "400": Spoiled(400, refusals.error_body("Invalid value: 'simulated'.", "invalid_request_error", "invalid_value")),
    "redirect": Spoiled(302, b"", {"location": ELSEWHERE}),
    "413": Spoiled(413, refusals.error_body("Request Entity Too Large", "invalid_request_error", None)),
    "filter": Spoiled(400, refusals.content_refused()),
}

#: The faults that are an error body in words, which every provider puts into its own shape.
WORDED = frozenset(
    ("429", "500", "503", "529", "408", "409", "error200", "quota", "401", "400", "context", "413", "filter")
)
_SPURIOUS_RETRY_AFTER_S = 53.0  # recorded on answers of status 200 (Anthropic, November 2025)


def spoil(fault: str, asked: Asked, answer: bytes, rpm: int | None) -> Spoiled:
    """Apply a fault, one of `faults.FAULTS` but `slow`, to the true answer of a request."""
    if fault in _ERRORS:
        return _ERRORS[fault]
    if fault == "429":
        return _spurious_limit(asked.model, rpm)
    if fault == "context":
        longer = max(8192, asked.prompt_tokens - 893)
        return Spoiled(400, refusals.context_length_exceeded(longer, longer + 893))
    if fault == "retry200":
        return Spoiled(200, answer, {"retry-after": refusals.retry_after(_SPURIOUS_RETRY_AFTER_S)}, true=True)
    if fault == "blank":
        return Spoiled(200, b"\n\n\n" + answer, true=True)
    if fault == "truncated":
        return Spoiled(200, answer[: len(answer) // 2])
    if fault == "nochoices":
        document = msgspec.json.decode(answer)
        for name in ("choices", "data", "output", "content"):
            if name in document:
                document[name] = []
        if "status" in document:
            document["status"] = "failed"
        return Spoiled(200, msgspec.json.encode(document))
    return Spoiled(200, answer, wire=fault)
