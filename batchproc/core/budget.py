"""Keeps a run within an amount of money, and within a number of tokens.

A job is sent only if the worst it can cost fits what is left. While it is in flight that much is set aside; its answer
puts the usage in the place of it. So the answers that come back never cost more than the budget, whatever they are,
and no request that is paid for need be cancelled.

    worst case    the most input tokens that the count can mean (see `Bound`), and the most output tokens: the job's own
                  maximum times n, else --assume-max-output times n, else what the model can give at the most times n
    answer        charged at its usage
    error         an HTTP answer that is an error is not billed: nothing is charged
    lost          no whole answer came (broken off, timed out, cut off by the end of the run or a kill), or one without
                  usage: it may have been billed, and is charged at its worst case

Amounts are whole numbers of pico-dollars. Pure, like the rest of this room.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from msgspec import Struct

from batchproc.core.decisions import IDLE, Halt, HaltKind, Idle
from batchproc.model import Answer, Fault, FaultKind, Job, Usage
from batchproc.price import Price, dollars_in, usd

_ENOUGH = 20  # answers after which what was seen says how far a count of input tokens can be off
_SLACK = 64  # tokens by which a small count may be off: what servers add to every request
_TIMED_OUT = frozenset({408, 504, 524})  # a gateway gave up waiting: the model may have answered all the same


class Terms(Struct, frozen=True):
    """What the user allows: pico-dollars, tokens (input and output), and what to assume where a job has no maximum."""

    max_cost: int | None = None
    max_tokens: int | None = None
    assume_output: int | None = None

    def __bool__(self) -> bool:
        return self.max_cost is not None or self.max_tokens is not None


class Worst(Struct, frozen=True, gc=False):
    """The most that one attempt can use, in tokens and in pico-dollars."""

    input_tokens: int
    output_tokens: int
    cost: int

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Bound:
    """The most input tokens a server may report for a request that was counted as so many.

    Counts are exact for few models, so until 20 answers have come: twice the count and 256. From then on: a tenth over
    the worst that was seen, and 64.
    """

    def __init__(self) -> None:
        self._answers = 0
        self._worst = 1.0

    def of(self, counted: int) -> int:
        """Tokens."""
        if self._answers < _ENOUGH:
            return max(2 * counted + 4 * _SLACK, int(counted * self._worst * 1.1) + _SLACK)
        return int(counted * self._worst * 1.1) + 1 + _SLACK

    def seen(self, counted: int, reported: int) -> None:
        """An answer reported so many."""
        self._answers += 1
        self._worst = max(self._worst, (reported - _SLACK) / max(1, counted))


class Budget:
    """Sets aside, settles, and says when it is over. `lost` is told of attempts that may have been billed unseen.

    `in_flight`: jobs that an earlier process sent, and that have no result, where it did not end in order: each counts
    as lost.
    """

    def __init__(
        self,
        terms: Terms,
        price_of: Callable[[str], Price | None],
        lost: Callable[[str, int, int], None] = lambda model, input_tokens, output_tokens: None,
        *,
        cost: int = 0,
        tokens: int = 0,
        in_flight: Container[int] = (),
    ) -> None:
        self.terms = terms
        self.cost = cost  # spent, over all runs, in pico-dollars
        self.tokens = tokens  # the same in tokens
        self.held_cost = self.held_tokens = 0  # set aside for what is in flight
        self._price_of = price_of
        self._lost = lost
        self._in_flight = in_flight
        self._held: dict[int, Worst] = {}
        self._bounds: dict[str, Bound] = {}

    # --- before a request --------------------------------------------------------------------------------------

    def worst(self, job: Job) -> Worst | Halt:
        """The most that an attempt can use; a Halt where nothing says how much that is."""
        price = self._price_of(job.model)
        if price is None and self.terms.max_cost is not None:
            return Halt(
                HaltKind.UNBOUNDED,
                f"no price is known for `{job.model}` (line {job.line}), so `--max-cost` cannot be kept",
                "name a price list with `--prices FILE`, or leave it out: `--max-total-tokens` needs no price",
            )
        output = job.output_cap
        if output is None:
            most = self.terms.assume_output
            if most is None and price is not None:
                most = price.max_output
            if most is None:
                return Halt(
                    HaltKind.UNBOUNDED,
                    f"line {job.line} names no maximum of output tokens, and none is known for `{job.model}`: "
                    "the budget cannot be kept",
                    "give the job a maximum (`max_completion_tokens`, `max_tokens`, `max_output_tokens`), "
                    "or say `--assume-max-output N`",
                )
            output = most * job.choices
        tokens = self._bound(job.model).of(job.input_tokens)
        return Worst(tokens, output, price.cost(tokens, output) if price is not None else 0)

    def admit(self, job: Job, in_flight: int) -> Halt | Idle | None:
        """Set the worst case of a job aside and give None. Idle: wait for what is in flight. Halt: it is over."""
        if not self.terms:
            return None
        worst = self.worst(job)
        if isinstance(worst, Halt):
            return worst
        cost, tokens = self.terms.max_cost, self.terms.max_tokens
        if cost is not None and self.cost + self.held_cost + worst.cost > cost:
            return IDLE if in_flight else self._spent(job, "--max-cost", self.cost, worst.cost, cost)
        if tokens is not None and self.tokens + self.held_tokens + worst.tokens > tokens:
            return IDLE if in_flight else self._spent(job, "--max-total-tokens", self.tokens, worst.tokens, tokens)
        self._held[job.index] = worst
        self.held_cost += worst.cost
        self.held_tokens += worst.tokens
        return None

    def comes(self, job: Job) -> None:
        """A job comes, before anything is sent for it now."""
        if self.terms and job.index in self._in_flight:
            worst = self.worst(job)
            if isinstance(worst, Worst):
                self._lose(job, worst)

    # --- after it ----------------------------------------------------------------------------------------------

    def ended(self, job: Job, outcome: Answer | Fault) -> None:
        """An attempt ended: charge what it used, or what it may have used."""
        if not self._held:
            return
        worst = self._take_back(job)
        if worst is None:
            return
        if isinstance(outcome, Answer):
            if outcome.usage.total_tokens:
                self._settle(job, outcome.usage)
            else:
                self._lose(job, worst)
        elif _may_be_billed(outcome):
            self._lose(job, worst)

    def released(self, job: Job) -> None:
        """The job was not sent after all."""
        self._take_back(job)

    def cut_off(self, job: Job) -> None:
        """The attempt was given up while it was in flight."""
        worst = self._take_back(job)
        if worst is not None:
            self._lose(job, worst)

    def _take_back(self, job: Job) -> Worst | None:
        worst = self._held.pop(job.index, None)
        if worst is not None:
            self.held_cost -= worst.cost
            self.held_tokens -= worst.tokens
        return worst

    def _settle(self, job: Job, usage: Usage) -> None:
        price = self._price_of(job.model)
        if price is not None:
            self.cost += price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        self.tokens += usage.total_tokens
        self._bound(job.model).seen(job.input_tokens, usage.input_tokens)

    def _lose(self, job: Job, worst: Worst) -> None:
        self.cost += worst.cost
        self.tokens += worst.tokens
        self._lost(job.model, worst.input_tokens, worst.output_tokens)

    def _bound(self, model: str) -> Bound:
        bound = self._bounds.get(model)
        if bound is None:
            bound = self._bounds[model] = Bound()
        return bound

    @staticmethod
    def _spent(job: Job, option: str, spent: int, worst: int, limit: int) -> Halt:
        def show(amount: int) -> str:
            return usd(dollars_in(amount)) if option == "--max-cost" else f"{amount:,} tokens"

        text = (
            f"{show(spent)} of `{option}` {show(limit)} is spent, and the next job (line {job.line}) "
            f"may take up to {show(worst)}"
        )
        hint = f"run the same command with a higher `{option}`: it goes on where it stopped"
        if job.output_cap is None:
            hint += "; a maximum of output tokens in the jobs, or `--assume-max-output`, makes them fit closer"
        return Halt(HaltKind.BUDGET, text, hint)


def _may_be_billed(fault: Fault) -> bool:
    """Whether the provider may have done the work, and be paid for it, although no answer is there."""
    if fault.kind is FaultKind.CONNECT:
        return False
    return fault.status == 0 or fault.kind is FaultKind.INVALID or fault.status in _TIMED_OUT


NO_BUDGET = Budget(Terms(), lambda model: None)
