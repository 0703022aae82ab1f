"""The OpenAI API and everything compatible with it: which answer is retried, given up, or ends the run.

What an error says of itself (`code`, `type`, then the message) goes before its status, because a 429 can mean
«wait a second», «this can never pass» and «there is no money left». Sources: OpenAI's guides on rate limits and
error codes, its OpenAPI description, recorded answers of the API and of compatible servers.
"""

from __future__ import annotations

import re

from batchproc.jsontext import one_line
from batchproc.model import Answer, Fault, FaultKind, RateSeen, Reply, Trouble
from batchproc.providers.bodies import ErrorBody, read_answer, read_error
from batchproc.providers.headers import rates_in
from batchproc.providers.waits import wait_s

_TROUBLES = {
    Trouble.CONNECT: (FaultKind.CONNECT, "connection_error"),
    Trouble.BROKEN: (FaultKind.BROKEN, "connection_error"),
    Trouble.TIMEOUT: (FaultKind.TIMEOUT, "request_timeout"),
    Trouble.TOO_LARGE: (FaultKind.REJECTED, "response_too_large"),
}

# Nothing of this run can pass: the key, the money, the account.
_REFUSED_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
        "access_terminated",
        "invalid_api_key",
        "ip_not_authorized",
        "unsupported_country_region_territory",
        "country_not_supported",
    }
)
_REFUSED_WORDS = re.compile(
    r"exceeded your current quota|billing hard limit has been reached|access was terminated"
    r"|credit balance is too low|insufficient balance|api key not valid|account is not active"
    r"|reached your (?:specified )?api usage limits|user location is not supported|prepay\w* [^.]*depleted",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"request too large for", re.IGNORECASE)
_NEVER = re.compile(r"too large to process", re.IGNORECASE)  # llama.cpp says so with a 500
_LIMIT = re.compile(r"on (?P<what>requests|tokens) per (?P<per>min|day)(?:ute)?\b[^:]*?[:.] Limit:? (?P<limit>\d+)")
_REQUESTED = re.compile(r"Requested:? (\d+)")
_OVERLOADED_CODES = frozenset({"server_is_overloaded", "overloaded_error", "engine_overloaded", "slow_down"})
_TRIED_AGAIN = frozenset({FaultKind.SERVER, FaultKind.OVERLOADED, FaultKind.RATE_LIMITED})
_RETRIED = frozenset({408, 409, 425})
_REFUSED_STATUS = frozenset({401, 402})


class OpenAI:
    """See the module's text. `base_url` ends in `/v1` for OpenAI itself."""

    name = "openai"

    def __init__(self, base_url: str, key: str | None, extra: dict[str, str]) -> None:
        self._base = base_url.rstrip("/")
        self._key = key
        self._extra = extra

    def url(self, path: str) -> str:
        """The base URL and the job's path."""
        return self._base + path

    def headers(self) -> dict[str, str]:
        """Content type, key, and what the user adds."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers | self._extra

    def read(self, path: str, reply: Reply, wall: float) -> Answer | Fault:
        """What a reply means."""
        if reply.trouble is not None:
            kind, code = _TROUBLES[reply.trouble]
            return Fault(kind, code, reply.detail)
        if 200 <= reply.status < 300:
            return self._read_success(path, reply, wall)
        return triage(reply, read_error(reply.body), wall)

    def rates(self, reply: Reply, wall: float) -> tuple[RateSeen, ...]:
        """What the headers of a reply say of the limits."""
        return rates_in(reply.headers, wall)

    @staticmethod
    def _read_success(path: str, reply: Reply, wall: float) -> Answer | Fault:
        read = read_answer(path, reply.body)
        request_id = _request_id(reply) or read.id
        if not read.problem:
            return Answer(reply.status, request_id, one_line(reply.body), read.usage)
        if read.error is not None and _refuses(reply.status, read.error):
            return triage(reply, read.error, wall)
        return Fault(
            FaultKind.INVALID,
            "invalid_response",
            read.problem,
            status=reply.status,
            request_id=request_id,
            body=reply.body,
        )


def _request_id(reply: Reply) -> str | None:
    value = reply.headers.get("x-request-id")
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "replace").decode()  # bytes that are no UTF-8 arrive as lone surrogates


def _refuses(status: int, error: ErrorBody) -> bool:
    if error.code in _REFUSED_CODES or error.type in _REFUSED_CODES or status in _REFUSED_STATUS:
        return True
    return _REFUSED_WORDS.search(error.message) is not None


def triage(reply: Reply, error: ErrorBody, wall: float) -> Fault:
    """Classify an error answer."""
    status = reply.status
    message = error.message or _status_text(reply)
    kind, limit, requested, daily = _kind(reply, error)
    return Fault(
        kind,
        _code(kind, error, status),
        message[:4000],
        wait_s=wait_s(reply.headers, message, wall),
        daily=daily,
        limit=limit,
        requested=requested,
        status=status,
        request_id=_request_id(reply),
        body=reply.body,
    )


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


def _kind(reply: Reply, error: ErrorBody) -> tuple[FaultKind, tuple[str, int] | None, int | None, bool]:
    """The kind of fault, the limit and the tokens that its message names, and whether the limit is a daily one."""
    status, message = reply.status, error.message
    if status == 402 and ("retry-after" in reply.headers or "retry-after-ms" in reply.headers):
        return FaultKind.RATE_LIMITED, None, None, False  # OpenRouter: money that comes back by itself
    if _refuses(status, error):
        return FaultKind.REFUSED, None, None, False
    should_retry = reply.headers.get("x-should-retry", "").lower()
    if status == 429 or error.code == "rate_limit_exceeded":
        return _rate_kind(message, should_retry)
    if should_retry == "false" or _NEVER.search(message):
        return FaultKind.REJECTED, None, None, False
    if error.code in _OVERLOADED_CODES or error.type in _OVERLOADED_CODES or status in (503, 529):
        return FaultKind.OVERLOADED, None, None, False
    retried = status >= 500 or status in _RETRIED or status == 498 or should_retry == "true"
    return (FaultKind.SERVER if retried else FaultKind.REJECTED), None, None, False


def _rate_kind(message: str, should_retry: str) -> tuple[FaultKind, tuple[str, int] | None, int | None, bool]:
    m = _LIMIT.search(message)
    limit = (m["what"], int(m["limit"])) if m is not None and int(m["limit"]) > 0 else None
    daily = m is not None and m["per"] == "day"
    r = _REQUESTED.search(message)
    requested = int(r[1]) if r is not None else None
    over = limit is not None and limit[0] == "tokens" and requested is not None and requested > limit[1]
    if over or _TOO_LARGE.search(message):
        return FaultKind.TOO_LARGE, None if daily else limit, requested, daily
    if should_retry == "false":
        return FaultKind.REJECTED, None, None, False
    return FaultKind.RATE_LIMITED, limit, requested, daily
