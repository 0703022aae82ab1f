"""What rate-limit headers say, in every spelling: limit, what remains, and when it is as if nothing had been sent.

Which names are looked for is in `spellings.py`. A reset says when a bucket is *full* again, never how long one
request waits.

Values: with a unit → a duration (`6m0s`, `12ms`); RFC 3339 → an instant; a plain number over 1e12 → milliseconds of
Unix time, over 1e9 → seconds of it, else seconds (on Azure milliseconds). What makes no sense counts as not said.
Recorded traffic: `reset = (limit - remaining) / limit * window` on OpenAI's buckets, to the millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from batchproc.model import RateSeen
from batchproc.providers.ietf import standard_rates
from batchproc.providers.spellings import COMMON, Rates, Spelling
from batchproc.providers.waits import duration_s

_MOST = 10**15
_MOST_RESET_S = 366 * 86_400.0
_MINUTE_S, _DAY_S = 60.0, 86_400.0


def rates_in(headers: Mapping[str, str], wall: float, rates: Rates = COMMON) -> tuple[RateSeen, ...]:
    """What the headers (lower-case names) of an answer say. `wall` is Unix time, for resets that are instants."""
    found: list[RateSeen] = []
    _add(found, headers, rates.first, wall, rates)
    if len(found) < 2 and rates.rest:
        _add(found, headers, rates.rest, wall, rates)
    if not found and rates.standard and "ratelimit" in headers:
        return standard_rates(headers)
    return tuple(found)


def _add(
    found: list[RateSeen], headers: Mapping[str, str], spellings: Iterable[Spelling], wall: float, rates: Rates
) -> None:
    for s in spellings:
        said = headers.get(s.limit)
        if said is None:
            continue
        limit, remaining = _whole(said), _whole(headers.get(s.remaining))
        if limit is None or limit < 1 or remaining is None or remaining > limit:
            continue
        reset = reset_s(headers.get(s.reset), wall, rates.plain_unit_s)
        window_s = s.window_s
        if s.window:
            window_s = float(_whole(headers.get(s.window)) or 0) or None
        if rates.daily_if_long and reset is not None and reset > _MINUTE_S:
            window_s = _DAY_S
        seen = RateSeen(s.what, limit, remaining, reset, window_s)
        if seen not in found:
            found.append(seen)


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
    said = _reset_s(text.strip(), wall, plain_unit_s) if text is not None else None
    return said if said is not None and said <= _MOST_RESET_S else None


def _reset_s(text: str, wall: float, plain_unit_s: float) -> float | None:
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
    if len(text) < 19 or text[4:5] != "-":
        return None
    try:
        at = datetime.fromisoformat(text)
        return max(0.0, (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() - wall)
    except (ValueError, OverflowError):
        return None
