"""`batchproc run`: options in, exit code out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from batchproc.building.connect import base_url_of
from batchproc.cli.helping import Helpful
from batchproc.cli.params import AMOUNT, DURATION, FILE, FRACTION, HEADER, QUOTA, SHARD, SHARE, USD, WAIT, AutoOr
from batchproc.errors import UsageError
from batchproc.providers.presets import APIS, api_of
from batchproc.settings import Limits, RunSettings, Shard

F = TypeVar("F", bound=Callable[..., Any])

_EPILOG = """\b
Examples:
  batchproc run jobs.jsonl --rpm 3500 --tpm 90000
  batchproc run jobs.jsonl --simulate                       no key, no network
  batchproc run jobs.jsonl.zst -o answers.jsonl --limit 10  a trial; run it again without --limit to go on
  zcat jobs.gz | batchproc run - -o answers.jsonl --base-url http://localhost:8000/v1

Every option can be set in the environment (--max-wait as BATCHPROC_MAX_WAIT) and in a file (--config).

Exit codes: 0 all succeeded, 3 some jobs failed, 2 usage, 4 refused by the provider, 5 stopped by a guard,
6 the files do not fit, 7 the disk fails, 130/143/129 interrupted, 1 a bug.
"""


class _Option(click.Option):
    """Keeps what was typed: --print-config shows it where it cannot be told from what it became (money)."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The converted value."""
        ctx.meta.setdefault("batchproc.typed", {})[self.name] = value
        return super().type_cast_value(ctx, value)


def option(*names: str, **kwargs: Any) -> Callable[[F], F]:
    """An option that may also come from the environment: `--max-wait` from BATCHPROC_MAX_WAIT."""
    long = next(n for n in names if n.startswith("--")).split("/")[0]
    variable = "BATCHPROC_" + long.removeprefix("--").replace("-", "_").upper()
    if kwargs.get("metavar") == "FILE":
        kwargs.setdefault("type", FILE)
    return click.option(*names, cls=_Option, envvar=variable, **kwargs)


