"""Whether more requests in flight bring more answers, or only make each of them take longer.

By Little's law the answers per second are the number in flight ÷ the mean latency. So latencies, kept by how many
were in flight when their request was sent, tell the throughput at each number; nothing has to be held still for it.
Latencies differ by ten times from job to job, so that each comparison is held against its own standard error.

A server that batches gets slower with each request, and yet does more: only where twice as many in flight bring less
than an eighth more is it a plateau.
"""

from __future__ import annotations

import enum
from math import exp, log, sqrt

_LOWEST = 8  # in flight; fewer are counted with these
_FLAT = log(1.12)  # more than this by doubling is growth
_HARMLESS_S = 0.5  # a queue of less than this harms nobody, and a client short of time looks like one
_LOOK_EVERY = 8  # answers
_ROOM = 1.5  # in flight ÷ slots, so that a queue is never empty
_SAME = 0.95
_MEASURED = 48  # answers that a comparison of two sizes needs, at least
_EPOCHS = 4  # measures between two trials of more


class Latencies:
    """Their sum, that of their squares, and that of the numbers in flight."""

    __slots__ = ("among", "count", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.among = self.total = self.squares = 0.0

    def add(self, among: float, latency_s: float) -> None:
        """One more answer."""
        self.count += 1
        self.among += among
        self.total += latency_s
        self.squares += latency_s * latency_s

    @property
    def mean_s(self) -> float:
        """Mean latency."""
        return self.total / self.count

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.among / self.total if self.total else 0.0

    @property
    def error(self) -> float:
        """Relative standard error of the mean."""
        variance = self.squares / self.count - self.mean_s**2
        return sqrt(max(0.0, variance) / self.count) / self.mean_s if self.total else 0.0


class Curve:
    """The throughput by numbers in flight, in octaves (8 to 15, 16 to 31, …), while a window grows."""

    def __init__(self) -> None:
        self._octaves: dict[int, Latencies] = {}
        self._countdown = _LOOK_EVERY

    def flat(self, among: int, latency_s: float) -> bool:
        """An answer took so long whose request was sent as the `among`-th in flight. True on a plateau."""
        octave = max(_LOWEST, among).bit_length()
        seen = self._octaves.get(octave)
        if seen is None:
            seen = self._octaves[octave] = Latencies()
        seen.add(among, latency_s)
        self._countdown -= 1
        if self._countdown:
            return False
        self._countdown = _LOOK_EVERY
        return self._flat()

    def _flat(self) -> bool:
        top = max((j for j, seen in self._octaves.items() if seen.count >= 2 * _LOOK_EVERY), default=0)
        upper, lower = self._octaves.get(top), self._octaves.get(top - 1)
        if upper is None or lower is None or lower.count < _LOOK_EVERY or upper.mean_s < _HARMLESS_S:
            return False
        more = log(upper.rate / lower.rate)
        wider = log(upper.among / upper.count) - log(lower.among / lower.count)
        error = sqrt(upper.error**2 + lower.error**2)
        return more + error < _FLAT or (more < _FLAT * 2 / 3 and more + 2 * error < wider / 2)

    def settle(self, before: Level, now: float) -> Level:
        """Where to stay: a bit more than what brings as much as the most. `before` is where the growth began."""
        known = {j: seen for j, seen in sorted(self._octaves.items()) if seen.count >= _LOOK_EVERY}
        most = max(seen.rate for seen in known.values())
        knee = next(j for j, seen in known.items() if seen.rate >= _SAME * most)
        unhurried = known.get(knee - 1, known[knee])  # the latency where there is no queue, or hardly one
        size = min(max(_ROOM * most * unhurried.mean_s, 2.0 ** (knee - 1)), 2.0**knee)
        if before.rate:
            gained = max(1.0, most / before.rate)
            size = max(before.size, min(_ROOM * most * unhurried.mean_s, before.size * gained))
        return Level(size, max(seen.mean_s for seen in known.values()), now)


class Trial(enum.Enum):
    """What is measured on a plateau."""

    NONE = "the size itself"
    MORE = "half as much again"
    FEWER = "less than that"


_FACTORS = {Trial.NONE: 1.0, Trial.MORE: 1.5, Trial.FEWER: 0.7}


class Level:
    """A size on a plateau, held against a larger one now and then, and a smaller one when less is answered."""

    def __init__(self, size: float, latency_s: float, now: float = 0.0) -> None:
        self.size = size
        self.rate = 0.0  # answers per second at that size
        self._trial = Trial.NONE
        self._epochs = 0
        self._latency_s = latency_s
        self._begin(Trial.NONE, now)

    def _begin(self, trial: Trial, now: float) -> None:
        self._trial = trial
        self._seen = Latencies()
        self._in_use = self.size * _FACTORS[trial]
        self._from = now + 2 * self._latency_s  # what was sent before must come back first
        self._until = self._from + self._latency_s

    def answered(self, latency_s: float, now: float) -> float | None:
        """An answer took so long. The number to have in flight, or None to grow anew."""
        if now < self._from:
            return self._in_use
        self._seen.add(self._in_use, latency_s)
        if self._seen.count < max(_MEASURED, self._in_use) or now < self._until:
            return self._in_use
        return self._measured(self._seen, now)

    def _measured(self, seen: Latencies, now: float) -> float | None:
        rate, trial = seen.rate, self._trial
        self._latency_s = seen.mean_s
        # Two errors of a difference. In a queue the latencies of neighbours are alike, and seem surer than they are.
        doubt = exp(3 * max(seen.error, 0.5 / sqrt(seen.count)))
        if trial is Trial.NONE:
            if not self.rate:
                self.rate = rate
            if rate > self.rate * max(1.2, doubt):
                return None  # the server does more than it did: see how much
            self._epochs += 1
            if rate < self.rate / max(1.3, doubt):
                # Slots were lost, or the jobs are longer.
                trial = Trial.FEWER if self.size * _FACTORS[Trial.FEWER] >= _LOWEST else Trial.NONE
                self.rate = rate
            else:
                self.rate += 0.3 * (rate - self.rate)
                trial = Trial.MORE if self._epochs >= _EPOCHS else Trial.NONE
        elif trial is Trial.MORE:
            self._epochs = 0
            if rate > self.rate * max(1.1, sqrt(doubt)):
                self.size = self._in_use
                return None
            trial = Trial.NONE
        elif rate > 0.93 * self.rate:
            self.size, self.rate = self._in_use, max(rate, self.rate)
            if self.size * _FACTORS[trial] < _LOWEST:
                trial = Trial.NONE
        else:
            trial = Trial.NONE
        self._begin(trial, now)
        return self._in_use
