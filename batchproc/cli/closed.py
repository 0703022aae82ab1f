"""Closing a run for good: a run of what is left in which no job is sent, and each becomes a failed line."""

from __future__ import annotations

import os

from msgspec import structs

from batchproc.cli.assemble import Run
from batchproc.cli.known import identity_of_run, quoted
from batchproc.engine.run import Ending
from batchproc.model import BadJob, Job, RawLine
from batchproc.ports import Parser
from batchproc.snapshot import Summary
from batchproc.store.input import identity_of
from batchproc.store.look import look
from batchproc.store.scan import Marks

NOT_RUN = "not_run"
_MESSAGE = "the run was closed before this job was answered"


class NotRun:
    """Reads lines as another parser does, but lets no job through."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def parse(self, raw: RawLine) -> Job | BadJob:
        """A bad line as what it is, every other as a job that is not run."""
        job = self._parser.parse(raw)
        if isinstance(job, BadJob):
            return job
        return BadJob(job.index, job.line, job.digest, job.custom_id, NOT_RUN, _MESSAGE, job.metadata)


class Finish(Run):
    """See the module's text."""

    sends = False

    def _parser(self) -> Parser:
        return NotRun(super()._parser())

    def _identity(self) -> dict[str, str | None]:
        return identity_of_run(self._settings.checkpoint) or super()._identity()

    def _words(self, summary: Summary, ending: Ending) -> Summary:
        """What it cost is not said: it takes no price list, and `status` tells it."""
        summary = structs.replace(summary, cost_usd=None, cost_lost_usd=None, unpriced=())
        if not ending.complete or not summary.failed:
            return summary
        done = summary.succeeded + summary.failed
        not_run = sum(group.count for group in summary.errors if group.code == NOT_RUN)
        verdict = f"closed: {summary.succeeded:,} of {done:,} jobs are answered, {not_run:,} were not run"
        if summary.failed > not_run:
            verdict += f", {summary.failed - not_run:,} failed"
        only = f" --only {NOT_RUN}" if not_run else ""
        return structs.replace(
            summary, verdict=verdict, next_command=f"batchproc retry {quoted(self._settings.output)}{only}"
        )


def closed_before(output: str, checkpoint: str, marks: Marks, jobs: str | None) -> bool:
    """Whether nothing is left to close, so that the job file need not be there. Raises DiskFailed."""
    if look(output, checkpoint).exit_code == 5 or marks.last is None:
        return False
    told = marks.told.get("run")
    name = jobs if jobs is not None else told.jobs if told is not None else ""
    if marks.last.input is None or name == "-":  # what cannot be entered in the middle is read only where it is given
        return jobs is None
    return not os.path.exists(name) or identity_of(name) == marks.last.input
