"""The time line of a run: what happened in each second, in little space, however long and often resumed it is.

A bucket counts what happened within so many seconds. Two buckets add up to one that counts both, so a time line that
grows too long doubles the width of its buckets and halves their number: nothing that is counted gets lost, only when
exactly it happened. Everything a bucket holds is bounded, whatever a job file or a server brings: so many models and
reasons have their own names, the others share one.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log

from msgspec import Struct, field

MOST = 4096  # buckets of a time line
OTHERS = "(others)"
MODELS = 32  # models, and as many reasons for waiting, that a time line tells apart
_LONGEST = 160  # characters of a name
_MOST_ATTEMPTS = 100  # jobs that took more are counted with these
_STEP = log(1.05)  # two latencies within 5% of each other may share a class


class ModelPart(Struct, omit_defaults=True):
    """What one model did within a bucket. Tokens: as charged against the limit; as the answers say they used."""

    sent: int = 0
    unsent: int = 0  # of these, requests that never reached the server
    answers: int = 0
    refused: int = 0  # for a rate limit (429)
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, other: ModelPart) -> None:
        """Count what another counted."""
        self.sent += other.sent
        self.unsent += other.unsent
        self.answers += other.answers
        self.refused += other.refused
        self.tokens += other.tokens
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens


class Bucket(Struct, omit_defaults=True):
    """What happened from Unix time `at` on, for as long as the buckets of its time line are wide.

    `seconds` is for how long of that a process was at work. `latency` counts answers by `latency_class`, `slowest` is
    the longest of them in seconds. `faults` counts requests that were no answer, by kind; `again` jobs that were put
    back to be sent again for them; `attempts` jobs by how many requests each took. `waits` is for how many seconds the
    next request waited for what. `limits` are those of each model, where they changed.
    """

    at: int
    seconds: float = 0.0
    begun: int = 0  # processes
    models: dict[str, ModelPart] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)
    slowest: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    again: int = 0
    succeeded: int = 0  # jobs
    failed: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    in_flight: int = 0  # at the most
    waits: dict[str, float] = field(default_factory=dict)
    limits: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether anything happened but waiting."""
        return bool(self.models or self.faults or self.succeeded or self.failed or self.limits or self.begun)

    def part(self, model: str) -> ModelPart:
        """The part of a model, made where there is none."""
        part = self.models.get(model)
        if part is None:
            part = self.models.setdefault(name_in(self.models, model), ModelPart())
        return part

    def wait(self, why: str, seconds: float) -> None:
        """The next request waited for something."""
        name = name_in(self.waits, why)
        self.waits[name] = self.waits.get(name, 0.0) + seconds

    def ended(self, attempts: int) -> None:
        """A job ended after so many requests."""
        attempts = min(attempts, _MOST_ATTEMPTS)
        self.attempts[attempts] = self.attempts.get(attempts, 0) + 1

    def answered(self, latency_s: float) -> None:
        """An answer came after so long."""
        number = latency_class(latency_s)
        self.latency[number] = self.latency.get(number, 0) + 1
        if latency_s > self.slowest:
            self.slowest = latency_s

    def add(self, other: Bucket) -> None:
        """Count what another bucket counted; its limits are taken for the newer ones."""
        self.seconds += other.seconds
        self.begun += other.begun
        for model, part in other.models.items():
            self.part(model).add(part)
        _add(self.latency, other.latency)
        self.slowest = max(self.slowest, other.slowest)
        _add(self.faults, other.faults)
        self.again += other.again
        self.succeeded += other.succeeded
        self.failed += other.failed
        _add(self.attempts, other.attempts)
        self.in_flight = max(self.in_flight, other.in_flight)
        for why, seconds in other.waits.items():
            self.wait(why, seconds)
        self.limits |= {m: n for m, n in other.limits.items() if m in self.limits or len(self.limits) < MODELS}


def _add(into: dict[int, int] | dict[str, int], other: dict[int, int] | dict[str, int]) -> None:
    for key, n in other.items():
        into[key] = into.get(key, 0) + n  # type: ignore[index, arg-type]


def name_in(known: dict[str, ModelPart] | dict[str, float], name: str) -> str:
    """The name under which something is counted: its own, unless there are too many already."""
    name = name[:_LONGEST]
    return name if name in known or len(known) < MODELS else OTHERS


def latency_class(latency_s: float) -> int:
    """The number of a class of latencies that lie within 5%; class 0 begins at a millisecond."""
    return int(log(latency_s * 1000) / _STEP) if latency_s > 0.001 else 0


def class_s(number: int) -> float:
    """The middle of a class of latencies, in seconds."""
    return exp((number + 0.5) * _STEP) / 1000


def quantile_s(latency: dict[int, int], q: float) -> float | None:
    """The latency that a share `q` of the answers did not exceed, within 2.5%; None where there were none."""
    total = sum(latency.values())
    if not total:
        return None
    left = q * total
    for number in sorted(latency):
        left -= latency[number]
        if left <= 0:
            break
    return class_s(number)


class TimeLine:
    """Buckets of one width (seconds, a power of two), by the instant at which they begin; never more than `most`."""

    def __init__(self, buckets: Iterable[tuple[int, Bucket]] = (), *, most: int = MOST) -> None:
        self.width = 1
        self.buckets: dict[int, Bucket] = {}
        self._most = most
        for width, bucket in buckets:
            self.add(bucket, width)

    def add(self, bucket: Bucket, width: int = 1) -> None:
        """Count a bucket that covers `width` seconds. It is not kept itself."""
        while self.width < width:
            self.coarsen()
        self._put(bucket)
        while len(self.buckets) > self._most:
            self.coarsen()

    def coarsen(self) -> None:
        """Make the buckets twice as wide."""
        self.width *= 2
        buckets, self.buckets = self.buckets, {}
        for at in sorted(buckets):
            self._put(buckets[at])

    def ordered(self) -> list[Bucket]:
        """The buckets, oldest first."""
        return [self.buckets[at] for at in sorted(self.buckets)]

    def whole(self) -> Bucket:
        """All of it as one bucket."""
        ordered = self.ordered()
        whole = Bucket(ordered[0].at if ordered else 0)
        for bucket in ordered:
            whole.add(bucket)
        return whole

    def _put(self, bucket: Bucket) -> None:
        at = bucket.at // self.width * self.width
        there = self.buckets.get(at)
        if there is None:
            there = self.buckets[at] = Bucket(at)
        there.add(bucket)
