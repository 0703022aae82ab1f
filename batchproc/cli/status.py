"""`batchproc status OUTPUT`: how far a run is."""

from __future__ import annotations

import os
import shlex
import sys

import click

from batchproc.cli.helping import Helpful
from batchproc.cli.params import FILE

_EPILOG = """\b
Examples:
  batchproc status jobs.results.jsonl
  batchproc status jobs.results.jsonl --json | jq .waits_for
  watch batchproc status jobs.results.jsonl                  from another terminal, while it runs

Exit codes: 0 done, 3 done and some jobs failed, 5 unfinished (also while it runs), 2 there is no such file,
6 the file was not made by a run.
"""


@click.command(cls=Helpful, epilog=_EPILOG)
@click.argument("output", metavar="OUTPUT", type=FILE)
@click.option("--checkpoint", metavar="FILE", type=FILE, help="Checkpoint.  [default: OUTPUT + .ckpt]")
@click.option(
    "--prices",
    metavar="FILE",
    type=FILE,
    envvar="BATCHPROC_PRICES",
    help="Price list in litellm's JSON format.  [default: a table of list prices]",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON document on standard output.")
@click.option("--no-color", is_flag=True, help="No colours.")
def status(output: str, checkpoint: str | None, prices: str | None, as_json: bool, no_color: bool) -> int:
    """Tell how far the run that writes OUTPUT is, what it waits for, and what to type to go on.

    It only looks: while the run goes on, too, from another terminal.
    """
    from batchproc.building.purse import book_for, with_cost
    from batchproc.cli.closing import retry_typed
    from batchproc.cli.place import folder, is_here
    from batchproc.store.look import age_s, looked
    from batchproc.ui.console import audience
    from batchproc.ui.jsontext import json_line
    from batchproc.ui.status import status_text

    if checkpoint is None and os.path.isdir(output + ".parts"):
        from batchproc.cli.partlook import say_shards

        code = say_shards(output, prices, as_json=as_json, no_color=no_color)
        if code is not None:
            return code
    checkpoint = checkpoint or output + ".ckpt"
    found = looked(output, checkpoint)
    base_url = found.identity.get("`--base-url`") or ""
    seen = with_cost(found.status, found.totals, book_for(prices, base_url))
    if as_json:
        click.echo(json_line(seen))
    else:
        who = audience(isatty=sys.stdout is not None and sys.stdout.isatty(), environ=os.environ, no_color=no_color)
        stopped_s = age_s(seen.stopped_at) if seen.stopped_at is not None else None
        running_s = age_s(seen.running.since) if seen.running is not None else 0.0
        here = not seen.folder or is_here(seen.folder)
        typed = shlex.split(seen.command or "")
        retry = retry_typed(typed, seen.output, seen.jobs or "-", seen.folder or folder())
        text = status_text(seen, who.colour, running_s=running_s, stopped_s=stopped_s, here=here, retry=retry)
        click.echo(text)
    return seen.exit_code
