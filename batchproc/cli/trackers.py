"""Makes the capacity trackers of a model, charged with what earlier processes sent within the last minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from batchproc.core.capacity import DualCapacity
from batchproc.core.tracker import CapacityTracker
from batchproc.settings import Limits


class SentBefore(Protocol):
    """Requests of an earlier process: Unix time, model, how many, and their tokens."""

    @property
    def at(self) -> float:
        """Unix time."""
        ...

    @property
    def model(self) -> str:
        """Which model they went to."""
        ...

    @property
    def requests(self) -> int:
        """How many."""
        ...

    @property
    def tokens(self) -> int:
        """As charged."""
        ...


def capacity_maker(
    limits_for: Callable[[str], Limits], sent: Iterable[SentBefore], *, now: Callable[[], float], wall: float
) -> Callable[[str], DualCapacity]:
    """A function that makes the trackers of a model. `wall` is Unix time now; a time stamp ahead of it is now."""
    earlier: dict[str, list[tuple[float, int, int]]] = {}
    for group in sent:
        ago_s = max(0.0, wall - group.at)
        if ago_s < 60 and group.requests:
            earlier.setdefault(group.model, []).append((ago_s, group.requests, group.tokens))

    def tracker(limit: int | None, burst_s: float | None) -> CapacityTracker | None:
        return CapacityTracker(limit, now(), burst_s=burst_s) if limit is not None else None

    def capacity(model: str) -> DualCapacity:
        limits = limits_for(model)
        burst_s = limits.burst_s
        made = DualCapacity(tracker(limits.rpm, burst_s), tracker(limits.tpm, burst_s), burst_s=burst_s)
        for ago_s, requests, tokens in sorted(earlier.get(model, ()), reverse=True):
            if made.requests is not None:
                made.requests.charged_before(requests, ago_s, now())
            if made.tokens is not None:
                made.tokens.charged_before(tokens, ago_s, now())
        return made

    return capacity
