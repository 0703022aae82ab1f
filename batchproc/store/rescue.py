"""The disk fails: answers that still come are paid for, so each goes wherever there is room for it.

So do those that a failed fsync may have lost: they can still be read, but another fsync would not write them. Lines of
the output are written again as records of the checkpoint, and cut off the output once these are durable; the next run
puts them back. Records of the checkpoint are written again behind the others.
"""

from __future__ import annotations

from batchproc.core.order import InOrder
from batchproc.errors import DiskFailed
from batchproc.model import Result
from batchproc.resultline import read_line
from batchproc.store.checkpoint import parse_result, result_record
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

    async def begin(self) -> None:
        """The disk has failed just now: what may be lost is made safe before what is in flight is awaited."""
        async with self._journal.writing:
            await self._again()

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
        await self._again()

    async def _again(self) -> None:
        """Write again what a failed fsync may have lost. The caller holds the journal's lock."""
        output, journal = self._output, self._journal
        lost: list[Result] = []
        if journal.file.unsure:
            records = await journal.file.written_since(journal.file.synced)
            found = map(parse_result, records.split(b"\n"))
            lost = [r for r in found if r is not None and r.index >= self._order.next_index]
        if output.unsure:
            self.in_step = False  # the next line would stand behind a gap
            for line in (await output.written_since(output.synced)).split(b"\n"):
                seen = read_line(line)
                if seen is not None and seen.digest is not None:
                    as_it_is = (seen.code, seen.index + 1, seen.message, seen.usage, seen.model)
                    lost.append(Result(seen.index, seen.digest, line + b"\n", *as_it_is))
        if not lost or len(await self.save(lost)):
            return
        try:
            await journal.sync()
        except DiskFailed:
            return  # what stands in two places may survive in one
        journal.file.is_durable()
        if output.unsure:
            output.cut_back()

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
