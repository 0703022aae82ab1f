"""When a failed attempt is repeated, and when the job is given up.

What may be wrong with the job itself is a *strike*; a job has `max_attempts` of them. A rate limit or a server
that cannot be reached is never one.
"""

from __future__ import annotations

from batchproc.model import FaultKind

STRIKES = frozenset({FaultKind.OVERLOADED, FaultKind.SERVER, FaultKind.INVALID, FaultKind.BROKEN})
TIMEOUTS = 2  # attempts that may run into the deadline: a timed-out request may have been billed

BASE_S = 1.0
MOST_S = 60.0
FLOOR_FROM_S = 8.0


def backoff_s(strikes: int, u: float) -> float:
    """Seconds to wait after the n-th strike (from 1): exponential, full jitter; `u` is uniform in [0, 1).

    From the fourth strike on at least a quarter of the range is waited, so that eight attempts always last
    longer than the ten seconds after which a silent server counts as an outage.
    """
    most = min(MOST_S, BASE_S * 2.0 ** min(strikes - 1, 10))
    return max(most * u, most / 4 if most >= FLOOR_FROM_S else 0.0)


def pause_s(refusals: int, u: float) -> float:
    """Seconds to pause a model after the n-th refusal in a row (from 1) that names no wait."""
    return min(MOST_S, BASE_S * 2.0 ** min(refusals - 1, 10)) * (0.5 + u / 2)


def spread_s(wait_s: float, u: float) -> float:
    """How long after the end of a pause one of the jobs that waited for it becomes due."""
    return u * min(2.0, 0.1 + wait_s / 4)
