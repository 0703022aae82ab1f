"""How many requests may be in flight in a lane, where the server does not say it.

Two things end the growth of a window. A server without a queue refuses what it has no slot for. One with a queue
refuses nothing: there more in flight only makes each answer take longer (`plateau.py`).

    GROWING    one more place with each answer, so twice as many each round trip, while all of them are in use
    STANDING   after a refusal: now and then a few places are tried on top
    LEVEL      on a plateau: now and then more, or fewer, are tried, and what comes of it is measured

`ground` is the number that has passed: a whole round trip at it brought no refusal. What is above it is on trial. A
refusal while something is on trial says «too many at once» and takes the trial back; so do the refusals of what was
sent before that. The next trial comes after PATIENCE answers, with one place, then 2, 4, 8 … as long as they pass.
That is one refusal in so many answers where the number is right, and soon GROWING again where slots were added.

A refusal with nothing on trial closes its place until the next trial. When over 30% of the last 20 answers were
refusals the ground itself is cut, to half of it or what is in flight, once a round trip. Where a quarter of the places
is closed and refusals come all the same, they have other reasons: the places are opened again, and the window is
*tolerant*. Then a single refusal changes nothing, and the usual share of them (`_noise`) ends no trial.
"""

from __future__ import annotations

import enum
from collections import deque

from batchproc.core.plateau import Curve, Level

FIRST = 8  # in flight before the first answer is in, whatever is asked for
MOST = 1000
PATIENCE = 80  # answers between a trial that failed and the next; it begins with an eighth of it, and doubles
_LAST = 20  # answers looked at for a cut
_TOO_MANY = 0.3  # share of them that says the server is overloaded
_MANY_PLACES = 8.0  # a trial of more places than these that passed is growth again
_NOISE_OVER = 100.0  # answers
_NOISE_FIRST = 0.05
_QUIET = 0.003
_ALLOWED = 3.0  # refusals in a row that a trial may have, if such come anyway


class Phase(enum.Enum):
    """See the module's text."""

    GROWING = "growing"
    STANDING = "standing"
    LEVEL = "level"


