"""What a run looks like at one instant, and what is left to say at its end: plain records for whoever displays."""

from __future__ import annotations

from msgspec import Struct


class ModelRate(Struct, frozen=True):
    """One model over the last minute. Limits per minute, None where there is none or it is not known yet."""

    model: str
    requests: int
    tokens: int
    request_limit: float | None
    token_limit: float | None


class Snapshot(Struct, frozen=True):
    """A run at one instant. Times in seconds."""

    elapsed_s: float
    total: int | None  # jobs in the input; None while it is not known
    total_estimate: int | None  # from the size of the file, where the total is not known
    succeeded: int
    failed: int
    resumed: int  # of these, answered by earlier runs
    in_flight: int
    queued: int  # read, not in flight
    retrying: int  # of these, waiting to be sent again
    waiting_in_order: int  # answered, waiting for an earlier job before they can be written
    requests: int  # sent in this run
    rate_limited: int  # 429s in this run
    retries: int
    input_tokens: int
    output_tokens: int
    models: tuple[ModelRate, ...]
    waiting_for: str  # what holds the next request back, in words; empty if nothing does
    eta_s: float | None
    outage_s: float | None  # how long the server has been out
    stopping: str  # why the run ends early; empty if it does not
    checked: int | None = None  # lines of the input compared so far, while a resume checks them
    held_by: str = ""  # what sets `eta_s`, in words: a limit, or what held it back lately; empty if nothing did
    cost_usd: float | None = None  # so far, over all runs; None where no price is known
    cost_whole_usd: float | None = None  # of all jobs, if the others cost as much

    @property
    def done(self) -> int:
        """Jobs that have their result."""
        return self.succeeded + self.failed


class ErrorGroup(Struct, frozen=True):
    """Jobs that failed with one code; `line` is the input line of the first (0: not known)."""

    code: str
    count: int
    line: int
    message: str


class Summary(Struct, frozen=True):
    """The last words of a run. `total` is None where the input was not read to its end."""

    verdict: str  # one line
    exit_code: int
    total: int | None
    succeeded: int
    failed: int
    not_run: int | None
    resumed: int
    elapsed_s: float
    requests: int
    retries: int
    rate_limited: int
    input_tokens: int
    output_tokens: int
    models: tuple[ModelRate, ...]  # here: means over this run, per minute
    binding: str  # which limit held the run back, in words; empty if none
    errors: tuple[ErrorGroup, ...]  # most frequent first
    output: str
    checkpoint: str | None
    next_command: str | None  # what to type next
    error: str | None = None  # for an `error:` line
    hint: str | None = None
    cost_usd: float | None = None  # of all answers, also those of earlier runs; None where no price is known
    cost_lost_usd: float | None = None  # the most that attempts without an answer may have cost besides (budgets only)
    unpriced: tuple[str, ...] = ()  # models whose price is not known: not in `cost_usd`


class Holder(Struct, frozen=True):
    """The process that writes an output. `since` is Unix time, `beat_s` the age of its last sign of life."""

    host: str
    pid: int
    since: float
    beat_s: float


class StatusTotals(Struct, frozen=True):
    """What the results add up to. Tokens as the provider reported them."""

    succeeded: int
    failed: int
    input_tokens: int
    output_tokens: int


class StatusWait(Struct, frozen=True):
    """What the output waits for: the answer of job `index`, sent `tries` times; `waiting` results wait behind it."""

    index: int
    waiting: int
    tries: int
    why: str  # what the run waits for, in words; empty if that is not known


class Status(Struct, frozen=True):
    """How far a run is, as its files say. Times are Unix times; None for what is not known."""

    output: str
    checkpoint: str
    state: str  # running, unfinished or finished
    exit_code: int  # 0 done, 3 done with failures, 5 unfinished
    total: int | None  # jobs, once the run is finished
    total_estimate: int | None  # by the size of the input, before
    answered: int  # jobs that have their result
    written: int  # of these, lines of the output
    waits_for: StatusWait | None
    totals: StatusTotals
    errors: tuple[ErrorGroup, ...]  # most frequent first
    running: Holder | None
    retrying: bool  # a retry is not through
    stopped_at: float | None  # when and why the last process ended, if it could say so
    stopped_why: str
    stopped_code: int | None
    jobs: str | None  # the input
    folder: str | None  # where `command` was typed
    command: str | None  # what to type to go on
    cost_usd: float | None = None  # of all answers; None where no price is known
    cost_lost_usd: float | None = None  # the most that attempts without an answer may have cost besides (budgets only)
    unpriced: tuple[str, ...] = ()  # models whose price is not known: not in `cost_usd`


class ShardStatus(Struct, frozen=True):
    """How far one shard of a run is."""

    shard: int  # from 0
    state: str  # running, unfinished, finished, or waiting: it has not begun
    exit_code: int  # 0 done, 3 done with failures, 5 unfinished
    answered: int
    total: int | None  # once it is finished
    total_estimate: int | None
    failed: int
    running: Holder | None
    attempts: int  # copies of it that were started beside each other
    output: str | None  # of the attempt that is farthest
    command: str | None


class ShardedStatus(Status, frozen=True):
    """How far a run in shards is: the sum, then each; `checkpoint` is the folder of the parts."""

    shards: tuple[ShardStatus, ...] = ()


class Merged(Struct, frozen=True):
    """What putting the shards of a run together has made."""

    output: str
    exit_code: int
    verdict: str
    shards: int
    jobs: int  # lines of the output, and results that wait in its checkpoint
    succeeded: int
    failed: int
    missing: int  # jobs that no shard has answered
    paid_twice: int  # answers that two copies of a shard both got
    removed: bool  # the parts
    next_command: str | None
