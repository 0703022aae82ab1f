"""One limit that several runs share, as one of them sees it: what it holds of it, by leases."""

from __future__ import annotations

from batchproc.core.evidence import Grain
from batchproc.core.tracker import CapacityTracker, Kind, Stamp
from batchproc.lease import LEASE_S
from batchproc.model import RateSeen

ASKED_S = 1.0  # until then the answer to an asking is there, or nothing can be sent anyway
_DAY_SHARE = 0.002  # a lease of a limit per day that has no limit per minute beside it
_LONG_S = 3600.0
_NEVER = float("inf")


class Leased(CapacityTracker):
    """A tracker whose level is filled by leases instead of by time. `limit` is that of all runs together.

    It follows no window and learns nothing from headers but a lower limit: these tell of all runs at once. Nor can it
    be seen in them by which rule a server charges, unless this run is the only one (`alone`) and begins on an untouched
    bucket.
    """

    def __init__(self, limit: float, *, window_s: float = 60.0) -> None:
        self.given = self.limit = float(limit)  # as this run was told; as it holds
        self.window_s = window_s
        self.rate = self.limit / window_s
        self.burst_s = None
        self.kind = Kind.UNKNOWN  # for good: what it would be taken for does not show
        self.alone = False
        self.balance = 0.0  # what may be taken now; negative: more was used than was leased
        self.pending = 0.0  # booked, and not in force before `due`
        self.due = _NEVER
        self.need = 0.0  # of the job that waits
        self.lower = 0.0  # a limit that the server named and the store does not know yet
        self.offline = 0.0  # taken while the store was lost
        self.sibling: Leased | None = None  # of a limit per day: that per minute

    @property
    def burst(self) -> float:
        """What is held."""
        return self.balance

    @property
    def capacity(self) -> float:
        """What a server holds that is untouched."""
        return self.limit

    def target(self, workers: int) -> float:
        """How much one of so many workers leases at once."""
        if self.window_s < _LONG_S:
            return self.rate * LEASE_S / workers
        return self.sibling.target(workers) if self.sibling is not None else self.limit * _DAY_SHARE / workers

    def collect(self, now: float) -> None:
        """What is due comes into force."""
        if now >= self.due:
            self.balance += self.pending
            self.pending, self.due = 0.0, _NEVER

    def lacks(self, amount: float) -> bool:
        """Whether a job of this amount does not fit what is held."""
        return amount > self.balance + 1e-9

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; a guess where it is not leased yet."""
        if amount <= self.balance + 1e-9:
            return 0.0
        return max(1e-3, self.due - now) if self.due < _NEVER else ASKED_S

    def take(self, amount: float, now: float) -> Stamp:
        """Take from what is held; more than there is leaves a debt, which the next lease pays."""
        self.balance -= amount
        return _TAKEN

    def returned(self, stamp: Stamp) -> None:
        """Nothing hangs on it."""

    def give_back(self, amount: float, now: float, stamp: Stamp | None = None) -> None:
        """Hold so much again (less, where negative)."""
        self.balance += amount

    def accepted(self, now: float, stamp: Stamp) -> None:
        """Nothing to learn."""

    def refused(self, amount: float, now: float, stamp: Stamp, wait_s: float | None) -> None:
        """The pause is for all: see SharedCapacity."""

    def told(self, seen: RateSeen, stamp: Stamp, now: float) -> None:
        """A server's own limit holds where it is lower."""
        day = seen.reset_s is not None and seen.remaining > 0 and seen.reset_s > self.window_s * 1.05 + 1.0
        if seen.limit < self.limit and not day:
            self.resize(seen.limit, now)

    def resize(self, limit: float, now: float) -> None:
        """The server named another limit."""
        if limit < self.limit:
            self.lower = float(limit)
            self.now_is(limit)

    def now_is(self, limit: float) -> None:
        """The limit is this for all runs."""
        self.limit = float(limit)
        self.rate = self.limit / self.window_s

    def charged_before(self, amount: float, ago_s: float, now: float) -> None:
        """The store knows of it."""

    def begin_at(self, remaining: float, now: float) -> None:
        """The store knows what is left."""

    def level(self, now: float) -> float:
        """What is held."""
        return self.balance


_TAKEN = Stamp(0.0, 0.0, 0.0, Grain(0.0, 0.0))
