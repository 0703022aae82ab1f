"""What the scheduler answers: to a free worker that asks for work, and to one that reports what came of it."""

from __future__ import annotations

import enum

from msgspec import Struct

from batchproc.core.lane import Ticket
from batchproc.model import Answer, Fault


class HaltKind(enum.Enum):
    """Why a run stops before its end."""

    REFUSED = "refused by the provider"
    MAX_WAIT = "waited longer than --max-wait"
    FAIL_OVER = "too many failures"
    STOP_AFTER = "--stop-after"
    TIMEOUTS = "nothing but time-outs"
    INTERRUPTED = "interrupted"
    INPUT = "the input cannot be read on"
    BUDGET = "the budget is spent"
    UNBOUNDED = "the worst case of a job is not known"
    DISK = "the disk fails"
    QUOTA = "the quota's store is lost"


class Halt(Struct, frozen=True):
    """Send nothing any more."""

    kind: HaltKind
    message: str
    hint: str | None = None


class Grant(Struct, frozen=True, gc=False):
    """Send this job now."""

    ticket: Ticket


class Unsent(Struct, frozen=True, gc=False):
    """The job fails without (another) request."""

    ticket: Ticket
    code: str
    message: str


class Wait(Struct, frozen=True, gc=False):
    """Nothing may be sent for `seconds`; `why` is for people."""

    seconds: float
    why: str


class Idle(Struct, frozen=True):
    """Nothing to send until something happens."""


class Done(Struct, frozen=True):
    """No job is left."""


class Ended(Struct, frozen=True, gc=False):
    """The job has its result: an Answer, or the Fault it is given up for, with code and message of our own."""

    ticket: Ticket
    outcome: Answer | Fault
    code: str | None = None
    message: str | None = None


class Requeued(Struct, frozen=True, gc=False):
    """The job is sent again after `wait_s`."""

    ticket: Ticket
    fault: Fault
    wait_s: float


class Left(Struct, frozen=True, gc=False):
    """The job stays unanswered."""

    ticket: Ticket
    fault: Fault


IDLE, DONE = Idle(), Done()
