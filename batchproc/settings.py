"""The validated settings of a run. Times in seconds, limits per minute unless their name says otherwise."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True):
    """What every model may use. None: not limited by the user."""

    rpm: int | None = None
    tpm: int | None = None
    burst_s: float | None = None  # None adapts


class RunSettings(Struct, frozen=True):
    """Everything `batchproc run` was asked for."""

    jobs: str
    output: str  # `-` is standard output
    checkpoint: str
    base_url: str
    provider: str
    limits: Limits = Limits()
    endpoint: str | None = None
    model: str | None = None
    concurrency: int | None = None  # None adapts
    max_attempts: int = 8
    timeout_s: float = 600.0
    max_wait_s: float = 600.0
    wait_for_daily: bool = False
    stop_after_s: float | None = None
    drain_s: float | None = None  # None: 30, after SIGTERM 8
    fail_over: float | None = None  # share of failed jobs
    limit: int | None = None  # only the first so many jobs
    max_cost: int | None = None  # in pico-dollars, over all runs
    max_total_tokens: int | None = None  # input and output, over all runs
    assume_max_output: int | None = None  # tokens, where a job names no maximum
    prices: str | None = None  # a price list
    accept_changes: bool = False
    fresh: bool = False
    yes: bool = False
    break_lock: bool = False

    def identity(self) -> dict[str, str | None]:
        """The settings that change what is asked; a resume must have the same."""
        base = "simulated" if self.provider == "simulated" else self.base_url
        return {"`--base-url`": base, "`--endpoint`": self.endpoint, "`--model`": self.model}
