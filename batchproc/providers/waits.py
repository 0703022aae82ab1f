"""How long a provider says to wait: headers first, then the words of its message.

Order: `retry-after-ms`, `Retry-After` (seconds or an HTTP date), the message's «try again in 1.378s». A header
that says when a bucket is full again is not a wait for one request and is not read here. What makes no sense
(negative, not a number) counts as not said. The clock is an argument: `wall` is Unix time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
# OpenAI: «Please try again in 7m12s.»; Azure: «Please retry after 5 seconds.»
_TRY_AGAIN = re.compile(r"(?:try again|retry) in ((?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?(milliseconds?|seconds?|minutes?)", re.I)


def duration_s(text: str) -> float | None:
    """Seconds in a Go duration as OpenAI prints it (`8.64s`, `6m0s`, `12ms`); None for anything else."""
    text = text.strip()
    if _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def _number(text: str | None, unit_s: float) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.strip()) * unit_s
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str | None, wall: float) -> float | None:
    if text is None or not text[:1].isalpha():
        return None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, TypeError, OverflowError):
        return None


def wait_s(headers: Mapping[str, str], message: str, wall: float) -> float | None:
    """Seconds the provider asks to wait after an error answer, or None if it does not say."""
    for said in (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after"), 1.0),
        _date(headers.get("retry-after"), wall),
    ):
        if said is not None:
            return _finer(said, headers, message)
    return _in_words(message)


def _finer(said_s: float, headers: Mapping[str, str], message: str) -> float:
    """A `Retry-After` in whole seconds rounds a shorter wait up: the message's own figure is the better one."""
    if "retry-after-ms" in headers:
        return said_s
    words = _in_words(message)
    return words if words is not None and words <= said_s <= words + 1.0 else said_s


def _in_words(message: str) -> float | None:
    m = _TRY_AGAIN.search(message)
    if m is not None:
        return duration_s(m[1])
    m = _RETRY_AFTER.search(message)
    if m is None:
        return None
    unit = m[2].lower()
    return float(m[1]) * (0.001 if unit.startswith("milli") else 60.0 if unit.startswith("minute") else 1.0)
