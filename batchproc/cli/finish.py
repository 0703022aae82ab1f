"""`batchproc finish OUTPUT`: close a run for good."""

from __future__ import annotations

import sys

import click

from batchproc.cli.helping import Helpful
from batchproc.cli.params import FILE

_EPILOG = """\b
Examples:
  batchproc finish jobs.results.jsonl
  batchproc finish jobs.results.jsonl --yes                       in a script
  zcat jobs.gz | batchproc finish out.jsonl --jobs - --yes        a run whose jobs came through a pipe
  batchproc retry jobs.results.jsonl --only not_run               later, after all

Exit codes: 3 closed, with failed lines; 0 closed, and every job was answered; 2 usage, 6 the files do not fit or a
run is under way, 7 the disk fails, 130/143/129 interrupted: run it again.
"""


@click.command(cls=Helpful, epilog=_EPILOG)
@click.argument("output", metavar="OUTPUT", type=FILE)
@click.option(
    "--jobs", metavar="FILE", type=FILE, help="The job file; `-` is standard input.  [default: that of the run]"
)
@click.option("--checkpoint", metavar="FILE", type=FILE, help="Checkpoint.  [default: OUTPUT + .ckpt]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--break-lock", is_flag=True, help="Take over the lock of a process that is gone.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--json", "as_json", is_flag=True, help="The closing summary as JSON on standard output.")
def finish(
    output: str,
    jobs: str | None,
    checkpoint: str | None,
    yes: bool,
    break_lock: bool,
    quiet: bool,
    no_color: bool,
    as_json: bool,
) -> int:
    """Close the run that writes OUTPUT: every job without a result becomes a failed line with the code `not_run`.

    So all answers that are paid for are in the file, also those that waited for an earlier job. Nothing is sent.
    """
    from batchproc.cli.begin import begin, is_terminal, say_finished
    from batchproc.cli.closed import Finish, closed_before
    from batchproc.cli.known import jobs_of, marks_of
    from batchproc.errors import UsageError
    from batchproc.settings import RunSettings
    from batchproc.store.look import look

    checkpoint = checkpoint or output + ".ckpt"
    marks = marks_of(output, checkpoint, break_lock=break_lock)
    if closed_before(output, checkpoint, marks, jobs):
        return say_finished(look(output, checkpoint), quiet=quiet, no_color=no_color, as_json=as_json)
    jobs = jobs_of(output, marks, jobs)
    if not yes:
        if not is_terminal(sys.stdin):
            what = "`finish` closes a run for good, and there is no terminal to ask on"
            raise UsageError(what, "add `--yes` if that is what you want")
        click.confirm("close this run? every job that has no answer yet becomes a failed line", abort=True, err=True)
    identity = marks.header.identity if marks.header is not None else {}
    settings = RunSettings(
        jobs=jobs,
        output=output,
        checkpoint=checkpoint,
        base_url="http://127.0.0.1/v1",
        provider="openai",
        endpoint=identity.get("`--endpoint`"),
        model=identity.get("`--model`"),
        break_lock=break_lock,
    )
    return begin(
        settings,
        key=None,
        headers={},
        secrets=[],
        show="auto",
        quiet=quiet,
        verbose=0,
        no_color=no_color,
        as_json=as_json,
        command=list(sys.argv),
        make=Finish,
    )
