"""The validated settings of a run. Times in seconds, limits per minute unless their name says otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field
from msgspec.structs import replace

_OF_TOKENS = ("tpm", "tpd", "itpm", "otpm")


class Limits(Struct, frozen=True):
    """What every model may use. None: not limited by the user."""

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None  # per day
    tpd: int | None = None
    itpm: int | None = None  # input and output apart, where a provider limits them apart
    otpm: int | None = None
    burst_s: float | None = None  # None adapts

    @property
    def of_tokens(self) -> bool:
        """Whether one of them limits tokens, so that tokens must be counted."""
        return any(getattr(self, name, None) is not None for name in _OF_TOKENS)


def fitting(names: Iterable[str], model: str) -> list[str]:
    """Those of `names` that mean this model, the most exact last.

    A name is a model's own, or its beginning and `*`; the longer the beginning, the more exact.
    """
    found = [n for n in names if n == model or (n.endswith("*") and model.startswith(n[:-1]))]
    return sorted(found, key=lambda n: (not n.endswith("*"), len(n)))


class Shard(Struct, frozen=True):
    """One of `count` parts of a job file, counted from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class RunSettings(Struct, frozen=True):
    """Everything `batchproc run` was asked for."""

    jobs: str
    output: str  # `-` is standard output
    checkpoint: str
    base_url: str
    provider: str
    limits: Limits = Limits()
    models: dict[str, Limits] = field(default_factory=dict)  # by model, or by a beginning and `*`; over `limits`
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
    adopt: bool = False
    shard: Shard | None = None
    part: tuple[int, int] | None = None  # of a shard: the bytes of the job file that it answers, from and up to
    quota: str | None = None  # where the trackers live; None: in the process
    quota_fraction: float = 1.0  # of the quota, that this run uses at the most
    quota_reset: bool = False
    on_quota_loss: str = "share"
    only: tuple[str, ...] = ()  # of a retry: codes of the failed lines to send again; empty: all

    def limits_for(self, model: str) -> Limits:
        """The limits of one model: each from the most exact name that gives it, else that of every model."""
        limits = self.limits
        for name in fitting(self.models, model):
            own = self.models[name]
            given = {f: v for f in Limits.__struct_fields__ if (v := getattr(own, f)) is not None}
            limits = replace(limits, **given)
        return limits

    @property
    def limits_tokens(self) -> bool:
        """Whether any model has a limit of tokens."""
        return self.limits.of_tokens or any(limits.of_tokens for limits in self.models.values())

    @property
    def least_tokens_a_second(self) -> int:
        """A second's worth of the lowest limit of input tokens per minute that is set; 0 if there is none."""
        all_limits = [self.limits, *self.models.values()]
        return min((n for one in all_limits for n in (one.tpm, one.itpm) if n is not None), default=0) // 60

    def identity(self) -> dict[str, str | None]:
        """The settings that change what is asked; a resume must have the same."""
        base = "simulated" if self.provider == "simulated" else self.base_url
        return {"`--base-url`": base, "`--endpoint`": self.endpoint, "`--model`": self.model}
