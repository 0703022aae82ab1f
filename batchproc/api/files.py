"""A run from Python that keeps the files of the command: output, checkpoint, lock. What they hold is yielded again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Generator

from batchproc.api.delivery import Delivery
from batchproc.api.ledger import result_of
from batchproc.api.result import Result
from batchproc.building.parts import Parts
from batchproc.building.places import check_places
from batchproc.core.order import InOrder
from batchproc.engine.feed import Earlier
from batchproc.engine.run import Ending
from batchproc.engine.watch import Watch
from batchproc.errors import DiskFailed, FilesDoNotFit
from batchproc.model import Position, RawLine
from batchproc.model import Result as Ended
from batchproc.resultline import read_line
from batchproc.settings import RunSettings
from batchproc.store.checkpoint import Told, parse_result
from batchproc.store.files import disk_failed
from batchproc.store.lock import OutputLock
from batchproc.store.opening import OpenedStore, open_store
from batchproc.store.parts import refuse_parts
from batchproc.store.reading import lines_of, read_records
from batchproc.store.recover import answered_digests
from batchproc.store.results import ResultStore
from batchproc.store.timeline import time_record
from batchproc.store.totals import Totals


class WithFiles:
    """Implements `ports.Ledger`: what it is given goes to the files and to the delivery.

    `passed` is called with each job that the engine has looked at: if it was answered before, its result is delivered.
    """

    def __init__(self, opened: OpenedStore, lock: OutputLock, delivery: Delivery, settings: RunSettings) -> None:
        self.store: ResultStore = opened.store
        self.opened = opened
        self._lock = lock
        self._path = settings.output
        self._delivery = delivery
        self._watch: Watch | None = None
        self._written = opened.store.order.next_index
        self._lines: Generator[tuple[int, bytes], None, None] = lines_of(settings.output)
        self._waiting = _read_waiting(opened, settings.checkpoint)
        compared = answered_digests(settings.output) if opened.verify else None
        self.earlier = Earlier(self._written, compared, opened.digests, opened.store.unanswered)
        self.store.tell(Told(time.time(), "run", jobs="-", folder=os.getcwd()))

    @classmethod
    async def open(cls, settings: RunSettings, delivery: Delivery) -> WithFiles:
        """Take the lock and open the files. Raises UsageError, FilesDoNotFit, DiskFailed."""
        check_places(settings)
        refuse_parts(settings.output)
        lock = OutputLock(settings.output)
        lock.acquire()
        try:
            opened = await open_store(
                settings.output, settings.checkpoint, identity=settings.identity(), input_identity=None
            )
            return cls(opened, lock, delivery, settings)
        except BaseException:
            lock.release()
            raise

    def passed(self, raw: RawLine) -> None:
        """Deliver what was answered before."""
        if raw.index < self._written:
            self._delivery.put(self._result_in(next(self._lines)[1] + b"\n", raw.index))
        elif (ended := self._waiting.pop(raw.index, None)) is not None:
            self._delivery.put(result_of(ended))

    def _result_in(self, line: bytes, index: int) -> Result:
        seen = read_line(line)
        if seen is None:
            raise FilesDoNotFit(
                f"line {index + 1} of `{self._path}` is not what batchproc wrote there",
                "put back what was there, or choose another `output`",
            )
        return Result(seen.index, line, seen.usage, failed=seen.code is not None)

    def watch(self, parts: Parts) -> None:
        """Note what these parts do over time, for `batchproc report`."""
        now = asyncio.get_running_loop().time()
        self._watch = Watch(parts.scheduler, parts.pool, parts.feed, self, now=now, size=None, limit=None)
        parts.pool.observers.insert(0, self._watch.on)

    def tick(self) -> None:
        """Note what happened, and give a sign of life to whoever else wants these files."""
        now = asyncio.get_running_loop().time()
        self._note(now)
        self._lock.beat()

    def _note(self, now: float, *, last: bool = False) -> None:
        if self._watch is not None:
            self._watch.snapshot(now)
            width, buckets = self._watch.recorder.take(now, last=last)
            if buckets:
                self.store.notes.add(time_record(width, buckets))

    def ends(self, ending: Ending) -> None:
        """Note how the run ended, for `batchproc status`."""
        self._note(asyncio.get_running_loop().time(), last=True)
        error = ending.error
        why = error.message if error else ending.halt.message if ending.halt and not ending.complete else ""
        code = error.exit_code if error else 5 if why else 3 if self.store.totals.failed else 0
        self.store.tell(Told(time.time(), "stop", why=why, code=code))

    async def release(self) -> None:
        """Close the files, give the lock back."""
        self._lines.close()
        await self.store.close_files()
        self._lock.release()

    # --- the ledger -----------------------------------------------------------------------------------------

    @property
    def totals(self) -> Totals:
        """Of every result that is there."""
        return self.store.totals

    @property
    def order(self) -> InOrder:
        """What waits."""
        return self.store.order

    @property
    def unsaved(self) -> int:
        """Results that could be written nowhere."""
        return self.store.unsaved

    def put(self, result: Ended) -> None:
        """Save the result of a job, and pass it on."""
        self.store.put(result)
        self._delivery.put(result_of(result))

    def sent(self, model: str, index: int, tokens: int) -> None:
        """A request goes out."""
        self.store.sent(model, index, tokens)

    def not_sent(self, index: int) -> None:
        """It never reached the server."""
        self.store.not_sent(index)

    def has(self, index: int) -> bool:
        """Whether this job has its result."""
        return self.store.has(index)

    def position(self, position: Position) -> None:
        """Where a line of the input starts."""
        self.store.position(position)

    async def run(self, failing: Callable[[DiskFailed, bool], None] | None = None) -> None:
        """Write until closed."""
        await self.store.run(failing)

    def close(self, *, done: bool = False) -> None:
        """Let `run` end."""
        self.store.close(done=done)


def _read_waiting(opened: OpenedStore, checkpoint: str) -> dict[int, Ended]:
    """The results that wait in the checkpoint, by index."""
    places = opened.store.order.items()
    if not places:
        return {}
    try:
        fd = os.open(checkpoint, os.O_RDONLY)
        try:
            records = read_records(fd, [where for _, where in places])
        finally:
            os.close(fd)
    except OSError as e:
        disk_failed("reading", checkpoint, e)
    found = {index: parse_result(records[where]) for index, where in places}
    return {index: ended for index, ended in found.items() if ended is not None}
