"""What happened, one frozen record per kind. Counting, display and logs all listen to these.

An observer is any callable that takes an event; it must not raise and must not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from batchproc.model import FaultKind, Usage


class RequestSent(Struct, frozen=True, gc=False):
    """A request goes out. `at` in seconds of the run's steady clock, `tokens` as charged."""

    at: float
    model: str
    index: int
    tokens: int


class RequestEnded(Struct, frozen=True, gc=False):
    """A request came back after `latency_s`; `kind` is None for an answer."""

    at: float
    model: str
    index: int
    latency_s: float
    kind: FaultKind | None
    usage: Usage


class JobEnded(Struct, frozen=True, gc=False):
    """A job has its result; `code` is None for a success. `attempts` requests were sent for it, over all runs."""

    at: float
    index: int
    line: int
    code: str | None
    message: str
    attempts: int = 0


class JobRequeued(Struct, frozen=True, gc=False):
    """A job is sent again after `wait_s`."""

    at: float
    model: str
    index: int
    line: int
    kind: FaultKind
    message: str
    wait_s: float


class OutageBegan(Struct, frozen=True, gc=False):
    """The server of a lane cannot be reached, or answers with nothing but 5xx."""

    at: float
    model: str
    why: str


class OutageEnded(Struct, frozen=True, gc=False):
    """It answers again, after so many seconds."""

    at: float
    model: str
    lasted_s: float


class Stopping(Struct, frozen=True, gc=False):
    """Nothing is sent any more; what is in flight is awaited for at most `drain_s`."""

    at: float
    why: str
    in_flight: int
    drain_s: float


class Note(Struct, frozen=True, gc=False):
    """Something worth a line: a repaired file, a learnt limit."""

    at: float
    text: str


Event: TypeAlias = RequestSent | RequestEnded | JobEnded | JobRequeued | OutageBegan | OutageEnded | Stopping | Note
Observer: TypeAlias = Callable[[Event], None]