class Window:
    """The number of requests a lane may have in flight.

    `fixed` is used as soon as the first answer is in, and only refusals lower it; None starts at FIRST and finds out,
    up to MOST.
    """

    def __init__(self, fixed: int | None) -> None:
        self._most = float(fixed if fixed is not None else MOST)
        self._fixed = fixed
        self.size = min(float(FIRST), self._most)
        self.phase = Phase.GROWING
        self._begun = False  # a fixed number has been tried
        self._ground = 1.0
        self._set_at = float("-inf")  # what is sent from here on tries `_tried`
        self._tried = self.size
        self._step = 1.0
        self._patience = PATIENCE / 8
        self._since = 0  # answers since the last trial began or failed
        self._lowered_at = float("-inf")
        self._recent: deque[bool] = deque(maxlen=_LAST)
        self._held = self.size  # the ground before refusals closed places of it
        self._tolerant = False  # it was shown that refusals do not depend on how many are in flight
        self._noise = self._allowance = 0.0
        self._curve = Curve()
        self._level = Level(self.size, 0.0)

    def has_room(self, in_flight: int) -> bool:
        """Whether one more request may go out."""
        return in_flight < int(self.size)

    def answered(self, in_flight: int, among: int, sent_at: float, now: float, *, worked: bool = True) -> None:
        """An answer came that is no overload.

        `in_flight` counts its request too; `among` is how many were in flight when that was sent, itself included.
        `worked` is False for what took the server no time (an error of the job's own).
        """
        self._recent.append(False)
        if self._tolerant:
            self._heard(False)
        if sent_at >= self._set_at:
            self._passed(now)
        if in_flight < int(self.size):
            return  # not in use: neither growth nor measure
        if self.phase is Phase.GROWING:
            self._grow(among, now - sent_at if worked else 0.0, now)
        elif self.phase is Phase.STANDING:
            self._since += 1
            if self._since >= self._patience and self.size <= self._ground < self._most:
                self._try(self._step, now)
        elif worked:
            self._follow(now - sent_at, now)

    def overloaded(self, in_flight: int, sent_at: float, now: float) -> bool:
        """The server refused a request because it has too much to do; `in_flight` counts it too.

        True if that is because so many were in flight: nothing is wrong with the job or the server.
        """
        if sent_at <= self._lowered_at:  # it is of the same round trip, and says more exactly what the server holds
            self.size = max(self._ground, min(self.size, in_flight - 1.0))
            return True
        self._recent.append(True)
        if self._tolerant:
            self._heard(True)
        over = sum(self._recent) > _TOO_MANY * _LAST
        if self._fixed is not None and not self._begun and not over:
            return True  # the number that was asked for is tried before it is doubted
        if self.size > self._ground:
            if self._tolerant and self._allowance >= 1.0 and not over:
                self._allowance -= 1.0
                return False
            self._lower(max(self._ground, min(self.size, in_flight) - 1.0), now)
        elif over:
            self._ground = max(1.0, self.size / 2)
            self._lower(max(self._ground, min(self.size, in_flight) - 1.0), now)
            self._held = self.size
            self._tolerant, self._patience = False, PATIENCE / 8
        else:
            return self._closed(now)
        return True

    def _closed(self, now: float) -> bool:
        """A refusal with nothing on trial: take its place away, to see whether that is the reason."""
        if self.phase is Phase.LEVEL or self._tolerant or self.size < 2:
            return False
        if self.size - 1 < min(0.75 * self._held, self._held - 2):
            self.size = self._tried = self._ground = self._held  # it is not: as many are refused with fewer in flight
            self._tolerant, self._noise = True, _NOISE_FIRST
            return False
        self.size = self._tried = self._ground = self.size - 1
        self._set_at, self._step, self._since = now, 1.0, 0
        return True

    def restart(self) -> None:
        """The server is back after an outage: start slowly again."""
        self.size = min(self.size, float(FIRST))
        self._ground = min(self._ground, self.size)
        self._set_at = float("-inf")
        self._begin_growing()

    # --- refusals --------------------------------------------------------------------------------------------

    def _heard(self, refused: bool) -> None:
        """Keep the share of refusals that come anyway, and what a trial may have of them."""
        self._allowance = min(_ALLOWED, self._allowance + 2.0 * self._noise)
        if self.size <= self._ground:
            self._noise += (refused - self._noise) / _NOISE_OVER
            self._tolerant = self._noise > _QUIET

    def _passed(self, now: float) -> None:
        """Something was answered that was sent with `_tried` places: they have passed."""
        passed = min(self._tried, self.size)
        self._set_at, self._tried = now, self.size
        if passed <= self._ground:
            return
        self._ground = passed
        if self._fixed is not None and not self._begun:
            self._begun = True
            self.phase = Phase.STANDING
            self._try(self._most, now)
        elif self.phase is Phase.STANDING:
            self._step *= 2.0
            if self._step > _MANY_PLACES and self._fixed is None:
                self._begin_growing()
            else:
                self._try(self._step, now)

    def _try(self, places: float, now: float) -> None:
        self._since = 0
        self._held = self._ground
        self.size = self._tried = min(self._most, self._ground + places)
        self._set_at = now

    def _lower(self, size: float, now: float) -> None:
        self.size = self._tried = size
        self._set_at = self._lowered_at = now
        if self.phase is Phase.STANDING:
            self._patience = min(PATIENCE, 2 * self._patience)
        self.phase = Phase.STANDING
        self._step, self._since = 1.0, 0
        self._begun = True
        self._level = Level(size, 0.0)  # what was measured before says nothing of this
        self._recent.clear()

    # --- throughput ------------------------------------------------------------------------------------------

    def _grow(self, among: int, latency_s: float, now: float) -> None:
        if self.size < self._most:
            self.size = min(self._most, self.size + 1.0)
        if latency_s and self._fixed is None and self._curve.flat(among, latency_s):
            self._level = self._curve.settle(self._level, now)
            self.phase = Phase.LEVEL
            self._set(self._level.size, now)

    def _begin_growing(self) -> None:
        self.phase = Phase.GROWING
        self._patience = PATIENCE / 8
        self._curve = Curve()

    def _follow(self, latency_s: float, now: float) -> None:
        wanted = self._level.answered(latency_s, now)
        if wanted is None:
            self._begin_growing()
        elif wanted != self.size:
            self._set(wanted, now)

    def _set(self, size: float, now: float) -> None:
        self.size = self._tried = min(self._most, size)
        self._set_at = now
