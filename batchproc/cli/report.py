"""`batchproc report OUTPUT`: what a run did, over time."""

from __future__ import annotations

import os
import sys

import click

from batchproc.cli.helping import Helpful
from batchproc.cli.params import FILE

_EPILOG = """\b
Examples:
  batchproc report jobs.results.jsonl
  batchproc report jobs.results.jsonl --html report.html     one page for a browser: needs no network
  batchproc report jobs.results.jsonl --json | jq .models

It only looks, also while the run goes on. Exit codes: 0, 2 there is no such file, 6 the file was not made by a run.
"""
_COLUMNS = 600  # of a page, and of the JSON document


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
@click.option("--html", metavar="FILE", type=FILE, help="Write one self-contained page.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON document on standard output.")
@click.option("--no-color", is_flag=True, help="No colours.")
def report(
    output: str, checkpoint: str | None, prices: str | None, html: str | None, as_json: bool, no_color: bool
) -> int:
    """Tell what the run that writes OUTPUT did: rates against limits, latencies, retries, errors, waits, costs.

    Several runs on one output add up. With --html: a page with charts, and a table to ask for higher limits with.
    """
    from batchproc.cli.reporting import reported
    from batchproc.ui.console import Console, audience
    from batchproc.ui.jsontext import json_line

    checkpoint = checkpoint or output + ".ckpt"
    if html is not None:
        from batchproc.cli.reporting import write_page

        write_page(html, reported(output, checkpoint, _COLUMNS, prices), (output, checkpoint))
        click.echo(f"wrote {html}", err=True)
    if as_json:
        click.echo(json_line(reported(output, checkpoint, _COLUMNS, prices)))
    elif html is None:
        from batchproc.ui.report.text import columns_in, report_text

        who = audience(isatty=sys.stdout is not None and sys.stdout.isatty(), environ=os.environ, no_color=no_color)
        console = Console(sys.stdout, who)
        seen = reported(output, checkpoint, columns_in(console.width), prices)
        console.line(report_text(seen, who.colour, console.width))
    return 0
