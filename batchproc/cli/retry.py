"""`batchproc retry OUTPUT`: options in, exit code out."""

from __future__ import annotations

from typing import Any

import click

from batchproc.cli.helping import Helpful
from batchproc.cli.params import FILE
from batchproc.cli.run import run, settings_of

_NOT_FOR_A_RETRY = {
    "jobs",
    "output",
    "fresh",
    "yes",
    "limit",
    "adopt",
    "print_config",
    "shard",
    "engine",
    "workers",
    "shards",
    "ray_address",
}

_EPILOG = """\b
Examples:
  batchproc retry jobs.results.jsonl --rpm 3500 --tpm 90000
  batchproc retry jobs.results.jsonl --only request_timeout --only not_run --timeout 1200
  batchproc retry jobs.results.jsonl --jobs corrected.jsonl      failed jobs may have been corrected

Exit codes: 0 every line is an answer now, 3 some lines still fail, 2 usage, 4 refused by the provider, 5 stopped by a
guard, 6 the files do not fit or the run is unfinished, 7 the disk fails, 130/143/129 interrupted, 1 a bug.
"""


def _params() -> list[click.Parameter]:
    """What a retry takes: its own, and the options of `run` that make sense for it."""
    only = "Only lines that failed with this code. Repeatable."
    jobs = "The job file; `-` is standard input.  [default: that of the run]"
    own: list[click.Parameter] = [
        click.Argument(["output"], metavar="OUTPUT", type=FILE),
        click.Option(["--only"], multiple=True, metavar="CODE", help=only),
        click.Option(["--jobs"], metavar="FILE", type=FILE, help=jobs),
    ]
    return own + [p for p in run.params if p.name not in _NOT_FOR_A_RETRY]


@click.command(cls=Helpful, epilog=_EPILOG, params=_params())
def retry(output: str, only: tuple[str, ...], jobs: str | None, **options: Any) -> int:
    """Send the failed lines of OUTPUT again; lines with an answer stay byte for byte.

    The run must be finished (or closed by `finish`). New answers go to the checkpoint; when all are there they take
    their places in OUTPUT, all at once. Interrupted, the same command goes on. Failed jobs may have been corrected in
    the job file before.
    """
    from msgspec import structs

    from batchproc.cli.again import Retry
    from batchproc.cli.going import go
    from batchproc.cli.known import jobs_of, marks_of
    from batchproc.errors import UsageError

    if output == "-":
        raise UsageError(
            "`retry` needs the results file of a finished run, not `-`", "name it: `batchproc retry results.jsonl`"
        )
    checkpoint = options["checkpoint"] or output + ".ckpt"
    marks = marks_of(output, checkpoint, break_lock=options["break_lock"])
    given = dict.fromkeys(_NOT_FOR_A_RETRY) | {"fresh": False, "yes": False, "adopt": False}
    settings = settings_of(options | given | {"jobs": jobs_of(output, marks, jobs), "output": output})
    settings = structs.replace(settings, only=only)
    return go(settings, options, make=Retry)
