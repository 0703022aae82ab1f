"""What is said of a run that takes longer than a day."""

from __future__ import annotations

import pytest

from batchproc.core.capacity import REQUESTS, TOKENS, DualCapacity
from batchproc.core.outlook import longer_than_a_day
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
