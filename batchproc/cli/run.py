"""`batchproc run`: options in, exit code out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from batchproc.cli.connect import base_url_of, extra_headers, key_of, secrets_of
from batchproc.cli.params import AMOUNT, DURATION, HEADER, SHARE, USD, WAIT, AutoOr
from batchproc.errors import UsageError
from batchproc.settings import Limits, RunSettings

F = TypeVar("F", bound=Callable[..., Any])

_EPILOG = """\b
Examples:
  batchproc run jobs.jsonl --rpm 3500 --tpm 90000
  batchproc run jobs.jsonl --simulate                       no key, no network
  batchproc run jobs.jsonl.zst -o answers.jsonl --limit 10  a trial; run it again without --limit to go on
  zcat jobs.gz | batchproc run - -o answers.jsonl --base-url http://localhost:8000/v1

Exit codes: 0 all succeeded, 3 some jobs failed, 2 usage, 4 refused by the provider, 5 stopped by a guard,
6 the files do not fit, 7 the disk fails, 130/143/129 interrupted, 1 a bug.
"""


def _option(*names: str, **kwargs: Any) -> Callable[[F], F]:
    """An option that may also come from the environment: `--max-wait` from BATCHPROC_MAX_WAIT."""
    long = next(n for n in names if n.startswith("--")).split("/")[0]
    variable = "BATCHPROC_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, **kwargs)


@click.command(epilog=_EPILOG)
@click.argument("jobs", metavar="JOBS")
@_option("-o", "--output", metavar="FILE", help="Results; `-` is standard output.  [default: JOBS + .results.jsonl]")
@_option("--checkpoint", metavar="FILE", help="Checkpoint.  [default: output + .ckpt]")
@_option("--rpm", type=AMOUNT, metavar="N", help="Requests per minute of each model: 3500, 3.5k.")
@_option("--tpm", type=AMOUNT, metavar="N", help="Tokens per minute of each model: 90000, 2m.")
@_option(
    "--burst",
    type=AutoOr(DURATION, "SECONDS"),
    default="auto",
    show_default=True,
    help="How much may be sent at once, in seconds' worth of the limit.",
)
@_option(
    "--concurrency",
    type=AutoOr(AMOUNT, "N"),
    default="auto",
    show_default=True,
    help="Requests in flight; auto starts at 8 and grows to at most 1000.",
)
@_option("--max-attempts", type=AMOUNT, default=8, show_default=True, help="Attempts that are a job's own fault.")
@_option("--timeout", type=DURATION, default=600.0, show_default="600", help="One attempt, whole.")
@_option("--max-wait", type=WAIT, default=600.0, show_default="600", help="The longest wait for the provider.")
@_option(
    "--on-daily-limit",
    type=click.Choice(["stop", "wait"]),
    default="stop",
    show_default=True,
    help="`wait` lifts --max-wait for daily limits.",
)
@_option("--stop-after", type=DURATION, metavar="DURATION", help="Stop after this time; 90, 10m, 6h.")
@_option("--drain", type=WAIT, help="How long a stop waits for what is in flight.  [default: 30; 8 after SIGTERM]")
@_option("--fail-over", type=SHARE, help="Stop when more than this share of jobs failed (5%, 0.05), after 20.")
@_option("--max-cost", type=USD, help="Spend no more than this, all runs on this output together.")
@_option("--max-total-tokens", type=AMOUNT, metavar="N", help="Use no more tokens, input and output, in all runs.")
@_option("--assume-max-output", type=AMOUNT, metavar="N", help="For budgets: output of jobs that name no maximum.")
@_option("--prices", metavar="FILE", help="Price list in litellm's JSON format.  [default: a table of list prices]")
@_option("--base-url", metavar="URL", help="API root.  [default: OPENAI_BASE_URL, else https://api.openai.com/v1]")
@_option("--endpoint", metavar="PATH", help="For jobs that name none.  [default: inferred from the body]")
@_option("--model", metavar="NAME", help="For jobs that name none.")
@_option("--provider", type=click.Choice(["openai", "simulated"]), help="[default: openai]")
@_option("--simulate", is_flag=True, help="An embedded provider that enforces these limits; no key, no network.")
@_option("--api-key-file", metavar="FILE", help="Read the key from a file.  [default: OPENAI_API_KEY]")
@_option(
    "--header", type=HEADER, multiple=True, metavar="NAME=VALUE", help="Extra request header; NAME=@FILE for secrets."
)
@_option("--accept-changes", is_flag=True, help="Go on although model, endpoint or base URL changed.")
@_option("--fresh", is_flag=True, help="Start over; old files are renamed, not deleted.")
@_option("--yes", "-y", is_flag=True, help="Do not ask.")
@_option("--break-lock", is_flag=True, help="Take over the lock of a process that is gone.")
@_option("--limit", type=AMOUNT, metavar="N", help="Only the first N jobs.")
@_option(
    "--progress",
    type=click.Choice(["auto", "bar", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="What to show meanwhile.",
)
@_option("-q", "--quiet", is_flag=True, help="Only errors.")
@_option("-v", "--verbose", count=True, help="Also failures (-v), also retries (-vv).")
@_option("--no-color", is_flag=True, help="No colours.")
@_option("--json", "as_json", is_flag=True, help="The closing summary as JSON on standard output.")
def run(**options: Any) -> int:
    """Send every job in JOBS under the limits; the results come in input order.

    JOBS is a file of one JSON object a line (plain, .gz or .zst), or `-` for standard input. Run the same command
    again after an interruption: it goes on where it stopped.
    """
    from batchproc.store.input import check_input

    check_input(options["jobs"])
    settings = _settings(options)
    headers = extra_headers(options["header"], os.environ)
    key = None
    if settings.provider != "simulated":
        key = key_of(options["api_key_file"], settings.base_url, os.environ)
    from batchproc.cli.begin import begin

    return begin(
        settings,
        key=key,
        headers=headers,
        secrets=secrets_of(key, options["header"], headers),
        show=options["progress"],
        quiet=options["quiet"],
        verbose=options["verbose"],
        no_color=options["no_color"],
        as_json=options["as_json"],
        command=list(sys.argv),
    )


def _settings(o: dict[str, Any]) -> RunSettings:
    provider = "simulated" if o["simulate"] else o["provider"] or "openai"
    if o["simulate"] and o["provider"] == "openai":
        raise UsageError("`--simulate` and `--provider openai` contradict each other")
    if provider == "simulated":
        for name in ("base_url", "api_key_file"):
            if o[name] is not None:
                raise UsageError(
                    f"`--{name.replace('_', '-')}` makes no sense with the embedded provider",
                    "leave one of the two out; `batchproc simulate` serves one at an address of its own",
                )
    jobs = o["jobs"]
    output = o["output"] or default_output(jobs)
    base_url = "http://127.0.0.1/v1" if provider == "simulated" else base_url_of(o["base_url"], os.environ)
    if o["endpoint"] is not None:
        _check_endpoint(o["endpoint"])
    if o["model"] is not None and not o["model"].strip():
        raise UsageError("`--model` is empty")
    return RunSettings(
        jobs=jobs,
        output=output,
        checkpoint=o["checkpoint"] or output + ".ckpt",
        base_url=base_url,
        provider=provider,
        limits=Limits(o["rpm"], o["tpm"], _none_if_auto(o["burst"])),
        endpoint=o["endpoint"],
        model=o["model"],
        concurrency=_none_if_auto(o["concurrency"]),
        max_attempts=o["max_attempts"],
        timeout_s=o["timeout"],
        max_wait_s=o["max_wait"],
        wait_for_daily=o["on_daily_limit"] == "wait",
        stop_after_s=o["stop_after"],
        drain_s=o["drain"],
        fail_over=o["fail_over"],
        limit=o["limit"],
        max_cost=o["max_cost"],
        max_total_tokens=o["max_total_tokens"],
        assume_max_output=o["assume_max_output"],
        prices=o["prices"],
        accept_changes=o["accept_changes"],
        fresh=o["fresh"],
        yes=o["yes"],
        break_lock=o["break_lock"],
    )


def _none_if_auto(value: Any) -> Any:
    return None if value == "auto" else value


def _check_endpoint(endpoint: str) -> None:
    from batchproc.store.jobs import is_plain_path

    if not is_plain_path(endpoint):
        raise UsageError(
            f"`--endpoint {endpoint}` is not a plain absolute path", "for example `--endpoint /v1/chat/completions`"
        )


def default_output(jobs: str) -> str:
    """Where results go if no `-o` is given. Raises UsageError for standard input, which has no name."""
    if jobs == "-":
        raise UsageError("jobs come from standard input, so the output needs a name", "add `-o results.jsonl`")
    name = jobs
    for suffix in (".gz", ".zst"):
        if name.endswith(suffix):
            name = name.removesuffix(suffix)
            break
    for suffix in (".jsonl", ".ndjson", ".json", ".txt"):
        if name.endswith(suffix):
            name = name.removesuffix(suffix)
            break
    return name + ".results.jsonl"
