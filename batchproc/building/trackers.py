"""Makes the trackers of a model, charged with what earlier processes sent within the last minute or day."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from batchproc.core.capacity import DAY_S, INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS, TOKENS, DualCapacity
from batchproc.core.tracker import CapacityTracker
from batchproc.engine.pool import Pool
from batchproc.settings import Limits, RunSettings


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
        if ago_s < DAY_S and group.requests:
            earlier.setdefault(group.model, []).append((ago_s, group.requests, group.tokens))

    def capacity(model: str) -> DualCapacity:
        limits = limits_for(model)

        def tracker(limit: int | None, window_s: float = MINUTE_S) -> CapacityTracker | None:
            return CapacityTracker(limit, now(), window_s=window_s, burst_s=limits.burst_s) if limit else None

        more = (
            (REQUESTS, tracker(limits.rpd, DAY_S)),
            (TOKENS, tracker(limits.tpd, DAY_S)),
            (INPUT_TOKENS, tracker(limits.itpm)),
            (OUTPUT_TOKENS, tracker(limits.otpm)),
        )
        made = DualCapacity(
            tracker(limits.rpm),
            tracker(limits.tpm),
            [(what, made) for what, made in more if made is not None],
            burst_s=limits.burst_s,
        )
        for ago_s, requests, tokens in sorted(earlier.get(model, ()), reverse=True):
            made.charged_before(requests, tokens, ago_s, now())
        return made

    return capacity


class Shared(Protocol):
    """A quota that other runs use too: makes the trackers, and fetches leases for them as long as the run goes on."""

    def capacity_for(self, base_url: str, alone: Callable[[str], DualCapacity]) -> Callable[[str], DualCapacity]:
        """What makes the trackers of a model; those of a model without limits are `alone`'s."""
        ...

    @property
    def leasing(self) -> Callable[[Pool], Coroutine[Any, Any, None]]:
        """The task."""
        ...


async def shared(settings: RunSettings, credential: str) -> Shared:
    """Open the store of `--quota`, for who has this credential. Raises UsageError."""
    from batchproc.building.quota import open_quota

    return await open_quota(settings, credential)
