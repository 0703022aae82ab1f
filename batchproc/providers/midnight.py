"""How long until a day's limits begin anew: at midnight, in the time zone that the provider counts by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo

PACIFIC = "America/Los_Angeles"
_PACIFIC_WINTER = timezone(timedelta(hours=-8))


def _zone(name: str) -> tzinfo:
    """The zone; where this machine has no time zone data, Pacific winter time: an hour late in summer, never early."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _PACIFIC_WINTER


def until_midnight_s(wall: float, zone: str = "UTC") -> float:
    """Seconds from `wall` (Unix time) to the next midnight of a zone ("UTC" or PACIFIC)."""
    place = _zone(zone)
    today = datetime.fromtimestamp(wall, place)
    midnight = datetime(today.year, today.month, today.day, tzinfo=place) + timedelta(days=1)
    return midnight.timestamp() - wall