def read_config_file(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Callback of an eager `--config`, which most commands do not have: its module is loaded when it is needed."""
    if value is None:
        return None
    from batchproc.cli.config import read_config

    return read_config(ctx, param, value)


@click.command(cls=Helpful, epilog=_EPILOG)
@click.argument("jobs", metavar="JOBS", type=FILE)
@option("-o", "--output", metavar="FILE", help="Results; `-` is standard output.  [default: JOBS + .results.jsonl]")
@option("--checkpoint", metavar="FILE", help="Checkpoint.  [default: output + .ckpt]")
@option("--rpm", type=AMOUNT, metavar="N", help="Requests per minute of each model: 3500, 3.5k.")
@option("--tpm", type=AMOUNT, metavar="N", help="Tokens per minute of each model: 90000, 2m.")
@option("--rpd", type=AMOUNT, metavar="N", help="Requests per day of each model.")
@option("--tpd", type=AMOUNT, metavar="N", help="Tokens per day of each model.")
@option("--itpm", type=AMOUNT, metavar="N", help="Input tokens per minute, where a provider limits them apart.")
@option("--otpm", type=AMOUNT, metavar="N", help="Output tokens per minute, where a provider limits them apart.")
@option(
    "--burst",
    type=AutoOr(DURATION, "SECONDS"),
    default="auto",
    show_default=True,
    help="How much may be sent at once, in seconds' worth of the limit.",
)
@option("--quota", type=QUOTA, metavar="URL", help="Where limits that several runs share are kept.  [default: nowhere]")
@option("--quota-fraction", type=FRACTION, default="1", show_default=True, help="Use no more than this share of it.")
@option("--quota-reset", is_flag=True, help="Let these limits replace those that the first run gave the quota.")
@option(
    "--on-quota-loss",
    type=click.Choice(["share", "pause", "fail"]),
    default="share",
    show_default=True,
    help="While its store is lost: go on with 80% of the share, wait, or stop.",
)
@option(
    "--concurrency",
    type=AutoOr(AMOUNT, "N"),
    default="auto",
    show_default=True,
    help="Requests in flight; auto starts at 8 and grows to at most 1000.",
)
@option("--max-attempts", type=AMOUNT, default=8, help="How often a job is sent, but for rate limits.  [default: 8]")
@option("--timeout", type=DURATION, default=600.0, help="What one attempt may take, as a whole.  [default: 600]")
@option("--max-wait", type=WAIT, default=600.0, help="The longest wait: an outage, a daily limit.  [default: 600]")
@option(
    "--on-daily-limit",
    type=click.Choice(["stop", "wait"]),
    default="stop",
    show_default=True,
    help="`wait` lifts --max-wait for daily limits.",
)
@option("--stop-after", type=DURATION, metavar="DURATION", help="Stop after this time, to go on later: 90, 10m, 6h.")
@option("--drain", type=WAIT, help="How long a stop waits for what is in flight.  [default: 30; 8 after SIGTERM]")
@option("--fail-over", type=SHARE, help="Stop when more than this share of jobs failed (5%, 0.05), after 20 jobs.")
@option("--max-cost", type=USD, help="Spend no more than this, all runs on this output together.")
@option("--max-total-tokens", type=AMOUNT, metavar="N", help="Use no more tokens, input and output, in all runs.")
@option("--assume-max-output", type=AMOUNT, metavar="N", help="For budgets: output of jobs that name no maximum.")
@option("--prices", metavar="FILE", help="Price list in litellm's JSON format.  [default: a table of list prices]")
@option("--base-url", metavar="URL", help="API root, as the OpenAI SDK takes it.  [default: that of the provider]")
@option("--endpoint", metavar="PATH", help="Endpoint of jobs that name none.  [default: inferred from the body]")
@option("--model", metavar="NAME", help="Model of jobs that name none.")
@option(
    "--provider",
    type=click.Choice([*APIS, "simulated"]),
    help="Whose API; openai is that of all compatible servers.  [default: by the base URL]",
)
@option("--simulate", is_flag=True, help="An embedded provider that enforces these limits; no key, no network.")
@option(
    "--api-key-file", metavar="FILE", help="Read the key from a file.  [default: OPENAI_API_KEY, or the provider's own]"
)
@option(
    "--header", type=HEADER, multiple=True, metavar="NAME=VALUE", help="Extra request header; NAME=@FILE for secrets."
)
@option("--accept-changes", is_flag=True, help="Go on although model, endpoint or base URL changed.")
@option("--adopt", is_flag=True, help="Take over an output whose checkpoint is gone, if its lines answer these jobs.")
@option("--fresh", is_flag=True, help="Start over; old files are renamed, not deleted.")
@option("--yes", "-y", is_flag=True, help="Do not ask before starting over.")
@option("--break-lock", is_flag=True, help="Take over the lock of a process that is gone.")
@option("--limit", type=AMOUNT, metavar="N", help="Only the first N jobs.")
@option("--shard", type=SHARD, metavar="I/N", help="Only part I of N, from 0; `batchproc merge` puts them together.")
@option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where it runs.")
@option("--workers", type=AMOUNT, metavar="N", help="With --engine ray: processes.  [default: one for each core]")
@option("--shards", type=AMOUNT, metavar="N", help="With --engine ray: parts.  [default: 4 a worker, or more]")
@option("--ray-address", metavar="ADDRESS", help="Join this Ray cluster: auto, head:6379.  [default: a Ray of its own]")
@option(
    "--progress",
    type=click.Choice(["auto", "bar", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="What to show meanwhile.",
)
@option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@option("-v", "--verbose", count=True, help="Also failures (-v), also retries (-vv).")
@option("--no-color", is_flag=True, help="No colours.")
@option("--json", "as_json", is_flag=True, help="The closing summary as JSON on standard output.")
@option(
    "--config", metavar="FILE", is_eager=True, callback=read_config_file, help="Options from a TOML file: rpm = 3500."
)
@option("--print-config", is_flag=True, help="Print every setting and where it came from; send nothing.")
def run(**options: Any) -> int:
    """Send every job in JOBS under the limits; the results come in input order.

    JOBS is a file of one JSON object a line (plain, .gz or .zst), or `-` for standard input. Run the same command
    again after an interruption: it goes on where it stopped.
    """
    if options["print_config"]:
        return _print_config(options)
    from batchproc.store.input import check_input

    check_input(options["jobs"])
    from batchproc.cli.going import go

    settings = settings_of(options)
    if options["engine"] != "local" or any(options[name] is not None for name in ("workers", "shards", "ray_address")):
        from batchproc.cli.onray.begin import run_on_ray

        return run_on_ray(settings, options)
    if settings.shard is None:
        return go(settings, options)
    from batchproc.cli.shard import ShardRun, run_shard, say_to

    names = ("quiet", "verbose", "no_color")
    say = say_to(options["progress"], **{name: options[name] for name in names})
    return run_shard(settings, lambda part: go(part, options, make=ShardRun), say)


def _print_config(options: dict[str, Any]) -> int:
    from batchproc.cli.printconfig import as_json, as_text, gather
    from batchproc.cli.stdout import write_document

    rows = gather(click.get_current_context(), settings_of(options), os.environ)
    write_document(as_json(rows) if options["as_json"] else as_text(rows, options["jobs"]).encode())
    return 0


def settings_of(o: dict[str, Any]) -> RunSettings:
    """The settings that these options make. Raises UsageError."""
    provider = "simulated" if o["simulate"] else o["provider"]
    if o["simulate"] and o["provider"] in APIS:
        raise UsageError(
            f"`--simulate` and `--provider {o['provider']}` contradict each other", "leave one of the two out"
        )
    if provider == "simulated":
        for name in ("base_url", "api_key_file"):
            if o[name] is not None:
                raise UsageError(
                    f"`--{name.replace('_', '-')}` makes no sense with the embedded provider",
                    "leave one of the two out; `batchproc simulate` serves one at an address of its own",
                )
    jobs = o["jobs"]
    output = o["output"] or default_output(jobs)
    provider, base_url = address_of(provider, o["base_url"])
    check_names(o)
    return RunSettings(
        jobs=jobs,
        output=output,
        checkpoint=o["checkpoint"] or output + ".ckpt",
        base_url=base_url,
        provider=provider,
        limits=limits_of(o, burst_s=none_if_auto(o["burst"])),
        models=o["config"].limits() if o["config"] is not None else {},
        endpoint=o["endpoint"],
        model=o["model"],
        concurrency=none_if_auto(o["concurrency"]),
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
        quota=o["quota"],
        quota_fraction=o["quota_fraction"],
        quota_reset=o["quota_reset"],
        on_quota_loss=o["on_quota_loss"],
        accept_changes=o["accept_changes"],
        fresh=o["fresh"],
        yes=o["yes"],
        break_lock=o["break_lock"],
        adopt=o["adopt"],
        shard=Shard(*map(int, o["shard"].split("/"))) if o["shard"] is not None else None,
    )


def address_of(provider: str | None, base_url: str | None) -> tuple[str, str]:
    """Whose API is spoken, and at which base URL, from the two options. Raises UsageError."""
    if provider == "simulated":
        return provider, "http://127.0.0.1/v1"
    address = base_url_of(base_url, provider, os.environ)
    return provider or api_of(address), address


def limits_of(o: dict[str, Any], burst_s: float | None = None) -> Limits:
    """The limits of every model that these options name."""
    return Limits(o["rpm"], o["tpm"], o["rpd"], o["tpd"], o["itpm"], o["otpm"], burst_s=burst_s)


def none_if_auto(value: Any) -> Any:
    """The value, where it is not for batchproc to find."""
    return None if value == "auto" else value


def check_names(o: dict[str, Any]) -> None:
    """Refuse an endpoint or a model that cannot be one. Raises UsageError."""
    from batchproc.store.jobs import is_plain_path

    if o["model"] is not None and not o["model"].strip():
        raise UsageError("`--model` is empty", "name one, for example `--model gpt-4o-mini`, or leave it out")
    endpoint = o["endpoint"]
    if endpoint is not None and not is_plain_path(endpoint):
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
