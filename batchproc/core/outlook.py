"""What the time to come depends on: a limit per day that makes the run longer than a day, said as soon as it can be
seen; what has held the run back lately.
"""

from __future__ import annotations

from batchproc.core.capacity import DAY_S, REQUESTS, TOKENS, DualCapacity
from batchproc.core.modelqueue import duration

_HALF_S = 20.0  # after this time a wait counts half
_GONE_S = 0.05


def longer_than_a_day(
    capacity: DualCapacity, jobs: float, tokens_per_job: float, now: float
) -> tuple[str, float] | None:
    """What is to be said of a model with so many jobs left, and how many seconds they take; None if within a day.

    Only limits per day are looked at; the tightest counts.
    """
    worst: tuple[str, float] | None = None
    for part in capacity.parts:
        tracker = part.tracker
        if tracker is None or part.window_s != DAY_S:
            continue
        needed = jobs if part.what == REQUESTS else jobs * tokens_per_job
        seconds = (needed - max(0.0, tracker.level(now))) / tracker.rate
        if seconds > DAY_S and (worst is None or seconds > worst[1]):
            worst = f"at {tracker.limit:,.0f} {part.why} the rest takes about {duration(seconds)}", seconds
    return worst


def least_s(capacity: DualCapacity, jobs: float, tokens_per_job: float, now: float) -> tuple[float, str]:
    """How long a model's limits make its jobs that are left take at least, and the limit that does."""
    least, why = 0.0, ""
    for part in capacity.parts:
        if part.tracker is None or part.what not in (REQUESTS, TOKENS):
            continue
        needed = jobs if part.what == REQUESTS else jobs * tokens_per_job
        seconds = (needed - max(0.0, part.tracker.level(now))) / part.tracker.rate
        if seconds > least:
            least, why = seconds, part.why
    return least, why


class Held:
    """What the run waited for lately: what is longer ago counts less and less."""

    def __init__(self) -> None:
        self._waits: dict[str, float] = {}
        self._seconds = 0.0

    def waited(self, why: str, seconds: float) -> None:
        """For so many seconds the next request waited for something; an empty `why`: for nothing."""
        fade = 0.5 ** (seconds / _HALF_S)
        self._seconds = self._seconds * fade + seconds
        self._waits = {w: s * fade for w, s in self._waits.items() if s * fade > _GONE_S}
        if why:
            self._waits[why] = self._waits.get(why, 0.0) + seconds

    def by(self) -> str:
        """What it was for most of the time; empty if it was nothing."""
        why, seconds = max(self._waits.items(), key=lambda item: item[1], default=("", 0.0))
        return why if seconds > self._seconds / 2 else ""
