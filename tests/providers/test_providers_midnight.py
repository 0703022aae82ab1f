"""When a day's limits begin anew, in the zone that the provider counts by, also on a machine without zone data."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.providers.midnight import PACIFIC, until_midnight_s


def at(text: str) -> float:
    """Unix time of an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "zone", "hours", "why"),
    [
        ("2026-07-01T06:00", PACIFIC, 1.0, "summer: midnight is at 7 UTC"),
        ("2026-07-01T07:00", PACIFIC, 24.0, "midnight itself: the next one"),
        ("2026-01-15T06:00", PACIFIC, 2.0, "winter: at 8 UTC"),
        ("2026-03-08T08:00", PACIFIC, 23.0, "the day that loses an hour"),
        ("2026-11-01T07:00", PACIFIC, 25.0, "the day that gains one"),
        ("2026-12-31T23:00", "UTC", 1.0, "the end of the year"),
    ],
)
def test_until_midnight(now, zone, hours, why):
    """One row for each kind of day."""
    assert until_midnight_s(at(now), zone) == pytest.approx(hours * 3600), why


@pytest.mark.parametrize(("now", "hours"), [("2026-01-15T06:00", 2.0), ("2026-07-01T06:00", 2.0)])
def test_without_zone_data(now, hours, monkeypatch):
    """A bare machine has none: Pacific winter time stands in, an hour late in summer, never early."""

    def missing(name: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", missing)
    assert until_midnight_s(at(now), PACIFIC) == pytest.approx(hours * 3600)


@given(st.floats(0, 4e9), st.sampled_from([PACIFIC, "UTC"]))
def test_midnight_is_never_further_than_a_long_day(wall, zone):
    """And never now."""
    assert 0 < until_midnight_s(wall, zone) <= 25 * 3600
