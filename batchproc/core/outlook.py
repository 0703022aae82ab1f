"""Does a limit per day make the run longer than a day? Said as soon as it can be seen, not when the day is used up."""

from __future__ import annotations

from batchproc.core.capacity import DAY_S, REQUESTS, DualCapacity
from batchproc.core.modelqueue import duration


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
