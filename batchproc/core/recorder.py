"""Folds the events of a run into its time line, second by second, for whoever writes it down.

An event costs a few dictionary look-ups; what is written is a record a second while something happens, and one in ten
seconds while the run only waits. A long run writes wider buckets, so that a day takes a few megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchproc.core.timeline import MODELS, MOST, Bucket
from batchproc.events import Event, JobEnded, JobRequeued, RequestEnded, RequestSent
from batchproc.model import FaultKind

ANSWERS = "answers to what is in flight"
SLEPT_S = 15.0  # between two looks, of which there are several a second: the process was suspended
_IDLE_S = 10  # how long seconds without an event wait to be written


class Recorder:
    """Counts one process. `now` is the run's steady clock at the instant that is Unix time `wall`."""

    def __init__(self, now: float, wall: float) -> None:
        self.width = 1
        self._offset = wall - now
        self._looked_at = now
        self._bucket = Bucket(int(wall), begun=1)
        self._ends = self._bucket.at + 1 - self._offset  # on the steady clock
        self._closed: list[Bucket] = []
        self._count = 0
        self._limits: dict[str, Mapping[str, float]] = {}
        self.takes: dict[type, Callable[[Any], None]] = {
            RequestSent: self._sent,
            RequestEnded: self._returned,
            JobEnded: self._ended,
            JobRequeued: self._requeued,
        }

    def on(self, event: Event) -> None:
        """Listen to the run."""
        take = self.takes.get(type(event))
        if take is not None:
            take(event)

    def look(self, now: float, waiting_for: str, in_flight: int, limits: Mapping[str, Mapping[str, float]]) -> None:
        """What the run waits for at this instant, what is in flight, and the limits of its models as they are known."""
        self._roll(now)
        bucket = self._bucket
        seconds = awake_s(now - self._looked_at)
        self._looked_at = now
        bucket.seconds += seconds
        if waiting_for:
            bucket.wait(waiting_for, seconds)
        if in_flight > bucket.in_flight:
            bucket.in_flight = in_flight
        for model, known in limits.items():
            if known and self._limits.get(model) != known and len(bucket.limits) < MODELS:
                self._limits[model] = dict(known)
                bucket.limits[model] = dict(known)

    def take(self, now: float, *, last: bool = False) -> tuple[int, list[Bucket]]:
        """The buckets that are complete and worth writing by now, and their width; `last`: all that there is."""
        self._roll(now)
        if last:
            self._close()
        closed = self._closed
        if not closed or not (last or any(b.active for b in closed) or now + self._offset - closed[0].at > _IDLE_S):
            return self.width, []
        self._closed = []
        width = self.width
        self._count += len(closed)
        if self._count >= MOST:  # coarser from now on: half as many records for as much time
            self._count = MOST // 2
            self.width *= 2
        return width, [_rounded(bucket) for bucket in closed]

    def _roll(self, at: float) -> None:
        if at >= self._ends:
            self._close()
            begins = int(at + self._offset) // self.width * self.width
            self._bucket = Bucket(begins)
            self._ends = begins + self.width - self._offset

    def _close(self) -> None:
        bucket = self._bucket
        if bucket.active or bucket.seconds:
            self._closed.append(bucket)
        self._bucket = Bucket(bucket.at)

    # --- events ----------------------------------------------------------------------------------------------

    def _sent(self, event: RequestSent) -> None:
        if event.at >= self._ends:
            self._roll(event.at)
        bucket, model = self._bucket, event.model
        part = bucket.models.get(model) or bucket.part(model)
        part.sent += 1
        part.tokens += event.tokens

    def _returned(self, event: RequestEnded) -> None:
        if event.at >= self._ends:
            self._roll(event.at)
        bucket, model, kind = self._bucket, event.model, event.kind
        part = bucket.models.get(model) or bucket.part(model)
        if kind is None:
            usage = event.usage
            part.answers += 1
            part.input_tokens += usage.input_tokens
            part.output_tokens += usage.output_tokens
            bucket.answered(event.latency_s)
            return
        bucket.faults[kind.value] = bucket.faults.get(kind.value, 0) + 1
        if kind is FaultKind.RATE_LIMITED:
            part.refused += 1
        elif kind is FaultKind.CONNECT:
            part.unsent += 1

    def _ended(self, event: JobEnded) -> None:
        bucket = self._bucket
        if event.code is None:
            bucket.succeeded += 1
        else:
            bucket.failed += 1
        attempts = event.attempts
        if attempts in bucket.attempts:
            bucket.attempts[attempts] += 1
        else:
            bucket.ended(attempts)

    def _requeued(self, event: JobRequeued) -> None:
        if event.kind is not FaultKind.CONNECT:
            self._bucket.again += 1


def awake_s(seconds: float) -> float:
    """How much of the time between two looks the process was awake: none, where it is far too long."""
    return max(0.0, seconds) if seconds <= SLEPT_S else 0.0


def _rounded(bucket: Bucket) -> Bucket:
    """A bucket that takes less room."""
    bucket.seconds = round(bucket.seconds, 3)
    bucket.slowest = round(bucket.slowest, 4)
    bucket.waits = {why: round(seconds, 3) for why, seconds in bucket.waits.items()}
    return bucket
