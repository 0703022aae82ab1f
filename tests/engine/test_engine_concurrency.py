"""Whole runs against servers that name no limit: the number in flight is found, and no job is lost to the search."""

from __future__ import annotations

import pytest
from concurrency import BODY, Case, Measured, best_rate
from slots import Kind, SlotTransport, as_long, constant, endless, lognormal, no_queue
from virtualrun import VirtualRun

from batchproc.core.modelqueue import Policy
from batchproc.simulator.settings import SimulatorSettings


@pytest.mark.parametrize(
    ("queue", "status", "why"),
    [
        (no_queue, 503, "refuses at once, as llama.cpp without a queue"),
        (no_queue, 429, "refuses at once, and says no more than that it is too much, as DeepSeek"),
        (endless, 503, "lets wait whatever comes, as Ollama and vLLM"),
        (as_long, 503, "lets as many wait as it has slots"),
    ],
)
@pytest.mark.parametrize(("slots", "work"), [(4, lognormal(1.0, 0.5)), (32, constant(1.0))], ids=["4", "32"])
def test_within_thirty_seconds_at_least_95_percent_of_the_best_fixed_number(queue, status, why, slots, work):
    """From 30 s to 60 s; with few refusals, and no job failed. All cells: `benchmarks/concurrency.py`."""
    kind = Kind(lambda now: slots, work, queue, status)
    case = Case(why, kind, (slots, 2 * slots), 30.0, 60.0, 64 * slots + 1100)
    ours = Measured(case, None, seed=3)
    assert ours.steady >= 0.95 * best_rate(case, seed=3), why
    assert ours.refused_share() < 0.02
    assert not ours.failed


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize("concurrency", [None, 500])
def test_refusals_for_too_many_at_once_fail_no_job(status, concurrency):
    """Each job has a single attempt, and all of them succeed on a server of four slots."""
    kind = Kind(lambda now: 4, lognormal(0.5, 0.5), no_queue, status)
    run = VirtualRun(
        [BODY] * 400,
        server=SimulatorSettings(),
        policy=Policy(concurrency=concurrency, max_attempts=1),
        transport=lambda: SlotTransport(kind),
    ).go()
    assert run.ending.complete
    assert len(run.ledger.results) == 400
    assert not run.ledger.totals.failed
    assert run.transport.statuses[status] > 0, "it was refused for a start"
    assert run.seconds < 1.25 * 400 * 0.57 / 4 + 5


def test_a_job_that_is_refused_for_itself_fails():
    """A server that answers 503 to one job only is not overloaded by it."""
    transports = []

    class Poisoned(SlotTransport):
        async def send(self, path, model, body):
            reply = await super().send(path, model, body)
            return reply if b"poison" not in body else type(reply)(503, {}, b"")

    def make():
        transports.append(Poisoned(Kind(lambda now: 64, constant(1.0), endless)))
        return transports[0]

    bodies = [BODY] * 5_000
    bodies[10] = BODY.replace(b'"x"', b'"poison"')
    run = VirtualRun(bodies, server=SimulatorSettings(), transport=make).go()
    assert run.ending.complete
    assert run.ledger.totals.failed == 1
    assert run.ledger.results[10].code == "attempts_exhausted"
