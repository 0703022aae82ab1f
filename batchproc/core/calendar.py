"""A server that counts from one known instant to the next: when, and how much in between, its answers tell."""

from __future__ import annotations

from batchproc.core.evidence import Evidence, Grain
from batchproc.core.windows import Fixed

_STEADY_S = 0.3  # how far the end of a window may seem to move
_DRIFT_S = 0.01  # and by how much it may come earlier from one window to the next
_NEVER = float("-inf")


class Calendar(Fixed):
    """Windows whose end and content are corrected by what answers say of them.

    `told_ends` is the end that was last told, if any; what a window holds is watched from the one after it on.
    """

    __slots__ = ("_first_ends", "_held", "_longest_s", "_told_ends")

    def __init__(self, limit: float, ends: float, period_s: float, used: float, *, told: bool) -> None:
        super().__init__(limit, ends, period_s, used)
        self._longest_s = period_s + _STEADY_S
        self._held = (0.0, 0.0)  # (end of a window, the most that it seems to have held)
        self._told_ends = ends if told else _NEVER
        self._first_ends = ends + _STEADY_S if told else float("inf")

    def not_yet(self, wait_s: float, now: float) -> bool:
        """See Fixed; the instant is remembered."""
        if not super().not_yet(wait_s, now):
            return False
        self._told_ends = self.ends
        return True

    def told(
        self,
        remaining: float,
        reset_s: float | None,
        sent: tuple[float, float, Grain],
        now: float,
        *,
        total: float,
        most: float,
        evidence: Evidence,
    ) -> None:
        """The answer to a request that was `sent` (at, all that was charged by then, its grain) says so much.

        `total` is what is charged by now; `most` is the limit.
        """
        at, charged, grain = sent
        if reset_s is not None:
            if at + reset_s <= now:
                return  # it speaks of a window that is over
            self._told_ends = self.ends = self._end_of(at + reset_s)
        # What this window held when it began: requests that overtook others make it look less.
        if abs(self.ends - self._held[0]) > _STEADY_S:
            if 0 < self._held[1] < 0.95 * most:
                self.limit = min(self.limit, self._held[1])
            self._held = (self.ends, 0.0)
            evidence.forget()
        if self.ends > self._first_ends:
            self._held = (self.ends, max(self._held[1], remaining + self.used - (total - charged)))
        if evidence.told(grain, at, remaining, 0.0):
            self.set_left(evidence.left(now, total, 0.0, self.left(now)), now)

    def _end_of(self, ends: float) -> float:
        """When a window ends that is told to end at `ends`.

        The slower its way to the server, the earlier an answer makes the end look: of what was told of this window,
        and of the ones before, the latest is believed.
        """
        passed_s = ends - self._told_ends
        if passed_s == float("inf"):
            return ends
        if _STEADY_S < passed_s < self._longest_s:
            whole_s = max(1.0, round(passed_s))
            self.period_s = whole_s if abs(passed_s - whole_s) <= _STEADY_S else passed_s
        windows = round(passed_s / self.period_s)
        expected = self._told_ends + windows * self.period_s - (_DRIFT_S if windows else 0.0)
        return max(ends, expected) if abs(ends - expected) <= _STEADY_S else ends
