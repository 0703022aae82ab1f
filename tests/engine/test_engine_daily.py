"""Limits per day, in virtual time: held with the time told, the other models first, up to --max-wait or beyond it."""

from __future__ import annotations

import json

import pytest
from test_engine_runs import bodies, everything_answered
from virtualrun import VirtualRun

from batchproc.core.decisions import HaltKind
from batchproc.core.modelqueue import Policy
from batchproc.events import Note
from batchproc.model import Reply
from batchproc.settings import Limits
from batchproc.simulator.settings import SimulatorSettings

DAY_S = 86_400.0
WAIT = Policy(wait_for_daily=True)


def notes(run: VirtualRun) -> list[str]:
    """What the user was told."""
    return [e.text for e in run.events if isinstance(e, Note)]


def server(**settings: object) -> SimulatorSettings:
    return SimulatorSettings(latency="0.2", **settings)  # type: ignore[arg-type]


def test_a_limit_per_day_that_is_given_stops_the_run_without_a_refusal() -> None:
    """100 a day: the 101st could go out in 14 minutes, longer than --max-wait; exit 5, resumable, nothing refused."""
    run = VirtualRun(bodies(103), server=server(rpd=100), limits=Limits(rpd=100)).go()
    assert run.transport.statuses == {200: 100}
    halt = run.scheduler.halted
    assert halt is not None
    assert halt.kind is HaltKind.MAX_WAIT
    assert halt.message == "gpt-4o-mini has used up its requests per day: the next fits in 14 min"
    assert run.seconds < 5


def test_waiting_for_the_day_uses_it_to_the_last_request() -> None:
    """With --on-daily-limit wait the run goes on as the day's bucket refills: one request every 14 minutes."""
    run = VirtualRun(bodies(103), server=server(rpd=100), limits=Limits(rpd=100), policy=WAIT).go()
    everything_answered(run)
    assert run.transport.statuses == {200: 103}
    assert run.seconds == pytest.approx(3 * DAY_S / 100, rel=0.01)
    assert "gpt-4o-mini has used up its requests per day: the next request can go out in 14 min" in notes(run)


def test_tokens_per_day_are_counted() -> None:
    """The server charges 7 tokens and the maximum of 16 for each: 460 of 500 a day are 20 jobs, or a few less."""
    settings = server(tpd=500, charge="sum")
    run = VirtualRun(bodies(40), server=settings, limits=Limits(tpd=500)).go()
    assert run.scheduler.halted is not None
    assert "has used up its tokens per day" in run.scheduler.halted.message
    assert set(run.transport.statuses) == {200}
    assert 15 <= run.transport.statuses[200] <= 21


def test_a_limit_per_day_is_learnt_from_headers() -> None:
    """OpenAI shows the day's requests where they are tighter: told as such, and not taken for a minute's."""
    run = VirtualRun(bodies(104), server=server(rpd=100), policy=WAIT).go()
    everything_answered(run)
    assert "the server limits gpt-4o-mini to 100 requests per day" in notes(run)
    assert not any("per minute" in note for note in notes(run))
    assert run.transport.statuses[429] <= 1
    assert run.seconds == pytest.approx(4 * DAY_S / 100, rel=0.01)


def test_a_limit_per_day_is_learnt_from_a_refusal() -> None:
    """Without headers its words name it: the model is held as long as they say, and afterwards by its own count."""
    run = VirtualRun(bodies(104), server=server(rpd=100, headers=False), policy=WAIT).go()
    everything_answered(run)
    assert "the server limits gpt-4o-mini to 100 requests per day" in notes(run)
    assert run.transport.statuses[429] <= 8  # what was in flight at the first
    assert run.seconds == pytest.approx(4 * DAY_S / 100, rel=0.25)


def test_a_day_with_an_end_is_waited_for_once() -> None:
    """A server whose days begin anew at midnight: the rest goes out then, all at once."""
    run = VirtualRun(bodies(60), server=server(rpd=50, window="fixed", phase_s=3600.0), policy=WAIT).go()
    everything_answered(run)
    assert run.seconds < 3610
    assert run.transport.statuses[429] <= 9


def test_the_other_models_drain_first() -> None:
    """A model held for the day stops the run only when nothing else is left to send."""
    mixed = [b for pair in zip(bodies(300, model="gpt-4o"), bodies(300), strict=True) for b in pair]

    def used_up(now: float, n: int, body: bytes) -> Reply | None:
        if json.loads(body)["model"] == "gpt-4o" and n > 40:
            message = (
                "Rate limit reached for gpt-4o in organization org-x on requests per day (RPD): Limit 200, Used 200, "
                "Requested 1. Please try again in 20m0s."
            )
            body = json.dumps({"error": {"message": message, "type": "requests", "code": "rate_limit_exceeded"}})
            return Reply(429, {}, body.encode())
        return None

    run = VirtualRun(mixed, server=server(rpm=600), limits=Limits(rpm=600), script=used_up, shelves=True).go()
    assert all(index in run.ledger.results for index in range(1, 600, 2))
    assert run.scheduler.halted is not None
    assert run.scheduler.halted.kind is HaltKind.MAX_WAIT
    assert "gpt-4o is refused" in run.scheduler.halted.message


def test_limits_per_minute_hold_beside_one_per_day() -> None:
    """Both are taken from together: 60 a minute, until 100 a day are used up."""
    limits = Limits(rpm=60, rpd=100)
    run = VirtualRun(bodies(250), server=server(rpm=60, rpd=100), limits=limits).go()
    assert run.transport.statuses == {200: 100}
    assert 35 <= run.seconds <= 60
