"""Budgets: never overshot by what is answered, whatever is answered; everything set aside comes back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchproc.core.budget import Bound, Budget, Terms, Worst
from batchproc.core.capacity import DualCapacity
from batchproc.core.decisions import Done, Grant, Halt, HaltKind, Idle
from batchproc.core.modelqueue import Policy
from batchproc.core.scheduler import Scheduler
from batchproc.model import Answer, Fault, FaultKind, Job, Usage
from batchproc.price import Price

PRICE = Price(3, 10, cached=1, max_output=1000)


def job(index: int = 0, tokens: int = 10, cap: int | None = 50, choices: int = 1, model: str = "m") -> Job:
    return Job(index, index + 1, b"", "", "/x", model, b"", None, tokens, 0, cap, choices)


def answer(input_tokens: int, output_tokens: int, cached: int = 0) -> Answer:
    return Answer(200, None, b"{}", Usage(input_tokens, output_tokens, cached))


def budget(
    cost: int | None = None, tokens: int | None = None, assume: int | None = None, price=PRICE, **more
) -> Budget:
    return Budget(Terms(cost, tokens, assume), lambda model: price, **more)


@pytest.mark.parametrize(
    ("cap", "choices", "assume", "price", "output"),
    [
        (50, 1, None, PRICE, 50),  # its own maximum, which has n in it already
        (50, 1, 7, PRICE, 50),  # what is assumed is for jobs that name none
        (None, 1, 7, PRICE, 7),
        (None, 3, 7, PRICE, 21),  # n answers are billed
        (None, 2, None, PRICE, 2000),  # the table's maximum, n times
        (0, 1, None, Price(3, 0), 0),  # embeddings
    ],
)
def test_the_worst_case_of_output(cap, choices, assume, price, output) -> None:
    """The job's own maximum, else the one that is assumed, else the model's."""
    worst = budget(10**9, assume=assume, price=price).worst(job(cap=cap, choices=choices))
    assert isinstance(worst, Worst)
    assert worst.output_tokens == output
    assert worst.cost == price.cost(worst.input_tokens, output)


@pytest.mark.parametrize(
    ("cost", "tokens", "price", "cap", "word"),
    [
        (1, None, None, 50, "no price"),  # money needs a price
        (None, 1, None, None, "maximum"),  # tokens need a maximum
        (1, None, Price(1, 1), None, "maximum"),  # a price alone has none
    ],
)
def test_what_is_not_known_stops_the_run(cost, tokens, price, cap, word) -> None:
    """Said with what to type; never guessed."""
    halt = budget(cost, tokens, price=price).admit(job(cap=cap), 5)
    assert isinstance(halt, Halt)
    assert halt.kind is HaltKind.UNBOUNDED
    assert word in halt.message
    assert "--" in (halt.hint or "")


def test_a_token_budget_needs_no_price() -> None:
    """As long as the job names its maximum."""
    assert budget(tokens=10_000, price=None).admit(job(), 0) is None


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (Fault(FaultKind.CONNECT, "", ""), False),  # never sent
        (Fault(FaultKind.RATE_LIMITED, "", "", status=429), False),
        (Fault(FaultKind.SERVER, "", "", status=500), False),
        (Fault(FaultKind.REJECTED, "", "", status=400), False),
        (Fault(FaultKind.REFUSED, "", "", status=401), False),
        (Fault(FaultKind.BROKEN, "", ""), True),  # the answer was on its way
        (Fault(FaultKind.TIMEOUT, "", ""), True),
        (Fault(FaultKind.INVALID, "", "", status=200), True),  # done, and unreadable
        (Fault(FaultKind.SERVER, "", "", status=504), True),  # a gateway gave up, the model perhaps not
        (Fault(FaultKind.REJECTED, "response_too_large", ""), True),
    ],
)
def test_which_failures_may_have_been_billed(fault: Fault, billed: bool) -> None:
    """A lost answer is charged at its worst case and told; a refusal is free."""
    lost: list[tuple[str, int, int]] = []
    b = budget(10**9, lost=lambda *args: lost.append(args))
    assert b.admit(job(), 0) is None
    held = b.held_cost
    b.ended(job(), fault)
    assert b.held_cost == b.held_tokens == 0
    assert b.cost == (held if billed else 0)
    assert len(lost) == billed


def test_an_answer_without_usage_is_charged_at_its_worst() -> None:
    """What it used is not known."""
    b = budget(10**9)
    b.admit(job(), 0)
    held = b.held_cost
    b.ended(job(), answer(0, 0))
    assert b.cost == held > 0


def test_cached_tokens_cost_what_they_cost() -> None:
    """10 input tokens, 4 of them from the cache, 5 output."""
    b = budget(10**9)
    b.admit(job(), 0)
    b.ended(job(), answer(10, 5, cached=4))
    assert b.cost == 6 * 3 + 4 * 1 + 5 * 10
    assert b.tokens == 15


def test_a_job_that_is_not_sent_costs_nothing() -> None:
    """Neither set aside nor charged."""
    b = budget(10**9)
    b.admit(job(), 0)
    b.released(job())
    assert (b.cost, b.held_cost, b.tokens, b.held_tokens) == (0, 0, 0, 0)


def test_what_was_in_flight_at_a_kill_is_charged_once() -> None:
    """Only after a kill, and only jobs that were sent."""
    for in_flight, charged in (((job().index,), True), ((job().index + 1,), False), ((), False)):
        b = budget(10**9, in_flight=in_flight)
        b.comes(job())
        assert (b.cost > 0) is charged


def test_the_bound_learns() -> None:
    """Twice the count at first; what was seen and a tenth after twenty answers; never less than what was seen."""
    bound = Bound()
    assert bound.of(1000) == 2256
    for _ in range(20):
        bound.seen(1000, 1064)
    assert bound.of(1000) == 1165
    bound.seen(100, 464)  # a count that was off by a factor of four
    assert bound.of(1000) >= 4000


def test_the_head_waits_for_what_is_in_flight_and_then_stops_the_run() -> None:
    """While something may come back there is hope; alone it is over, with the option to raise."""
    one = budget(10**9).worst(job())
    assert isinstance(one, Worst)
    b = budget(one.cost)
    assert b.admit(job(0), 0) is None
    assert isinstance(b.admit(job(1), 1), Idle)
    halt = b.admit(job(1), 0)
    assert isinstance(halt, Halt)
    assert halt.kind is HaltKind.BUDGET
    assert "--max-cost" in (halt.hint or "")


JOBS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300), st.integers(0, 9)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(JOBS, st.integers(0, 60_000), st.randoms(use_true_random=False), st.booleans())
def test_a_budget_is_never_overshot(jobs, limit: int, random, by_tokens: bool) -> None:
    """Whatever comes back in whatever order, of answers within their maxima: spent and set aside stay within it."""
    b = budget(None if by_tokens else limit, limit if by_tokens else None)
    s = Scheduler(Policy(), lambda _: DualCapacity(None, None), lambda _: None, b)  # type: ignore[arg-type,return-value]
    for index, (tokens, cap, _) in enumerate(jobs):
        s.submit(job(index, tokens, cap))
    s.input_ended()
    flying: list[object] = []
    answered = used = 0
    for now in range(5000):
        step = s.next(float(now))
        if isinstance(step, Grant):
            flying.append(step.ticket)
        elif flying:
            ticket = flying.pop(random.randrange(len(flying)))
            of, cap, luck = jobs[ticket.job.index]  # type: ignore[attr-defined]
            outcome: Answer | Fault = answer(random.randint(0, of + 64), random.randint(0, cap))
            if luck == 0:
                outcome = Fault(FaultKind.BROKEN, "", "")
            elif luck == 1:
                outcome = Fault(FaultKind.SERVER, "", "", status=500)
            if isinstance(outcome, Answer):
                answered += PRICE.cost(outcome.usage.input_tokens, outcome.usage.output_tokens)
                used += outcome.usage.total_tokens
            s.finished(ticket, outcome, float(now), 0.5)  # type: ignore[arg-type]
        elif isinstance(step, Done | Halt):
            break
        spent = b.tokens + b.held_tokens if by_tokens else b.cost + b.held_cost
        assert spent <= limit
        assert (used if by_tokens else answered) <= limit
    assert isinstance(step, Done | Halt)
    assert (b.held_cost, b.held_tokens) == (0, 0)
