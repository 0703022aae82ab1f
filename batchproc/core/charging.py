"""Which rule does a server charge tokens by? Chosen among the known ones, by what its headers say remains.

    prompt   the input alone                                     recorded from OpenAI where no maximum is sent
    max      the larger of the input and the job's own maximum   documented by OpenAI
    sum      both                                                recorded from OpenAI in 2024; Azure documents it

each with the input as tiktoken counts it, or as OpenAI's limiter estimates it: a quarter of the bytes. A factor that
is merely fitted would hide a wrong rule, so there is none. Until a rule is chosen the charge is the input plus the
job's maximum, or what the answers so far suggest where it names none: too much rather than too little.

The evidence: two answers to requests sent at least a second apart. Between them `remaining` fell by the charges, less
what was refilled; what a bucket that was full did not take in says nothing. On a sliding window all that is used is
what was charged within its length. And the first request on an untouched bucket shows its charge exactly.
"""

from __future__ import annotations

from collections import deque
from operator import add, sub

from msgspec import Struct

from batchproc.model import Job

RULES = ("max of bytes/4", "max of tokens", "prompt, bytes/4", "prompt, tokens", "sum, bytes/4", "sum, tokens")
_CLOSE = 0.02  # share by which the right rule may miss: rounding, requests that overtook each other
_APART_S = 1.0
_AGAIN_S = 5.0  # between two looks at a rule that is chosen
_DOUBTFUL = 0.08  # share by which a chosen rule may miss before another is looked for
_LAST_S = 15.0  # by then the best rule is taken, if it misses by less than _FAR
_FAR = 0.15
_FIRST = 8  # answers that may be those to the first request on an untouched bucket
_QUANTA = (1, 60)  # capacity of a bucket: the whole limit, or a second's worth
_GRAIN_S = 0.2  # of what is remembered for a sliding window
_KEEP_S = 120.0


_NEVER = float("inf")


class Totals(Struct, frozen=True, gc=False):
    """What each rule had charged when a request went out at `at`, that request included."""

    at: float
    sums: tuple[float, ...]


def charges_of(job: Job) -> tuple[int, ...]:
    """The charge of a job by each rule, in tokens."""
    cap = job.output_cap or 0
    by_bytes, by_tokens = job.limiter_tokens or job.input_tokens, job.input_tokens
    most_bytes, most_tokens = (cap if cap > by_bytes else by_bytes), (cap if cap > by_tokens else by_tokens)
    return (most_bytes, most_tokens, by_bytes, by_tokens, cap + by_bytes, cap + by_tokens)


class Charging:
    """Chooses the rule of one model. `rule` is an index into RULES, or None while it is not known.

    The choice is looked at again every few seconds: the first jobs may be such that several rules agree on them.
    """

    def __init__(self) -> None:
        self.rule: int | None = None
        self._sums = (0.0,) * len(RULES)
        self._first: tuple[Totals, float] | None = None  # and what remained then
        self._ends = 0.0
        self._answers = 0
        self._log: deque[Totals] = deque()  # of the last minute
        self._looked_at = float("-inf")

    def charge(self, job: Job, reserve: int) -> int:
        """Tokens to charge for a job; `reserve` is the output to expect where it names no maximum."""
        if self.rule is None:
            return job.input_tokens + (job.output_cap if job.output_cap is not None else reserve)
        return charges_of(job)[self.rule]

    def sent(self, job: Job, now: float) -> Totals:
        """A job goes out; keep what this returns until its answer comes."""
        log = self._log
        if not log or now - log[-1].at >= _GRAIN_S:
            log.append(Totals(now, self._sums))
            while log[0].at < now - _KEEP_S:
                log.popleft()
        self._sums = tuple(map(add, self._sums, charges_of(job)))
        return Totals(now, self._sums)

    def first(self, job: Job, limit: float, remaining: float) -> bool:
        """An answer to one of the first requests; True if it shows the rule, its bucket being untouched."""
        if self.rule is not None or self._answers >= _FIRST:
            return False
        self._answers += 1
        charges = charges_of(job)
        for quantum in _QUANTA:
            used = limit // quantum - remaining
            for rule, charge in enumerate(charges):
                if charge > 0 and abs(used - charge) <= 1:
                    self.rule = rule
                    return True
        return False

    def refused(self, job: Job, *, by_tokens: bool) -> None:
        """A job was refused and took no tokens. If it was for its tokens, the rule is in doubt again."""
        self._sums = tuple(map(sub, self._sums, charges_of(job)))
        if by_tokens:
            self.rule = self._first = None

    def told(self, totals: Totals, remaining: float, refill: float, ends: float = 0.0, full: float = _NEVER) -> bool:
        """An answer says what remained when its request was admitted; True if that changes the rule.

        `refill` is what comes back per second: 0 on a server that counts in windows. `ends` is when the window of
        this answer ends, where it is one with an end: what remains in two windows cannot be compared. With `full` or
        more remaining the bucket was full before this request.
        """
        if remaining >= full:
            self._first = None
            return False
        if abs(ends - self._ends) > _APART_S:
            self._ends, self._first = ends, None
        if self._first is None:
            self._first = (totals, remaining)
            return False
        first, remained = self._first
        apart_s = totals.at - first.at
        if apart_s < (_APART_S if self.rule is None else _AGAIN_S):
            return False
        charged = remained - remaining + refill * apart_s
        sums = tuple(b - a for a, b in zip(first.sums, totals.sums, strict=True))
        if charged <= 0 or (self.rule is not None and _miss(sums[self.rule], charged) < _DOUBTFUL):
            self._first = (totals, remaining)  # another window, or a full bucket, or the rule holds
            return False
        if self._choose(sums, charged, _CLOSE) or (apart_s >= _LAST_S and self._choose(sums, charged, _FAR)):
            self._first = (totals, remaining)
            return True
        return False

    def told_sliding(self, totals: Totals, used: float, window_s: float) -> bool:
        """An answer says what was used of a sliding window at its request; True if that changes the rule.

        Looked at once the window is full of charges that are known, and where others have not used it too.
        """
        if totals.at - self._looked_at < (_APART_S if self.rule is None else _AGAIN_S):
            return False
        log, begins = self._log, totals.at - window_s
        while len(log) > 1 and log[1].at <= begins:
            log.popleft()
        if not log or used <= 0:
            return False
        before = log[0].sums
        sums = tuple(b - a for a, b in zip(before, totals.sums, strict=True))
        self._looked_at = totals.at
        if self.rule is not None and _miss(sums[self.rule], used) < _DOUBTFUL:
            return False
        return self._choose(sums, used, _CLOSE)

    def _choose(self, sums: tuple[float, ...], charged: float, close: float) -> bool:
        misses = [_miss(s, charged) for s in sums]
        best = min(range(len(misses)), key=misses.__getitem__)
        if misses[best] > close:
            return False
        # Rules that say (nearly) the same so far are all as good; others must be clearly worse.
        rivals = [m for n, m in enumerate(misses) if abs(sums[n] - sums[best]) > 0.03 * max(sums[n], sums[best])]
        if rivals and min(rivals) < 2 * misses[best] + 0.01:
            return False
        changed = self.rule != best
        self.rule = best
        return changed


def _miss(said: float, charged: float) -> float:
    return abs(said - charged) / max(said, charged, 1.0)
