"""`batchproc merge OUTPUT`: one output from the shards of a run."""

from __future__ import annotations

import click

from batchproc.cli.helping import Helpful
from batchproc.cli.params import FILE

_EPILOG = """\b
Examples:
  batchproc merge out.jsonl
  batchproc merge out.jsonl --remove-parts
  batchproc merge out.jsonl --partial                  some shards will not be finished: go on in one process

Exit codes: 0 merged, every job succeeded; 3 merged, some jobs failed; 5 shards are missing or unfinished, or with
--partial jobs; 2 usage, 6 the files do not fit or a process is at work, 7 the disk fails.
"""


@click.command(epilog=_EPILOG, cls=Helpful)
@click.argument("output", metavar="OUTPUT", type=FILE)
@click.option(
    "--jobs", type=FILE, metavar="FILE", help="The job file that was cut.  [default: where the first shard found it]"
)
@click.option("--partial", is_flag=True, help="Take what is there; `run` without --shard goes on with the rest.")
@click.option("--remove-parts", is_flag=True, help="Remove the parts when they are merged.")
@click.option("--break-lock", is_flag=True, help="Take over the lock of a process that is gone.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as JSON on standard output.")
def merge(
    output: str,
    jobs: str | None,
    partial: bool,
    remove_parts: bool,
    break_lock: bool,
    quiet: bool,
    no_color: bool,
    as_json: bool,
) -> int:
    """Put the shards of a run together: OUTPUT is then what one process would have written.

    All shards must be done, each by `batchproc run JOBS -o OUTPUT --shard I/N`. Merged before, it does nothing.
    """
    from batchproc.cli.merging import merge_shards, say_merged

    merged = merge_shards(output, jobs=jobs, partial=partial, remove_parts=remove_parts, break_lock=break_lock)
    return say_merged(merged, quiet=quiet, no_color=no_color, as_json=as_json)
