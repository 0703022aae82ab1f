"""What the engine needs of the world: each of these is implemented once for real and once for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from batchproc.errors import DiskFailed
from batchproc.lease import Ask, Granted
from batchproc.model import Answer, BadJob, Fault, Job, Position, RateSeen, RawLine, Reply, Result


class Transport(Protocol):
    """Sends one body and brings back what came, whatever that is."""

    async def send(self, path: str, model: str, body: bytes) -> Reply:
        """Send to where the provider serves this path for this model.

        Does not raise for what a network or a server can do.
        """
        ...


class Reader(Protocol):
    """Understands what a provider answers."""

    def read(self, path: str, reply: Reply, wall: float) -> Answer | Fault:
        """What a reply means; `wall` is Unix time."""
        ...

    def rates(self, reply: Reply, wall: float) -> tuple[RateSeen, ...]:
        """What the headers of a reply say of the limits."""
        ...


class Sink(Protocol):
    """Takes results and notes of requests; never waits."""

    def put(self, result: Result) -> None:
        """The result of a job."""
        ...

    def sent(self, model: str, index: int, tokens: int) -> None:
        """A request goes out."""
        ...

    def not_sent(self, index: int) -> None:
        """The request noted last for this job never reached the server."""
        ...


class ResultSink(Sink, Protocol):
    """A sink that remembers: it knows which jobs are answered, and where in the input a resume may begin."""

    def has(self, index: int) -> bool:
        """Whether this job has its result."""
        ...

    def position(self, position: Position) -> None:
        """Where a line of the input starts."""
        ...


class Ordered(Protocol):
    """How many results wait for an earlier one."""

    @property
    def waiting(self) -> int:
        """Results that are there and cannot be written yet."""
        ...


class Counts(Protocol):
    """What the results so far add up to."""

    @property
    def succeeded(self) -> int:
        """Jobs with an answer."""
        ...

    @property
    def failed(self) -> int:
        """Jobs that are given up."""
        ...

    @property
    def input_tokens(self) -> int:
        """As the provider reported them."""
        ...

    @property
    def output_tokens(self) -> int:
        """As the provider reported them."""
        ...


class Ledger(ResultSink, Protocol):
    """The store of a run, as the engine sees it."""

    @property
    def totals(self) -> Counts:
        """Of every result that is there."""
        ...

    @property
    def order(self) -> Ordered:
        """What waits."""
        ...

    @property
    def unsaved(self) -> int:
        """Results that could be written nowhere; known when `run` ended."""
        ...

    async def run(self, failing: Callable[[DiskFailed, bool], None] | None = None) -> None:
        """Write what is put, until closed; then raise DiskFailed where the disk failed meanwhile.

        `failing` is told when it does, with whether results that still come may be saved.
        """
        ...

    def close(self, *, done: bool = False) -> None:
        """Let `run` end once everything is written."""
        ...


class Parser(Protocol):
    """Understands a line of the input."""

    def parse(self, raw: RawLine) -> Job | BadJob:
        """Never raises for what a line can contain."""
        ...


class Shelf(Protocol):
    """Lines put aside on disk, first in, first out."""

    def __len__(self) -> int: ...

    def put(self, raw: RawLine) -> None:
        """Put a line aside."""
        ...

    def take(self, most: int) -> list[RawLine]:
        """At most so many, the first put aside first."""
        ...

    def close(self) -> None:
        """Drop what is there."""
        ...


class Weigher(Protocol):
    """Counts tokens; `exact` says whether it really counts, or goes by the size of a body."""

    exact: bool

    def preload(self, model: str) -> None:
        """Load what counting needs for this model; may take a moment."""
        ...

    def at_most(self, path: str, body: bytes) -> tuple[int, int, int | None, int] | None:
        """What a body weighs at most, at once; None where `weigh` is as quick, or no bound is known."""
        ...

    def count_exactly(self, model: str) -> None:
        """Count from now on, beginning with this model; may take a moment."""
        ...

    def weigh(self, path: str, model: str, body: bytes) -> tuple[int, int, int | None, int]:
        """Input tokens; the same as a limiter estimates them; the job's own maximum of output (None: none); its n."""
        ...

    async def weigh_long(self, path: str, model: str, body: bytes) -> tuple[int, int, int | None, int]:
        """The same, off the event loop."""
        ...


class QuotaStore(Protocol):
    """Keeps the quotas that several runs share."""

    async def open(self) -> None:
        """Raises UsageError where it cannot be used."""
        ...

    async def exchange(self, asks: Sequence[Ask]) -> list[Granted]:
        """Lease, give back, hold, give signs of life: all of it in one round trip. Raises QuotaLost."""
        ...

    async def probe(self) -> None:
        """Whether a store that was lost is there again. Raises QuotaLost."""
        ...

    async def close(self) -> None:
        """Nothing more will be asked."""
        ...
