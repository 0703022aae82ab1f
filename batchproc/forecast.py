"""What `check` finds in a job file: plain records, for whoever displays them. Tokens, minutes, USD."""

from __future__ import annotations

from msgspec import Struct


class BadLines(Struct, frozen=True):
    """Lines that cannot be sent, for one reason; `lines` are the first of them, `message` is the first one's."""

    code: str
    message: str
    count: int
    lines: tuple[int, ...]


class Repeats(Struct, frozen=True):
    """Jobs that say again what an earlier one said; `lines` are the first pairs: (first, again)."""

    count: int
    lines: tuple[tuple[int, int], ...] = ()


class Spread(Struct, frozen=True):
    """Tokens of a job, input and output; `median` and `p95` are exact below 2,048, above within 0.1%."""

    min: int
    median: int
    p95: int
    max: int
    total: int


class ModelForecast(Struct, frozen=True):
    """One model's jobs. Output is what the jobs allow; `estimated_jobs` of them name no maximum."""

    model: str
    jobs: int
    tokens: Spread
    input_tokens: int
    output_tokens: int
    estimated_jobs: int
    estimated_output_tokens: int  # among the output tokens
    uncounted_jobs: int  # whose input could not be counted: a quarter of the bytes stood in
    binding: str | None  # "rpm", "tpm", "itpm", "otpm", "rpd" or "tpd"; None where no limit is given
    minutes: float | None  # at that limit
    cost_usd: float | None  # None where no price is known
    price_source: str | None


class Part(Struct, frozen=True):
    """All jobs of a file, or those that remain."""

    jobs: int
    models: tuple[ModelForecast, ...]  # most jobs first
    binding: str | None  # that of the model that takes longest; "concurrency" without a limit
    minutes: float | None
    enough_s: float | None  # requests must take less than this on average, or --concurrency binds
    cost_usd: float | None  # of the models whose price is known
    unpriced: tuple[str, ...]


class Forecast(Struct, frozen=True):
    """Everything `check` has to say; `part` is the whole file, `remaining` what an earlier run left."""

    file: str
    lines: int
    jobs: int  # lines that are not blank
    bad: int
    bad_lines: tuple[BadLines, ...]
    duplicate_ids: Repeats
    duplicate_bodies: Repeats
    whole: Part
    remaining: Part | None
    succeeded: int  # by earlier runs
    failed: int
    output: str | None
    notes: tuple[str, ...]
    exit_code: int
