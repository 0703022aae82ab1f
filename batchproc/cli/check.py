"""`batchproc check`: what is in a job file, and what it will take. Sends nothing, writes nothing."""

from __future__ import annotations

from typing import Any

import click

from batchproc.cli.helping import Helpful
from batchproc.cli.params import AMOUNT, FILE, AutoOr
from batchproc.cli.run import address_of, check_names, default_output, limits_of, none_if_auto, option, read_config_file
from batchproc.errors import UsageError
from batchproc.providers.presets import APIS
from batchproc.settings import RunSettings

_EPILOG = """\b
Examples:
  batchproc check jobs.jsonl --rpm 3500 --tpm 90000
  batchproc check jobs.jsonl -v                   every bad line
  batchproc check jobs.jsonl --json | jq .whole.cost_usd

Exit codes: 0 all lines can be sent, 3 some are bad, 2 usage, 7 a file cannot be read.
"""


@click.command(cls=Helpful, epilog=_EPILOG)
@click.argument("jobs", metavar="JOBS", type=FILE)
@option("-o", "--output", metavar="FILE", help="Results of an earlier run.  [default: JOBS + .results.jsonl]")
@option("--checkpoint", metavar="FILE", help="Checkpoint of an earlier run.  [default: output + .ckpt]")
@option("--rpm", type=AMOUNT, metavar="N", help="Requests per minute of each model: 3500, 3.5k.")
@option("--tpm", type=AMOUNT, metavar="N", help="Tokens per minute of each model: 90000, 2m.")
@option("--rpd", type=AMOUNT, metavar="N", help="Requests per day of each model.")
@option("--tpd", type=AMOUNT, metavar="N", help="Tokens per day of each model.")
@option("--itpm", type=AMOUNT, metavar="N", help="Input tokens per minute, where a provider limits them apart.")
@option("--otpm", type=AMOUNT, metavar="N", help="Output tokens per minute, where a provider limits them apart.")
@option("--concurrency", type=AutoOr(AMOUNT, "N"), default="auto", show_default=True, help="Requests in flight.")
@option("--base-url", metavar="URL", help="API root: whose prices count.  [default: that of the provider]")
@option("--provider", type=click.Choice([*APIS, "simulated"]), help="Whose API.  [default: by the base URL]")
@option("--endpoint", metavar="PATH", help="Endpoint of jobs that name none.  [default: inferred from the body]")
@option("--model", metavar="NAME", help="Model of jobs that name none.")
@option("--prices", metavar="FILE", help="Price list in litellm's JSON format.  [default: a table of list prices]")
@option("--assume-max-output", type=AMOUNT, metavar="N", help="Output of jobs that name no maximum.")
@option("--limit", type=AMOUNT, metavar="N", help="Only the first N jobs.")
@option(
    "--config", metavar="FILE", is_eager=True, callback=read_config_file, help="Options from a TOML file, as of `run`."
)
@option("-v", "--verbose", count=True, help="List every bad line.")
@option("--no-color", is_flag=True, help="No colours.")
@option("--json", "as_json", is_flag=True, help="The report as JSON.")
def check(**options: Any) -> int:
    """Say what is in JOBS: bad lines, duplicates, tokens, the time at these limits, the cost. Nothing is sent.

    Where a run of these jobs has begun, also what remains.
    """
    from batchproc.store.input import check_input

    check_input(options["jobs"])
    check_names(options)
    jobs, output = options["jobs"], options["output"]
    if jobs == "-" and not output:
        if options["checkpoint"]:
            raise UsageError("`--checkpoint` needs the output it belongs to", "add `-o results.jsonl`")
        output = "-"  # nothing can be there
    output = output or default_output(jobs)
    provider, base_url = address_of(options["provider"], options["base_url"])
    settings = RunSettings(
        jobs=jobs,
        output=output,
        checkpoint=options["checkpoint"] or output + ".ckpt",
        base_url=base_url,
        provider=provider,
        limits=limits_of(options),
        models=options["config"].limits() if options["config"] is not None else {},
        endpoint=options["endpoint"],
        model=options["model"],
        concurrency=none_if_auto(options["concurrency"]),
        limit=options["limit"],
        assume_max_output=options["assume_max_output"],
        prices=options["prices"],
    )
    from batchproc.cli.checking import Asked, checking

    return checking(Asked(settings, options["verbose"], options["no_color"], options["as_json"]))
