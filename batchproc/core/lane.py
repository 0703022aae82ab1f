"""A lane: the jobs of one endpoint and model, first come, first served; and what is known of its server.

Outage. A lane is *out* when a connection cannot be made, or when nothing but 5xx has come for OUT_AFTER_S from
at least three different jobs (a single job that always fails is that job's own fault, not an outage). A lane
that is out sends one probe at a time, after 1, 2, 4 … 30 s; whatever the server then answers that is not such a
failure ends the outage, and what the jobs went through meanwhile is not counted against them.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from batchproc.core.charging import Totals
from batchproc.core.concurrency import Window
from batchproc.core.tracker import Stamp
from batchproc.model import Demand, Job

OUT_AFTER_S = 10.0
_PROBE_FIRST_S = 1.0
_PROBE_MOST_S = 30.0
_DIFFERENT = 3


class Ticket:
    """A job on its way: what has been tried so far."""

    __slots__ = (
        "among",
        "attempts",
        "crowded",
        "demand",
        "first_strike_at",
        "job",
        "probe",
        "sent_at",
        "stamps",
        "strikes",
        "timeouts",
        "totals",
    )

    def __init__(self, job: Job, attempts: int = 0) -> None:
        self.job = job
        self.attempts = attempts  # requests sent, over all runs
        self.strikes = 0
        self.crowded = 0  # refusals for «too many at once»
        self.timeouts = 0
        self.first_strike_at = 0.0
        self.sent_at = 0.0
        self.among = 1  # requests in flight in the lane when it was sent, itself included
        self.demand = Demand(1, 0)
        self.stamps: tuple[Stamp | None, ...] = ()  # of its charges
        self.totals: Totals | None = None  # what each rule had charged by then
        self.probe = False


class Lane:
    """The queue of one (path, model)."""

    def __init__(self, path: str, model: str, window: Window) -> None:
        self.path = path
        self.model = model
        self.window = window
        self.in_flight = 0
        self.queue: deque[Ticket] = deque()
        self._due: list[tuple[float, int, Ticket]] = []  # retries that are not due yet
        self._again: list[tuple[int, Ticket]] = []  # retries that are due, by index
        self.last_good_at = float("-inf")
        self.out_since: float | None = None
        self.out_why = ""
        self.probe_at = 0.0
        self._probe_wait_s = _PROBE_FIRST_S
        self._probing = False
        self._failing: set[int] = set()  # jobs with a 5xx since the last good answer
        self._failing_since = 0.0
        self.timed_out = 0  # jobs that ended by time-out while none ended otherwise
        self.ended_otherwise = False
        self.too_large_from: float = float("inf")  # smallest estimate, in tokens, that was refused as too large
        self.scale = 0.0  # least (server's count / our estimate) seen in such refusals; 0 while there was none

    # --- the queue -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.queue) + len(self._due) + len(self._again)

    @property
    def waiting_retries(self) -> int:
        """Jobs that wait to be sent again."""
        return len(self._due) + len(self._again)

    def requeue(self, ticket: Ticket, due: float) -> None:
        """Send this job again, not before `due`."""
        heappush(self._due, (due, ticket.job.index, ticket))

    def head(self, now: float) -> Ticket | None:
        """The job whose turn it is: a retry that is due before a fresh job, the lowest index first."""
        while self._due and self._due[0][0] <= now:
            _, index, ticket = heappop(self._due)
            heappush(self._again, (index, ticket))
        if self._again:
            return self._again[0][1]
        return self.queue[0] if self.queue else None

    def pop(self) -> None:
        """Take the head, as last seen by `head`."""
        if self._again:
            heappop(self._again)
        else:
            self.queue.popleft()

    def next_due(self) -> float:
        """When the next retry becomes due; infinity if none waits."""
        return self._due[0][0] if self._due else float("inf")

    # --- the server ----------------------------------------------------------------------------------------

    def answered(self, ticket: Ticket, in_flight: int, now: float, *, worked: bool = False) -> None:
        """The server is there and works: that ends an outage, and lets the lane grow. See `Window.answered`."""
        self.ended_otherwise = True
        if self.good(now):
            self.window.restart()
        self.window.answered(in_flight, ticket.among, ticket.sent_at, now, worked=worked)

    def out_s(self, now: float, most_s: float) -> float:
        """Seconds until an outage has lasted `most_s`, at most 0 once it has; infinity without an outage."""
        return self.out_since + most_s - now if self.out_since is not None else float("inf")

    def good(self, now: float) -> bool:
        """The server answered something that is no 5xx. True if that ends an outage."""
        was_out = self.out_since is not None
        self.last_good_at = now
        self.out_since = None
        self._probe_wait_s = _PROBE_FIRST_S
        self._failing.clear()
        return was_out

    def unreachable(self, now: float, why: str) -> bool:
        """No connection could be made. True if that begins an outage."""
        return self._out(now, now, why)

    def failing(self, ticket: Ticket, now: float, why: str) -> bool:
        """A 5xx or a broken connection came. True if it shows an outage."""
        if ticket.first_strike_at > self.last_good_at:
            if not self._failing:
                self._failing_since = now
            self._failing.add(ticket.job.index)
        if self.out_since is not None:
            return self._out(now, self.out_since, why)
        silent = len(self._failing) >= _DIFFERENT and now - self._failing_since >= OUT_AFTER_S
        return self._out(now, self._failing_since, why) if silent else False

    def _out(self, now: float, since: float, why: str) -> bool:
        begins = self.out_since is None
        self.out_why = why
        if begins:
            self.out_since = since
            self._probe_wait_s = _PROBE_FIRST_S
            self.probe_at = now + self._probe_wait_s
        return begins

    def may_probe(self, now: float) -> float:
        """Seconds until a lane that is out may send its next probe; infinity while one is under way."""
        return float("inf") if self._probing else max(0.0, self.probe_at - now)

    def probe_sent(self) -> None:
        """A probe goes out."""
        self._probing = True

    def probe_ended(self, now: float) -> None:
        """The probe came back, with whatever result."""
        self._probing = False
        self._probe_wait_s = min(_PROBE_MOST_S, self._probe_wait_s * 2)
        self.probe_at = now + self._probe_wait_s

    def forgive(self) -> None:
        """What the waiting jobs went through in an outage is not counted against them."""
        for waiting in (self._due, self._again):
            for entry in waiting:
                ticket = entry[-1]
                if ticket.first_strike_at > self.last_good_at:
                    ticket.strikes = 0

    def surely_too_large(self, tokens: int, limit: float) -> bool:
        """Whether the server would refuse a job of this estimate, going by what it refused before."""
        return tokens >= self.too_large_from or tokens * self.scale > limit * 1.05
