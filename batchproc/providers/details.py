"""What an error says beside its message, where providers add more: Google's details, Anthropic's, OpenRouter's.

Google: `details` is a list of typed objects, of which `QuotaFailure` names the quotas that are exceeded
(`GenerateRequestsPerDayPerProjectPerModel-FreeTier`), `RetryInfo` a delay (`38.2s`), `ErrorInfo` a reason
(`API_KEY_INVALID`). Anthropic: `details.error_code`, which goes before the type. OpenRouter: `availability` with
`retryable` and `retry_after`, `metadata.headers` with a copy of its rate-limit headers. vLLM, Mistral: none.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from batchproc.providers.waits import duration_s


class Quota(Struct, frozen=True):
    """A quota that Google names: of what, how many (0: none at all; None: not said), and whether of a day."""

    what: str
    limit: int | None
    daily: bool


class Details(Struct, frozen=True):
    """All that was said; None and empty strings where it was not."""

    code: str = ""
    wait_s: float | None = None
    quota: Quota | None = None
    retryable: bool | None = None
    reset: str | None = None  # of a copied `X-RateLimit-Reset`
    daily: bool = False


NOTHING = Details()


def details_in(error: dict[str, Any]) -> Details:
    """Whatever is known to be of use in an error object; never raises for what it can contain."""
    details = error.get("details")
    if isinstance(details, list):
        return _google([d for d in details if isinstance(d, dict)])
    if isinstance(details, dict):
        code = details.get("error_code")
        return Details(code=code if isinstance(code, str) else "")
    if "availability" in error or "metadata" in error:
        return _openrouter(_dict(error.get("availability")), _dict(error.get("metadata")))
    return NOTHING


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _google(details: list[dict[str, Any]]) -> Details:
    code, wait_s, quotas = "", None, []
    for one in details:
        kind = one.get("@type")
        if not isinstance(kind, str):
            continue
        if kind.endswith("RetryInfo") and isinstance(one.get("retryDelay"), str):
            wait_s = duration_s(one["retryDelay"])
        elif kind.endswith("ErrorInfo") and isinstance(one.get("reason"), str):
            code = one["reason"]
        elif kind.endswith("QuotaFailure") and isinstance(one.get("violations"), list):
            quotas += [_quota(v) for v in one["violations"] if isinstance(v, dict)]
    return Details(code, wait_s, _worst(quotas))


def _quota(violation: dict[str, Any]) -> Quota:
    name = f"{violation.get('quotaId')} {violation.get('quotaMetric')}"
    value = violation.get("quotaValue")
    limit = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 16 else None
    lower = name.lower()
    what = ("input_tokens" if "input" in lower else "tokens") if "token" in lower else "requests"
    return Quota(what, limit, "PerDay" in name)


def _worst(quotas: list[Quota]) -> Quota | None:
    """Of several exceeded quotas the one that holds the longest: none at all, then a day's."""
    return max(quotas, key=lambda q: (q.limit == 0, q.daily), default=None)


def _openrouter(availability: dict[str, Any], metadata: dict[str, Any]) -> Details:
    retryable, wait = availability.get("retryable"), availability.get("retry_after")
    headers = {str(k).lower(): v for k, v in _dict(metadata.get("headers")).items()}
    reset = headers.get("x-ratelimit-reset")
    sure = isinstance(wait, int | float) and not isinstance(wait, bool) and 0 <= wait < 366 * 86_400
    return Details(
        wait_s=float(wait) if sure and wait is not None else None,
        retryable=retryable if isinstance(retryable, bool) else None,
        reset=str(reset) if isinstance(reset, str | int) else None,
        daily="daily" in str(metadata.get("limit_source")),
    )
