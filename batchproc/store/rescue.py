"""The disk fails: answers that still come are paid for, so each goes wherever there is room for it."""

from __future__ import annotations

from batchproc.core.order import InOrder
from batchproc.errors import DiskFailed
from batchproc.model import Result
from batchproc.store.checkpoint import result_record
from batchproc.store.files import AppendFile
from batchproc.store.journal import Journal


class Rescue:
    """Saves results one by one: in the checkpoint or, for the one whose turn it is, in the output.

    The two may be on different disks, and a small result may fit where a large one does not. `in_step`: the output
    holds all that `order` says it holds, so that it can be appended to.
    """

    def __init__(self, journal: Journal, output: AppendFile, order: InOrder) -> None:
        self.in_step = True
        self._journal = journal
        self._output = output
        self._order = order

    async def save(self, results: list[Result]) -> list[Result]:
        """Save these; returns those that found no place. The caller holds the journal's lock."""
        return [r for r in results if not await self._in_checkpoint(r) and not await self._in_output(r)]

    async def sync(self) -> None:
        """Make durable what can be made so, and put back what was removed."""
        for file in (self._journal.file, self._output):
            try:
                file.put_back()
                await file.sync()
            except DiskFailed:
                pass  # what ended the run is the one to tell

    async def _in_checkpoint(self, r: Result) -> bool:
        if not self._output.durable:
            return False  # results go to standard output: the checkpoint is a temporary file
        try:
            await self._journal.append(result_record(r))
        except DiskFailed:
            return False
        return True

    async def _in_output(self, r: Result) -> bool:
        if not self.in_step or r.index != self._order.next_index:
            return False
        try:
            await self._output.append(r.line)
        except DiskFailed:
            self.in_step = False
            return False
        self._order.advance()
        return True
