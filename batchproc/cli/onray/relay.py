"""One shard inside a worker: an ordinary run that is shown elsewhere, and stopped from elsewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import structs

from batchproc.building.parts import Parts
from batchproc.cli.shard import ShardRun
from batchproc.core.decisions import Halt, HaltKind
from batchproc.engine.watch import Watch
from batchproc.events import Event, JobEnded, JobRequeued, Note, OutageBegan, OutageEnded
from batchproc.snapshot import Snapshot, Summary
from batchproc.store.opening import OpenedStore

_KEPT = 1000  # events between two looks; of more the oldest are dropped
_AHEAD_S = 0.5  # the next shard begins when what is left of this one is less than this, at its pace
_WORTH_TELLING = (OutageBegan, OutageEnded, Note)


class Relay:
    """The progress of one shard, for whoever looks; `tail_reached` is called once when it is about to end."""

    def __init__(self, shard: int, tail_reached: Callable[[], None]) -> None:
        self.shard = shard
        self.begun = self.withdrawn = self.tail = False
        self.snapshot: Snapshot | None = None
        self.ended: Summary | None = None
        self._tail_reached = tail_reached
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._halt: Callable[[float | None, bool], None] | None = None
        self._stop: tuple[float | None, bool] | None = None

    # --- what a run calls: the interface of ui.progress ------------------------------------------------------

    def start(self) -> None:
        """Nothing to set up."""

    def update(self, snapshot: Snapshot) -> None:
        """Keep it; see whether the end is near."""
        self.snapshot = snapshot
        if not self.tail and _near_its_end(snapshot):
            self.tail_is_reached()

    def event(self, event: Event) -> None:
        """Keep what is worth telling elsewhere. The driver tells itself that it stops."""
        if isinstance(event, _WORTH_TELLING):
            self._events.append(event)
        elif isinstance(event, JobRequeued) or (isinstance(event, JobEnded) and event.code is not None):
            # Shards count their lines from their own beginning: of the whole file this would be a wrong number.
            where = f"shard {self.shard}, its line {event.line:,}: " if event.line else ""
            self._events.append(structs.replace(event, line=0, message=where + event.message))

    def status(self, snapshot: Snapshot) -> None:
        """Nobody asks here."""

    def stop(self) -> None:
        """Nothing to take down."""

    def summary(self, summary: Summary) -> None:
        """The driver says the last words."""

    # --- what the worker calls -------------------------------------------------------------------------------

    def tail_is_reached(self) -> None:
        """The next shard may begin."""
        self.tail = True
        self._tail_reached()

    def events(self) -> list[Event]:
        """What happened since the last call."""
        taken: list[Event] = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def halt(self, drain_s: float | None, cut: bool) -> None:
        """Let the run stop: now, or as soon as it has begun to send. From any thread."""
        self._stop = drain_s, cut
        if self._halt is not None:
            self._halt(drain_s, cut)

    def halts_by(self, halt: Callable[[float | None, bool], None]) -> None:
        """How the run is stopped, from now on; at once where that was asked for before."""
        self._halt = halt
        if self._stop is not None:
            halt(*self._stop)


def _near_its_end(seen: Snapshot) -> bool:
    known = seen.total if seen.total is not None else seen.total_estimate
    if known is None or seen.checked is not None:
        return False
    left = known - seen.done - seen.in_flight
    here = seen.done - seen.resumed
    return (left <= 0 and not seen.queued) or (here > 0 and left * seen.elapsed_s < here * _AHEAD_S)


def shown_by(relay: Relay) -> type[ShardRun]:
    """A kind of run that tells this relay, and is stopped by it."""

    class Relayed(ShardRun):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"progress": relay})

        def execute(self) -> Summary:
            relay.ended = super().execute()
            return relay.ended

        async def _go(self, store: OpenedStore, parts: Parts, watch: Watch) -> Summary:
            loop = asyncio.get_running_loop()
            pool = parts.pool

            def halt(drain_s: float | None, cut: bool) -> None:
                pool.halt(Halt(HaltKind.INTERRUPTED, "stopped with the other shards"), drain_s)
                if cut:
                    pool.cut()

            def from_elsewhere(drain_s: float | None, cut: bool) -> None:
                try:
                    loop.call_soon_threadsafe(halt, drain_s, cut)
                except RuntimeError:
                    pass  # it has just ended

            relay.halts_by(from_elsewhere)
            return await super()._go(store, parts, watch)

    return Relayed
