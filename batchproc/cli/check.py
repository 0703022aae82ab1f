"""`batchproc check`: what is in a job file, and what it will take. Sends nothing, writes nothing."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from batchproc.cli.connect import base_url_of
from batchproc.cli.params import AMOUNT, AutoOr
from batchproc.cli.run import _check_endpoint, _none_if_auto, _option, default_output
from batchproc.errors import UsageError

_EPILOG = """\b
Examples:
  batchproc check jobs.jsonl --rpm 3500 --tpm 90000
  batchproc check jobs.jsonl -v                   every bad line
  batchproc check jobs.jsonl --json | jq .whole.cost_usd

Exit codes: 0 all lines can be sent, 3 some are bad, 2 usage, 7 a file cannot be read.
"""


@click.command(epilog=_EPILOG)
@click.argument("jobs", metavar="JOBS")
@_option("-o", "--output", metavar="FILE", help="Results of an earlier run.  [default: JOBS + .results.jsonl]")
@_option("--checkpoint", metavar="FILE", help="Checkpoint of an earlier run.  [default: output + .ckpt]")
@_option("--rpm", type=AMOUNT, metavar="N", help="Requests per minute of each model: 3500, 3.5k.")
@_option("--tpm", type=AMOUNT, metavar="N", help="Tokens per minute of each model: 90000, 2m.")
@_option("--rpd", type=AMOUNT, metavar="N", help="Requests per day of each model.")
@_option("--tpd", type=AMOUNT, metavar="N", help="Tokens per day of each model.")
@_option("--concurrency", type=AutoOr(AMOUNT, "N"), default="auto", show_default=True, help="Requests in flight.")
@_option("--base-url", metavar="URL", help="API root: whose prices count.  [default: OPENAI_BASE_URL, else OpenAI's]")
@_option("--endpoint", metavar="PATH", help="For jobs that name none.  [default: inferred from the body]")
@_option("--model", metavar="NAME", help="For jobs that name none.")
@_option("--prices", metavar="FILE", help="Price list in litellm's JSON format.  [default: a table of list prices]")
@_option("--assume-max-output", type=AMOUNT, metavar="N", help="Output of jobs that name no maximum.")
@_option("--limit", type=AMOUNT, metavar="N", help="Only the first N jobs.")
@_option("-v", "--verbose", count=True, help="Every bad line.")
@_option("--no-color", is_flag=True, help="No colours.")
@_option("--json", "as_json", is_flag=True, help="The report as JSON.")
def check(**options: Any) -> int:
    """Say what is in JOBS: bad lines, duplicates, tokens, the time at these limits, the cost. Nothing is sent.

    Where a run of these jobs has begun, also what remains.
    """
    from batchproc.store.input import check_input

    check_input(options["jobs"])
    if options["endpoint"] is not None:
        _check_endpoint(options["endpoint"])
    if options["model"] is not None and not options["model"].strip():
        raise UsageError("`--model` is empty")
    if options["checkpoint"] and not options["output"] and options["jobs"] == "-":
        raise UsageError("`--checkpoint` needs the output it belongs to", "add `-o results.jsonl`")
    output = options["output"] or (None if options["jobs"] == "-" else default_output(options["jobs"]))
    from batchproc.cli.checking import Asked, checking
    from batchproc.plan.limits import Limits

    return checking(
        Asked(
            jobs=options["jobs"],
            output=None if output == "-" else output,
            checkpoint=options["checkpoint"] or f"{output}.ckpt",
            limits=Limits(
                options["rpm"],
                options["tpm"],
                options["rpd"],
                options["tpd"],
                _none_if_auto(options["concurrency"]),
            ),
            base_url=base_url_of(options["base_url"], os.environ),
            endpoint=options["endpoint"],
            model=options["model"],
            prices=options["prices"],
            assume_output=options["assume_max_output"],
            limit=options["limit"],
            verbose=options["verbose"],
            no_color=options["no_color"],
            as_json=options["as_json"],
            command=list(sys.argv),
        )
    )
