"""`batchproc simulate`: serve the simulated provider until interrupted."""

from __future__ import annotations

from typing import Any

import click

from batchproc.cli.helping import Helpful
from batchproc.cli.params import AMOUNT
from batchproc.simulator.charge import CHARGE_MODES
from batchproc.simulator.dialects import DIALECTS
from batchproc.simulator.faults import FAULTS
from batchproc.simulator.latency import DEFAULT_LATENCY
from batchproc.simulator.settings import DEFAULT_PORT, SimulatorSettings
from batchproc.simulator.slots import ENDLESS
from batchproc.simulator.windows import WINDOW_KINDS

_USE = """\
simulated provider on {url}
  in another terminal: batchproc run JOBS --base-url {url}{provider}
  counters: {stats}
  Ctrl-C stops it
"""


# Whose API differs from OpenAI's in more than words: a client cannot tell it from a loopback address.
_NAMED = ("azure", "anthropic")


class Queue(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4 only
    """How many requests may wait: a whole number, or `inf`."""

    name = "M"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, `ENDLESS` for `inf`."""
        text = str(value).strip().lower()
        if text == "inf":
            return ENDLESS
        if not text.isdecimal():
            self.fail(f"`{value}` is neither a whole number nor `inf`", param, ctx)
        return min(int(text), ENDLESS)


_EPILOG = """\b
Examples:
  batchproc simulate --rpm 500 --tpm 200k
  batchproc simulate --latency 0.05-0.4 --fault any=10% --seed 7
  batchproc simulate --dialect anthropic --rpm 50 --itpm 30k --otpm 8k
  batchproc simulate --dialect ollama --slots 4 --queue 64 --latency 1

Exit codes: 0 interrupted, 2 usage, or the port is taken.
"""


class _Simulating(Helpful):
    groups = {  # noqa: RUF012 - never changed
        "Whom it plays": "dialect model context-length key pretty",
        "Where it listens": "host port",
        "Limits": "rpm tpm rpd tpd itpm otpm window phase charge free-refusals no-headers no-retry-after",
        "How it answers": "latency fault seed slots queue quota-after",
        "What it says": "ledger help",
    }


@click.command(cls=_Simulating, epilog=_EPILOG)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    default="openai",
    show_default=True,
    help="Whose paths, headers and error bodies it speaks, and whose windows, charges and queues are usual.",
)
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Loopback address to listen on."
)
@click.option(
    "--port",
    default=DEFAULT_PORT,
    type=int,
    metavar="PORT",
    help=f"Port to listen on; 0 takes any free one.  [default: {DEFAULT_PORT}]",
)
@click.option("--rpm", type=AMOUNT, metavar="N", help="Requests per minute of each model.")
@click.option("--tpm", type=AMOUNT, metavar="N", help="Tokens per minute of each model.")
@click.option("--rpd", type=AMOUNT, metavar="N", help="Requests per day of each model.")
@click.option("--tpd", type=AMOUNT, metavar="N", help="Tokens per day of each model.")
@click.option("--itpm", type=AMOUNT, metavar="N", help="Input tokens per minute of each model (Anthropic, Groq).")
@click.option("--otpm", type=AMOUNT, metavar="N", help="Output tokens per minute, charged when an answer ends.")
@click.option(
    "--window",
    type=click.Choice(WINDOW_KINDS),
    help="How limits are counted.  [default: as usual in the dialect; for openai `bucket`]",
)
@click.option(
    "--phase", "phase_s", type=float, default=0.0, metavar="SECONDS", help="Shift of fixed windows.  [default: 0]"
)
@click.option(
    "--charge",
    type=click.Choice(CHARGE_MODES),
    help="What a request costs in tokens: the larger of maximum output and estimated input (documented), the sum of "
    "both, the input alone (prompt), what is really used (actual), the sum with best_of (azure), the input corrected "
    "when the answer ends, or all of it then (postpaid).  [default: as usual in the dialect; for openai `documented`]",
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
@click.option(
    "--seed", type=int, metavar="N", default=0, show_default=True, help="Other seeds, other answers and faults."
)
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
@click.option(
    "--slots",
    type=AMOUNT,
    metavar="N",
    help="Work on this many at once; more wait in the queue or are refused (503 in most dialects).",
)
@click.option(
    "--queue",
    type=Queue(),
    metavar="M|inf",
    help="Requests that wait for a slot, first come, first served.  [default: 0; for ollama 512]",
)
@click.option(
    "--quota-after",
    type=int,
    metavar="N",
    help="After this many requests (0: at once) the money is gone: insufficient_quota.",
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

    It speaks the OpenAI API (chat completions, completions, embeddings, responses, models) or the
    `--dialect` of another provider, enforces its own limits, takes its time, and fails as told; the same
    seed gives the same answers. Without limits it never refuses.
    """
    settings = SimulatorSettings(
        headers=not no_headers,
        retry_after=not no_retry_after,
        charge_refused=not free_refusals,
        # Click has converted each to its field's type; what is not given is the field's own default.
        **{name: value for name, value in options.items() if value is not None},  # type: ignore[arg-type]
    )
    from batchproc.simulator.serving import serve  # aiohttp takes long to import

    def announce(url: str) -> None:
        provider = f" --provider {settings.dialect}" if settings.dialect in _NAMED else ""
        stats = "/".join(url.split("/", 3)[:3]) + "/simulator/stats"
        click.echo(_USE.format(url=url, provider=provider, stats=stats), err=True, nl=False)

    serve(settings, announce)
