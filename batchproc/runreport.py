"""What a run did, over time: what `batchproc report --json` prints, and what its other forms are made of."""

from __future__ import annotations

from msgspec import Struct, field

from batchproc.snapshot import ErrorGroup


class Rates(Struct, frozen=True):
    """Requests or tokens per minute, and `limit` as it was known last; None where none was.

    `peak` is the most in any 60 s, `sustained` the most in any ten minutes, per minute (in all of it, if it was
    shorter). `at_limit` is the share of the time for which the next request waited for this limit.
    """

    mean: float
    peak: float
    sustained: float
    limit: float | None
    at_limit: float


class Latency(Struct, frozen=True):
    """How long answers took, in seconds: `p50` of them half were not slower than. Within 2.5%, but for `max`."""

    p50: float
    p90: float
    p99: float
    max: float


class ModelReport(Struct, frozen=True):
    """One model. `charged_tokens` are those counted against its limit, the others those that the answers used.

    `limits` are all that are known, in words. `cost_per_hour_at_limit` is what an hour at its limits would cost.
    """

    model: str
    requests: int
    answers: int
    rate_limited: int
    charged_tokens: int
    input_tokens: int
    output_tokens: int
    requests_per_minute: Rates
    tokens_per_minute: Rates
    limits: dict[str, float]
    cost_usd: float | None = None
    cost_per_hour_at_limit: float | None = None


class Waited(Struct, frozen=True):
    """For how long the next request waited for something, in words; and which share of the time that is."""

    why: str
    seconds: float
    share: float


class ModelSeries(Struct, frozen=True):
    """One model over time: requests and tokens per minute within each column, over the minute before, and limits."""

    model: str
    requests: list[float | None]
    tokens: list[float | None]
    requests_last_minute: list[float | None]
    tokens_last_minute: list[float | None]
    request_limit: list[float | None]
    token_limit: list[float | None]


class Series(Struct, frozen=True):
    """The run in columns of `width_s` seconds, from Unix time `at` on. A column of nulls stands for a gap.

    `retries` are jobs that were put back for something else than a rate limit. `waits` are seconds, by reason.
    """

    width_s: int
    at: list[int]
    answers: list[int | None]
    failed: list[int | None]
    rate_limited: list[int | None]
    retries: list[int | None]
    in_flight: list[int | None]
    p50: list[float | None]
    p90: list[float | None]
    p99: list[float | None]
    waits: dict[str, list[float | None]]
    models: list[ModelSeries]


class RunReport(Struct, frozen=True):
    """See the README for its keys. Times are Unix times; null stands for what is not known."""

    output: str
    checkpoint: str
    state: str  # running, unfinished or finished
    jobs: int | None
    answered: int
    succeeded: int
    failed: int
    recorded: bool  # the checkpoint has a time line: all that follows but `errors` and the costs is made of it
    processes: int = 0
    began_at: float | None = None
    ended_at: float | None = None
    duration_s: float = 0.0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    latency_s: Latency | None = None
    models: list[ModelReport] = field(default_factory=list)
    waits: list[Waited] = field(default_factory=list)
    errors: tuple[ErrorGroup, ...] = ()
    cost_usd: float | None = None  # of the answers, over all runs
    cost_lost_usd: float | None = None  # at the most, of requests whose answers were lost
    unpriced: tuple[str, ...] = ()  # models whose price is not known: not in `cost_usd`
    series: Series | None = None
