"""`--quota`: the trackers of a run whose limits are shared with other runs, and the task that fetches leases."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from batchproc.core.capacity import DAY_S, INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS, TOKENS, DualCapacity
from batchproc.core.leased import Leased
from batchproc.engine.leasing import Leasing
from batchproc.errors import UsageError
from batchproc.ports import QuotaStore
from batchproc.quota.names import Names, Place, place_of
from batchproc.settings import Limits, RunSettings

_LIMITS = (
    ("rpm", REQUESTS, MINUTE_S),
    ("tpm", TOKENS, MINUTE_S),
    ("rpd", REQUESTS, DAY_S),
    ("tpd", TOKENS, DAY_S),
    ("itpm", INPUT_TOKENS, MINUTE_S),
    ("otpm", OUTPUT_TOKENS, MINUTE_S),
)


class Quota:
    """The shared quota of one run, its store open. `leasing` is the task."""

    def __init__(self, settings: RunSettings, place: Place, store: QuotaStore, credential: str) -> None:
        self._settings = settings
        self._place = place
        self._key = credential
        self._leasing = Leasing(store, place.where, settings.on_quota_loss)
        self.leasing = self._leasing.run

    def capacity_for(self, base_url: str, alone: Callable[[str], DualCapacity]) -> Callable[[str], DualCapacity]:
        """What makes the trackers of a model; those of a model without limits are `alone`'s."""
        settings = self._settings
        names = Names(base_url, self._key, self._place.name)

        def capacity(model: str) -> DualCapacity:
            limits = settings.limits_for(model)
            parts = _parts(limits)
            if not parts:
                return alone(model)
            return self._leasing.capacity(
                model,
                names.of(model),
                parts,
                fraction=settings.quota_fraction,
                burst_s=limits.burst_s,
                reset=settings.quota_reset,
            )

        return capacity


async def open_quota(settings: RunSettings, credential: str) -> Quota:
    """Open the store of `--quota`. Raises UsageError."""
    if not any(_parts(limits) for limits in (settings.limits, *settings.models.values())):
        raise UsageError(
            "`--quota` shares limits, and none is given", "add `--rpm N` or `--tpm N`: what all runs together may use"
        )
    actor = (settings.quota or "").removeprefix("actor:")  # nobody can type that: `--engine ray` sets it
    if actor != settings.quota:
        place = Place("", "", f"`{actor}` in the Ray cluster", "run")
    else:
        place = place_of(settings.quota)
    worker = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
    store: QuotaStore
    if actor != settings.quota:
        from batchproc.quota.actorstore import ActorStore

        store = ActorStore(actor, worker)
    elif place.url:
        from batchproc.quota.redisstore import RedisStore

        store = RedisStore(place.url, place.where, worker)
    else:
        from batchproc.quota.sqlite import SqliteStore

        store = SqliteStore(place.path, worker)
    await store.open()
    return Quota(settings, place, store, credential)


def _parts(limits: Limits) -> list[tuple[str, Leased]]:
    given = ((what, window_s, getattr(limits, name)) for name, what, window_s in _LIMITS)
    return [(what, Leased(limit, window_s=window_s)) for what, window_s, limit in given if limit is not None]
