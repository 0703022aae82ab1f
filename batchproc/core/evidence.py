"""What is left of a limit, by what the answers' headers said: as of when each request was admitted.

An answer's `remaining` holds for the instant at which its request was admitted, about when it was sent: what was
charged after it is to be taken off, what was refilled since is to be added. Requests sent close together may overtake
each other on their way, so an answer may not know of one that was sent before it. Therefore sends are gathered in
grains of time; of the grains around the newest send that was answered, the answer that leaves least is believed, less
what is still under way there, less all that was sent later.
"""

from __future__ import annotations

from collections import deque

_GRAIN_S = 0.025
_OVERTAKE_S = 0.25  # requests sent further apart than this mostly arrive in order
_LATE_S = 2.0  # and certainly then: a new connection, a busy machine, may take that long
_NOTHING = float("inf")


class Grain:
    """Requests sent within a fortieth of a second."""

    __slots__ = ("at", "least", "total", "under_way")

    def __init__(self, at: float, total: float) -> None:
        self.at = at
        self.total = total  # all that was charged by the end of the grain
        self.under_way = 0.0
        self.least = _NOTHING  # least that an answer left, less the refill until its request was sent


class Evidence:
    """The newest grains of one limit."""

    def __init__(self) -> None:
        self._grains: deque[Grain] = deque()
        self._newest: Grain | None = None  # of the requests whose answers are in

    def sent(self, amount: float, total: float, now: float) -> Grain:
        """A request goes out, after which `total` is charged; keep the grain until its answer comes."""
        grains = self._grains
        if not grains or now - grains[-1].at >= _GRAIN_S:
            grains.append(Grain(now, total))
            if self._newest is not None:
                oldest = self._newest.at - _LATE_S
                while grains[0].at < oldest:
                    grains.popleft()
        grain = grains[-1]
        grain.total = total
        grain.under_way += amount
        return grain

    def took_nothing(self, grain: Grain, amount: float) -> None:
        """A charge of this grain is undone."""
        for other in self._grains:
            if other.at >= grain.at:
                other.total -= amount

    def told(self, grain: Grain, at: float, remaining: float, rate: float) -> bool:
        """An answer to a request of this grain, sent at `at`; False if it is too old to matter."""
        newest = self._newest
        if newest is None or grain.at > newest.at:
            self._newest = grain
        elif grain.at < newest.at - _OVERTAKE_S:
            return False
        grain.least = min(grain.least, remaining - rate * at)
        return True

    @property
    def newest_at(self) -> float:
        """When the newest answered request was sent; long ago if there is none."""
        return self._newest.at if self._newest is not None else -_NOTHING

    def forget(self) -> None:
        """Another window has begun: what was said of the last one holds no more."""
        for grain in self._grains:
            grain.least = _NOTHING

    def left(self, now: float, total: float, rate: float, own: float) -> float:
        """What is left at `now`, after `total` charged; infinity if no answer has said anything.

        `own` is what is left by our own count. It is corrected upwards only as far as is certain: by what would be
        left if everything that was sent within two seconds before, and is not answered yet, were still to be taken.
        """
        newest = self._newest
        if newest is None:
            return _NOTHING
        least, near, far, oldest = _NOTHING, 0.0, 0.0, newest.at - _OVERTAKE_S
        for grain in self._grains:
            if grain.at > newest.at:
                break
            if grain.at < oldest:
                far += grain.under_way
            else:
                near += grain.under_way
                if grain.least < least:
                    least = grain.least
        left = least + rate * now - (total - newest.total) - near
        return left if left <= own else max(own, left - far)
