"""What is said of a run that takes longer than a day."""

from __future__ import annotations

import pytest

from batchproc.core.capacity import REQUESTS, TOKENS, DualCapacity
from batchproc.core.outlook import Held, least_s, longer_than_a_day
from batchproc.core.tracker import CapacityTracker

DAY = 86_400.0


@pytest.mark.parametrize(
    ("rpd", "tpd", "jobs", "said"),
    [
        (None, None, 10**7, None),
        (1000, None, 1900, None),  # today's 1,000, and 900 within a day
        (1000, None, 4000, "at 1,000 requests per day the rest takes about 3 days"),
        (None, 100_000, 4000, "at 100,000 tokens per day the rest takes about 3 days"),
        (1000, 10_000, 4000, "at 10,000 tokens per day the rest takes about 39 days"),  # the tighter one
        (1000, None, 2100, "at 1,000 requests per day the rest takes about 26 h 24 min"),
    ],
)
def test_longer_than_a_day(rpd, tpd, jobs, said):
    """Each job takes 100 tokens."""
    more = [
        (what, CapacityTracker(limit, 0.0, window_s=DAY)) for what, limit in ((REQUESTS, rpd), (TOKENS, tpd)) if limit
    ]
    found = longer_than_a_day(DualCapacity(None, None, more), jobs, 100, 0.0)
    assert (found and found[0]) == said


@pytest.mark.parametrize(
    ("rpm", "tpm", "jobs", "seconds", "why"),
    [
        (None, None, 1000, 0.0, ""),  # nothing limits it
        (60, None, 60, 0.0, ""),  # the bucket is full: all of them at once
        (60, None, 180, 120.0, "requests per minute"),
        (60, 3000, 180, 300.0, "tokens per minute"),  # 18,000 tokens, of which 3,000 are there
    ],
)
def test_the_time_that_the_limits_need(rpm, tpm, jobs, seconds, why):
    """Each job takes 100 tokens."""
    requests, tokens = (CapacityTracker(limit, 0.0) if limit else None for limit in (rpm, tpm))
    assert least_s(DualCapacity(requests, tokens), jobs, 100, 0.0) == (pytest.approx(seconds), why)


def test_what_held_a_run_back_lately():
    """What happened long ago does not count, and what holds it back less than half of the time is not named."""
    held = Held()
    assert held.by() == ""
    for _ in range(500):
        held.waited("the first", 0.2)
    assert held.by() == "the first"
    for _ in range(200):
        held.waited("the second", 0.2)
    assert held.by() == "the second"
    for _ in range(200):
        held.waited("", 0.2)
    assert held.by() == ""
