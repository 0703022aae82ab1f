"""How long a provider says to wait: headers first, then the words of its message.

Order: `retry-after-ms`, `Retry-After` (seconds or an HTTP date), a delay that stands in the body as a figure, the
message's «try again in 1.378s». A header that says when a bucket is full again is not a wait for one request and is
not read here. What makes no sense (negative, not a number, more than a year) counts as not said. The clock is an
argument: `wall` is Unix time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
# OpenAI: «Please try again in 7m12s.»; Azure: «Please retry after 5 seconds.»
_TRY_AGAIN = re.compile(r"(?:try again|retry) in ((?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(
    r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?(millisecond|second|minute|hour|day)", re.IGNORECASE
)
_WORDS_S = {"millisecond": 0.001, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_MOST_S = 366 * 86400.0
_EPOCH_S = 1e9  # a larger «number of seconds» is an instant: Unix seconds, above 1e12 Unix milliseconds


def duration_s(text: str) -> float | None:
    """Seconds in a Go duration as OpenAI prints it (`8.64s`, `6m0s`, `12ms`); None for anything else."""
    text = text.strip()
    if _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def _number(text: str | None, unit_s: float, wall: float) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return duration_s(text)
    if not 0 <= value < math.inf:
        return None
    if value > _EPOCH_S * 1000:
        return max(0.0, value / 1000 - wall)
    return max(0.0, value - wall) if value > _EPOCH_S else value * unit_s


def _date(text: str | None, wall: float) -> float | None:
    if text is None or not text[:1].isalpha():
        return None
    try:
        date = parsedate_to_datetime(text)
        return max(0.0, (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp() - wall)
    except (ValueError, TypeError, OverflowError):
        return None


def wait_s(headers: Mapping[str, str], message: str, wall: float, figure_s: float | None = None) -> float | None:
    """Seconds the provider asks to wait after an error answer, or None if it does not say.

    `figure_s` is a delay that the body gives beside its message.
    """
    for said in (
        _number(headers.get("retry-after-ms"), 0.001, wall),
        _number(headers.get("retry-after"), 1.0, wall),
        _date(headers.get("retry-after"), wall),
    ):
        if said is not None and said <= _MOST_S:
            return _finer(said, headers, message)
    return figure_s if figure_s is not None and 0 <= figure_s <= _MOST_S else _in_words(message)


def _finer(said_s: float, headers: Mapping[str, str], message: str) -> float:
    """A `Retry-After` in whole seconds rounds a shorter wait up: the message's own figure is the better one."""
    if "retry-after-ms" in headers:
        return said_s
    words = _in_words(message)
    return words if words is not None and words <= said_s <= words + 1.0 else said_s


def _in_words(message: str) -> float | None:
    m = _TRY_AGAIN.search(message)
    if m is not None:
        said = duration_s(m[1])
    else:
        m = _RETRY_AFTER.search(message)
        said = float(m[1]) * _WORDS_S[m[2].lower()] if m is not None else None
    return said if said is not None and said <= _MOST_S else None
