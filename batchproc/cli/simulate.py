"""`batchproc simulate`: serve the simulated provider until interrupted."""

from __future__ import annotations

import click

from batchproc.cli.params import AMOUNT
from batchproc.simulator.charge import CHARGE_MODES
from batchproc.simulator.faults import FAULTS
from batchproc.simulator.latency import DEFAULT_LATENCY
from batchproc.simulator.settings import DEFAULT_PORT, SimulatorSettings
from batchproc.simulator.windows import WINDOW_KINDS

_USE = """\
simulated provider on {url}
  in another terminal: batchproc run JOBS --base-url {url}
  counters: {stats}
  Ctrl-C stops it
"""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port to listen on; 0 takes any free one.",
)
@click.option("--rpm", type=AMOUNT, metavar="N", help="Requests per minute of each model.")
@click.option("--tpm", type=AMOUNT, metavar="N", help="Tokens per minute of each model.")
@click.option("--rpd", type=AMOUNT, metavar="N", help="Requests per day of each model.")
@click.option("--tpd", type=AMOUNT, metavar="N", help="Tokens per day of each model.")
@click.option(
    "--window",
    type=click.Choice(WINDOW_KINDS),
    default="bucket",
    show_default=True,
    help="How limits are counted.",
)
@click.option("--phase", "phase_s", type=float, default=0.0, metavar="SECONDS", help="Shift of fixed windows.")
@click.option(
    "--charge",
    type=click.Choice(CHARGE_MODES),
    default="documented",
    show_default=True,
    help="What a request costs in tokens: the larger of maximum output and estimated input, the sum of "
    "both, the input alone, or what is really used.",
)
@click.option("--free-refusals", is_flag=True, help="Refused requests do not count against the limit.")
@click.option(
    "--latency",
    default=DEFAULT_LATENCY,
    show_default=True,
    metavar="DISTRIBUTION",
    help="Seconds an answer takes: `0.2`, `0.05-0.4` or `lognormal:MEDIAN,SIGMA`.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=PROBABILITY",
    help="What goes wrong, and how often: `500=5%`, `reset=0.02`; `any=25%` is spread over all that a "
    f"repeated request gets over. Repeatable. Kinds: {', '.join(FAULTS)}.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Other seeds, other answers and faults.")
@click.option("--no-headers", is_flag=True, help="Leave out the x-ratelimit headers.")
@click.option("--no-retry-after", is_flag=True, help="Leave out Retry-After.")
@click.option("--key", metavar="KEY", help="Refuse every other key (a made-up one, not a real key).")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="A model that exists; none given: all. Repeatable.",
)
@click.option("--context-length", type=AMOUNT, metavar="TOKENS", help="Refuse prompts longer than this.")
@click.option("--slots", type=AMOUNT, metavar="N", help="Answer 503 to more than this many at once.")
@click.option(
    "--quota-after",
    type=click.IntRange(0),
    metavar="N",
    help="After this many requests the money is gone: insufficient_quota.",
)
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Append a JSON line per request received.",
)
@click.option("--pretty", is_flag=True, help="Indent answers, as the real API does.")
def simulate(no_headers: bool, no_retry_after: bool, free_refusals: bool, **options: object) -> None:
    """Serve a simulated provider on loopback until interrupted.

    It speaks the OpenAI API (chat completions, completions, embeddings, responses, models), enforces its
    own limits, takes its time, and fails as told; the same seed gives the same answers. Without limits
    it never refuses.

    \b
    Examples:
      batchproc simulate --rpm 500 --tpm 200k
      batchproc simulate --latency 0.05-0.4 --fault any=10% --seed 7
    """
    settings = SimulatorSettings(
        headers=not no_headers,
        retry_after=not no_retry_after,
        charge_refused=not free_refusals,
        **options,  # type: ignore[arg-type] # click has converted each to its field's type
    )
    from batchproc.simulator.serving import serve  # aiohttp takes long to import

    serve(settings, _announce)


def _announce(url: str) -> None:
    stats = f"{url.removesuffix('/v1')}/simulator/stats"
    click.echo(_USE.format(url=url, stats=stats), err=True, nl=False)
