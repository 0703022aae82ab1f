"""What rate-limit headers say, in every spelling: limit, what remains, and when it is as if nothing had been sent.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI, Groq, Azure, compatible servers), the same with
`project-tokens` where a project has a limit of its own, Mistral's `-req-10-second` and `-tokens-minute`, Cerebras'
`-requests-day` and `-tokens-minute`. A reset says when a bucket is *full* again, never how long one request waits.

Values: with a unit → a duration (`6m0s`, `12ms`); RFC 3339 → an instant; a plain number over 1e12 → milliseconds of
Unix time, over 1e9 → seconds of it, else seconds (on Azure milliseconds). What makes no sense counts as not said.
Recorded traffic: `reset = (limit - remaining) / limit * window` on OpenAI's buckets, to the millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from batchproc.model import RateSeen
from batchproc.providers.waits import duration_s

_PREFIX = "x-ratelimit-"
# Suffix of the header → what it limits, and the window in seconds where the name tells it.
_PLAIN = (("requests", "requests", None), ("tokens", "tokens", None))
_RARE = (
    ("project-tokens", "tokens", None),
    ("project-requests", "requests", None),
    ("req-10-second", "requests", 10.0),
    ("req-minute", "requests", 60.0),
    ("requests-day", "requests", 86_400.0),
    ("requests-minute", "requests", 60.0),
    ("tokens-minute", "tokens", 60.0),
    ("tokens-day", "tokens", 86_400.0),
)
_MOST = 10**15


def rates_in(headers: Mapping[str, str], wall: float, *, plain_unit_s: float = 1.0) -> tuple[RateSeen, ...]:
    """What the headers (lower-case names) of an answer say. `wall` is Unix time, for resets that are instants.

    `plain_unit_s` is the unit of a reset without one: Azure counts in milliseconds.
    """
    found: list[RateSeen] = []
    for suffix, what, window_s in _PLAIN:
        if (limit := headers.get(_PREFIX + "limit-" + suffix)) is not None:
            _add(found, headers, suffix, what, window_s, limit, wall, plain_unit_s)
    if len(found) < 2:
        for suffix, what, window_s in _RARE:
            if (limit := headers.get(_PREFIX + "limit-" + suffix)) is not None:
                _add(found, headers, suffix, what, window_s, limit, wall, plain_unit_s)
    return tuple(found)


def _add(
    found: list[RateSeen],
    headers: Mapping[str, str],
    suffix: str,
    what: str,
    window_s: float | None,
    limit_text: str,
    wall: float,
    plain_unit_s: float,
) -> None:
    limit = _whole(limit_text)
    remaining = _whole(headers.get(_PREFIX + "remaining-" + suffix))
    if limit is None or limit < 1 or remaining is None or remaining > limit:
        return
    reset = headers.get(_PREFIX + "reset-" + suffix)
    found.append(RateSeen(what, limit, remaining, reset_s(reset, wall, plain_unit_s), window_s))


def _whole(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError:
        return None
    return value if 0 <= value <= _MOST else None


def reset_s(text: str | None, wall: float, plain_unit_s: float = 1.0) -> float | None:
    """Seconds until a limit is as if nothing had been sent; None for what cannot be read. Never negative."""
    if text is None:
        return None
    text = text.strip()
    said = duration_s(text)
    if said is not None:
        return said
    try:
        number = float(text)
    except ValueError:
        return _instant_s(text, wall)
    if not 0 <= number < float("inf"):
        return None
    if number > 1e12:
        return max(0.0, number / 1000 - wall)
    if number > 1e9:
        return max(0.0, number - wall)
    return number * plain_unit_s


def _instant_s(text: str, wall: float) -> float | None:
    if len(text) < 20 or text[4:5] != "-":
        return None
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - wall)
    except (ValueError, OverflowError):
        return None
